"""A mail as SMTP carries it, written by Django. What can't be written so that every reader takes it for the same, such
as a line end in a header, is refused here, before any connection is made.
"""

import re
from collections.abc import Mapping, Sequence
from email import policy
from email.charset import QP, Charset
from email.errors import MessageError
from email.generator import BytesGenerator
from email.message import Message
from email.utils import parseaddr
from io import BytesIO
from typing import NamedTuple

import idna
from django.core.mail import EmailMultiAlternatives

from providers import outbound_mail
from providers.base import OutboundMessage
from providers.errors import Rejected

# Quoted-printable passes servers that take only seven bits (RFC 6152) and has no line that is too long for one.
_ENCODING = Charset("utf-8")
_ENCODING.body_encoding = QP
# Python would fold long ids in headers of this kind by encoding them, which no mail program undoes.
_UTF8 = policy.SMTPUTF8.clone(max_line_length=None)
_UNFIT_FOR_HEADERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MESSAGE_ID_CHARACTERS = 255


class Letter(NamedTuple):
    """A mail's envelope, its Message-ID without angle brackets (at most 255 characters), and its lines, which end with
    CRLF and are in ASCII but for `utf8`: one of its addresses can't be written otherwise (RFC 6531).
    """

    sender: str
    recipient: str
    message_id: str
    utf8: bool
    content: bytes


def write(message: OutboundMessage) -> Letter:
    """The mail as the server gets it. Raises Rejected for what can't be written as one."""
    try:
        sender, recipient, reply_to = map(_mailbox, (message.sender, message.recipient, message.reply_to))
        headers = outbound_mail.headers(message)
        if any(map(_UNFIT_FOR_HEADERS.search, [message.subject, sender, recipient, reply_to, *headers.values()])):
            raise ValueError("a control character in a header")
        message_id = _message_id(message, sender)
        mail = EmailMultiAlternatives(message.subject or outbound_mail.NO_SUBJECT)
        mail.extra_headers = {**headers, "Message-ID": f"<{message_id}>"}
        _fill(mail, [(kind, value) for kind, value in outbound_mail.contents(message) if value])
        addresses = {"From": sender, "To": recipient, **({"Reply-To": reply_to} if reply_to else {})}
        utf8 = not "".join(addresses.values()).isascii()
        return Letter(sender, recipient, message_id, utf8, _written(mail, addresses, utf8))
    except (ValueError, MessageError):
        raise Rejected("The message holds something that can't stand in a mail's header.", code="bad_header") from None


def _mailbox(address: str) -> str:
    """The address with its domain in ASCII (RFC 5891). Raises ValueError unless it is just one, or ""."""
    if parseaddr(address) != ("", address):
        raise ValueError("not one address")
    return _with_ascii_domain(address)


def _with_ascii_domain(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return address if domain.isascii() else f"{local}{at}{idna.encode(domain, uts46=True).decode()}"


def _message_id(message: OutboundMessage, sender: str) -> str:
    """What stands between the angle brackets: the message's own id where that is one, else one of this attempt's."""
    header = message.message_id_header
    own = _with_ascii_domain(header[1:-1]) if header[:1] + header[-1:] == "<>" else ""
    if outbound_mail.MESSAGE_ID.fullmatch(f"<{own}>") and len(own) <= _MESSAGE_ID_CHARACTERS:
        return own
    host = sender.rpartition("@")[2][-200:].lstrip(".-")
    return f"{message.message_id}.{message.attempt}@{host}"


def _fill(mail: EmailMultiAlternatives, contents: Sequence[tuple[str, str]]) -> None:
    (kind, mail.body), *others = contents or [("text/plain", "")]
    mail.content_subtype = kind.partition("/")[2]
    mail.encoding = _ENCODING
    for kind, value in others:
        mail.attach_alternative(value, kind)


def _written(mail: EmailMultiAlternatives, addresses: Mapping[str, str], utf8: bool) -> bytes:
    """The mail's bytes. With `utf8` its addresses stand in the headers as they are (RFC 6532)."""
    written = mail.message()
    del written["From"]  # Django's default
    for name, address in addresses.items():
        # Past Django's own setter, which would encode what is not ASCII; it has been checked for line ends.
        Message.__setitem__(written, name, address)
    told = BytesIO()
    BytesGenerator(told, mangle_from_=False, policy=_UTF8 if utf8 else None).flatten(written, linesep="\r\n")
    return told.getvalue()
