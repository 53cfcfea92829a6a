"""What Twilio's callbacks say: who signed them, statuses of messages that we sent, and messages that came in.

Sources: https://www.twilio.com/docs/usage/security (signatures),
https://www.twilio.com/docs/messaging/guides/webhook-request (messages that came in) and
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status (statuses).
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import parse_qsl

from multidict import MultiDict
from twilio.request_validator import HMAC_SHA1, HMAC_SHA256, RequestValidator, get_signature_algorithm

from providers.base import (
    Callback,
    CallbackPart,
    DeliveryReport,
    InboundMedia,
    InboundMessage,
    Keyword,
    ReportedStatus,
    Signature,
)
from providers.errors import UnreadableCallback
from providers.wire import as_attempt, as_provider_id, as_uuid, storable

# Twilio takes ten with a message; a number beyond any message is a lie.
MOST_MEDIA = 100

# Twilio's word → ours. None changes no status: still on its way, or (partially_delivered) neither arrived nor lost.
_STATUSES: Mapping[str, ReportedStatus | None] = {
    "accepted": None,
    "scheduled": None,
    "queued": None,
    "sending": None,
    "sent": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "undelivered",
    "failed": "undelivered",
    "canceled": "undelivered",
    "partially_delivered": None,
}
_INBOUND_WORDS = frozenset({"receiving", "received"})

_FAILURES: Mapping[str, str] = {
    "21610": "The recipient has opted out of messages from this sender.",
    "30001": "The sender's queue at Twilio overflowed.",
    "30002": "The Twilio account was suspended before the message was sent.",
    "30003": "The phone is unreachable: switched off or without a signal.",
    "30004": "The recipient or the carrier blocks messages from this sender.",
    "30005": "The number is unknown or no longer in use.",
    "30006": "The number is a landline, or its carrier takes no messages.",
    "30007": "The carrier or Twilio filtered the message out.",
    "30008": "The carrier did not deliver the message and gave no reason.",
    "30010": "The message costs more than the account allows.",
    "30032": "The toll-free sender is not verified.",
    "30034": "The sender is not registered for messages to the United States (A2P 10DLC).",
}
_KEYWORDS: Mapping[str, Keyword] = {"STOP": "stop", "START": "start", "HELP": "help"}


def check_signature(callback: Callback, tokens: Sequence[str], shared_keys: Mapping[str, str]) -> Signature:
    """Whether one of our secrets signed the callback: an auth token, or the shared key (id → secret) that it names.

    Never raises.
    """
    signature = callback.headers.get("x-twilio-signature")
    if signature is None:
        return Signature.MISSING
    try:
        form, algorithm = MultiDict(_form(callback.body)), HMAC_SHA1
        if settings := callback.headers.get("x-twilio-webhooks-signature-settings", ""):
            tokens, algorithm = _signing_secrets(settings, tokens, shared_keys)
        # An empty secret would make a signature that anybody can compute.
        valid = any(
            RequestValidator(each).validate(callback.url, form, signature, algorithm) for each in tokens if each
        )
    except Exception:  # a stranger wrote all of it
        return Signature.INVALID
    return Signature.VALID if valid else Signature.INVALID


def _signing_secrets(settings: str, tokens: Sequence[str], shared_keys: Mapping[str, str]) -> tuple[Sequence[str], str]:
    """What `key=<id>,algorithm=<name>` announces: the secrets to try, none for a key that is not ours, and how."""
    algorithm = get_signature_algorithm(settings).upper()
    if algorithm not in {HMAC_SHA1, HMAC_SHA256}:
        return (), algorithm
    named = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    if "key" not in named:
        return tokens, algorithm
    return [shared_keys.get(named["key"], "")], algorithm


def read_part(callback: Callback) -> CallbackPart:
    """The one fact in the callback, with all its parameters. Raises `UnreadableCallback` when there is none.

    A message that came in is known by its SID: when Twilio sends it again, other parameters may have changed.
    """
    form, query = _form(callback.body), parse_qsl(callback.url.partition("?")[2], keep_blank_values=True)
    payload = {"params": storable(_grouped(form)), "query": storable(_grouped(query))}
    kind, sid = _kind(payload), _sid(payload["params"])
    told = ["inbound", sid] if kind == "inbound" and sid else [sorted(query), sorted(form)]
    return CallbackPart(
        dedupe_key=f"twilio:{sha256(json.dumps(told).encode()).hexdigest()}", kind=kind, payload=payload
    )


def read_inbound(payload: Mapping[str, Any]) -> InboundMessage:
    """See `Provider.read_inbound`. What Twilio counted is believed less than the media URLs that are there."""
    params = payload.get("params")
    if not isinstance(params, Mapping):
        raise UnreadableCallback("The payload is not one of Twilio's.")
    sender, recipient = _one(params, "From"), _one(params, "To")
    if not (sender and recipient):
        raise UnreadableCallback("A message without From and To.")
    media = _media(params)
    return InboundMessage(
        provider_message_id=_sid(params),
        channel="mms" if media or as_attempt(_one(params, "NumMedia")) else "sms",
        sender=sender,
        recipient=recipient,
        body=_one(params, "Body"),
        media=media,
        keyword=_KEYWORDS.get(_one(params, "OptOutType").strip().upper()),
        segments=as_attempt(_one(params, "NumSegments")),
    )


def _media(params: Mapping[str, Any]) -> tuple[InboundMedia, ...]:
    return tuple(
        InboundMedia(
            url=url,
            content_type=_one(params, f"MediaContentType{number}").lower() or "application/octet-stream",
        )
        for number in range(MOST_MEDIA)
        if (url := _one(params, f"MediaUrl{number}"))
    )


def read_report(payload: Mapping[str, Any]) -> DeliveryReport:
    """See `Provider.read_report`."""
    params, query = payload["params"], payload["query"]
    word = _one(params, "MessageStatus", "SmsStatus")
    status = _STATUSES.get(word)
    code, sentence = _failure(word, _one(params, "ErrorCode")) if status == "undelivered" else ("", "")
    return DeliveryReport(
        provider_message_id=_sid(params),
        status=status,
        provider_status=word,
        message_id=as_uuid(_one(query, "m")),
        attempt=as_attempt(_one(query, "a")),
        error_code=code,
        error_message=sentence,
    )


def _sid(params: Mapping[str, Any]) -> str:
    return as_provider_id(_one(params, "MessageSid", "SmsSid"))


def _form(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Name → value, or → all its values where a name is repeated."""
    fields = MultiDict(pairs)
    return {name: found[0] if len(found := fields.getall(name)) == 1 else found for name in fields}


