"""What Twilio's callbacks say: who signed them, statuses of messages that we sent, and messages that came in.

Sources: https://www.twilio.com/docs/usage/security (signatures),
https://www.twilio.com/docs/messaging/guides/webhook-request (messages that came in) and
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status (statuses).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
from providers.twilio_errors import BY_CODE
from providers.wire import as_attempt, as_provider_id, as_uuid, json_object, storable

# Twilio takes ten with a message; a number beyond any message is a lie.
MOST_MEDIA = 100

# Twilio's word → ours, in its callbacks and its list of messages. None changes no status: still on its way, or
# (partially_delivered) neither arrived nor lost.
STATUSES: Mapping[str, ReportedStatus | None] = {
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

_KEYWORDS: Mapping[str, Keyword] = {"STOP": "stop", "START": "start", "HELP": "help"}


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What may sign a callback of this account, which is chosen by what the callback says of itself.

    `auth_tokens` are the account's own (two of them while they are rotated), `subaccount_tokens` (AccountSid → token)
    those of its subaccounts, which sign what is theirs; `shared_keys` (id → secret) are named by a header.
    """

    account_sid: str
    auth_tokens: Sequence[str]
    subaccount_tokens: Mapping[str, str]
    shared_keys: Mapping[str, str]

    def of_account(self, sids: set[str]) -> Sequence[str]:
        """The tokens of the one account that a callback names, or of ours when it names none; else ().

        Whoever names two could have the weaker one checked, so that is nobody's.
        """
        if len(sids) > 1:
            return ()
        sid = next(iter(sids), self.account_sid)
        if sid == self.account_sid:
            return self.auth_tokens
        return [self.subaccount_tokens[sid]] if sid in self.subaccount_tokens else ()


def check_signature(callback: Callback, secrets: Secrets) -> Signature:
    """Whether one of our secrets signed the callback: an account's token, or the shared key that it names.

    A JSON body is signed by its hash in the URL, `bodySHA256`, a form by all of its fields. Never raises.
    """
    signature = callback.headers.get("x-twilio-signature")
    if signature is None:
        return Signature.MISSING
    try:
        params, sids = _signed(callback)
        keys, algorithm = secrets.of_account(sids), HMAC_SHA1
        if keys and (settings := callback.headers.get("x-twilio-webhooks-signature-settings", "")):
            keys, algorithm = _signing_keys(settings, keys, secrets.shared_keys)
        # An empty secret would make a signature that anybody can compute.
        valid = any(RequestValidator(key).validate(callback.url, params, signature, algorithm) for key in keys if key)
    except Exception:  # a stranger wrote all of it
        return Signature.INVALID
    return Signature.VALID if valid else Signature.INVALID


def _signed(callback: Callback) -> tuple[str | MultiDict[str], set[str]]:
    """What the signature covers beside the URL, as the SDK wants it, and every AccountSid in it."""
    if callback.headers.get("content-type", "").lower().startswith("application/json"):
        sid = json_object(callback.body).get("AccountSid")
        return callback.body.decode(), set() if sid is None else {str(sid)}
    form = MultiDict(_form(callback.body))
    return form, set(form.getall("AccountSid", []))


def _signing_keys(settings: str, tokens: Sequence[str], shared_keys: Mapping[str, str]) -> tuple[Sequence[str], str]:
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
    return CallbackPart(dedupe_key=dedupe_key(told), kind=kind, payload=payload)


def dedupe_key(told: Sequence[object]) -> str:
    """The key of a fact that is known by these values; ["inbound", SID] is that of a message that came in."""
    return f"twilio:{sha256(json.dumps(told).encode()).hexdigest()}"


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
        occurred_at=_moment(_one(params, "DateSent")),
    )


def _moment(text: str) -> datetime | None:
    """When it was sent, which only Twilio's own list tells (RFC 3339)."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


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
    status = STATUSES.get(word)
    told = _one(params, "ErrorCode")
    code, sentence = _failure(word, told) if status == "undelivered" else ("", "")
    row = BY_CODE.get(_number(told))
    return DeliveryReport(
        provider_message_id=_sid(params),
        status=status,
        provider_status=word,
        message_id=as_uuid(_one(query, "m")),
        attempt=as_attempt(_one(query, "a")),
        error_code=code,
        error_message=sentence,
        opt_out="provider" if row and row.opted_out else None,
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


def _number(code: str) -> int:
    """An error code as a number, 0 when it is none."""
    return int(code) if code.isascii() and code.isdigit() and len(code) <= 6 else 0


def _failure(word: str, code: str) -> tuple[str, str]:
    """Why it did not arrive: Twilio's code, where it gave one, and a sentence."""
    if number := _number(code):
        row = BY_CODE.get(number)
        return code, row.sentence if row else f"Twilio could not deliver the message (code {code})."
    if word == "canceled":
        return word, "The message was canceled at Twilio."
    return word, "Twilio could not deliver the message and gave no reason."
