"""What leads back from a mail to the message that it was. Pure functions of the settings.

- Its Message-ID, `<id of the message@domain of the sender>`, the same at every attempt: what an answer names.
- A plus-address, `reply+<token>@INBOUND_EMAIL_DOMAIN`: where an answer goes.
- An unsubscribe link, `PUBLIC_URL/unsubscribe/<token>`: one click (RFC 8058).

A token is the id of the message and a signature. Nobody can make one up, so who has one may write into that
conversation, or unsubscribe its recipient.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

# 16 bytes of id and 10 of signature are 42 letters of base32: local parts have at most 64 characters (RFC 5321,
# 4.5.3.1.1), and some servers change their case.
SIGNATURE_BYTES = 10
_PLUS_ADDRESS = re.compile(r"reply\+([a-z2-7]{42})@(.+)", re.IGNORECASE | re.ASCII)
_TOKEN = re.compile(r"[a-z2-7]{42}", re.IGNORECASE | re.ASCII)
_OUR_MESSAGE_ID = re.compile(r"<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@[^<>@]+>", re.IGNORECASE)


def message_id_header(message_id: UUID, sender: str) -> str:
    """Return the Message-ID (RFC 5322, 3.6.4) of a mail of ours."""
    return f"<{message_id}@{sender.rpartition('@')[2]}>"


def message_ids_in(headers: Iterable[str]) -> list[UUID]:
    """Return the ids of messages of ours that these Message-IDs may name, in their order."""
    return [UUID(found[1]) for header in headers if (found := _OUR_MESSAGE_ID.fullmatch(header))]


def reply_address(message_id: UUID) -> str:
    """Return the address that leads answers to a message back to it, "" where none can come in."""
    domain = settings.INBOUND_EMAIL_DOMAIN
    return f"reply+{_token('reply', message_id)}@{domain}" if domain else ""


def message_replied_to(address: str) -> UUID | None:
    """Return the id of the message that a plus-address of ours belongs to, None for any other address."""
    found = _PLUS_ADDRESS.fullmatch(address)
    if found is None or found[2].lower() != settings.INBOUND_EMAIL_DOMAIN:
        return None
    return _message_id("reply", found[1])


def unsubscribe_url(message_id: UUID) -> str:
    """Return the address that takes a one-click POST from the recipient of a message."""
    return f"{settings.PUBLIC_URL}/unsubscribe/{_token('unsubscribe', message_id)}"


def message_unsubscribed_from(token: str) -> UUID | None:
    """Return the id of the message whose unsubscribe link ends with this token, None for none of ours."""
    return _message_id("unsubscribe", token) if _TOKEN.fullmatch(token) else None


def _token(purpose: str, message_id: UUID) -> str:
    signed = message_id.bytes
    return base64.b32encode(signed + _signature(purpose, signed, settings.SECRET_KEY)).decode().rstrip("=").lower()


def _message_id(purpose: str, token: str) -> UUID | None:
    try:
        decoded = base64.b32decode(token.upper() + "======")
    except binascii.Error:
        return None
    signed, signature = decoded[:16], decoded[16:]
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    is_ours = any(constant_time_compare(signature, _signature(purpose, signed, key)) for key in keys)
    return UUID(bytes=signed) if is_ours else None


def _signature(purpose: str, signed: bytes, key: str) -> bytes:
    salt = f"conversations.mail_links.{purpose}"
    return salted_hmac(salt, signed, secret=key, algorithm="sha256").digest()[:SIGNATURE_BYTES]