def _one(fields: Mapping[str, Any], *names: str) -> str:
    """The first value of the first of these names that has one, else ""."""
    found = next((fields[name] for name in names if fields.get(name)), "")
    return str(found[0] if isinstance(found, list) else found)


def _kind(payload: Mapping[str, Any]) -> Literal["status", "inbound"]:
    """Told apart by what arrives: a status names a message and a word of sending, a message has From and To."""
    params = payload["params"]
    word = _one(params, "MessageStatus", "SmsStatus")
    if word and word not in _INBOUND_WORDS:
        if _one(params, "MessageSid", "SmsSid") or as_uuid(_one(payload["query"], "m")):
            return "status"
        raise UnreadableCallback("A status without MessageSid.")
    if _one(params, "From") and _one(params, "To"):
        return "inbound"
    raise UnreadableCallback("Neither a status (MessageSid, MessageStatus) nor a message (From, To).")


def _failure(word: str, code: str) -> tuple[str, str]:
    """Why it did not arrive: Twilio's code, where it gave one, and a sentence."""
    if code.isascii() and code.isdigit() and len(code) <= 6 and int(code):
        return code, _FAILURES.get(code, f"Twilio could not deliver the message (code {code}).")
    if word == "canceled":
        return word, "The message was canceled at Twilio."
    return word, "Twilio could not deliver the message and gave no reason."
