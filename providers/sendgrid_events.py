"""What SendGrid's event webhook says became of a mail.

Source: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event. A bounce of type "bounce" is
permanent, and SendGrid itself sends nothing more to that address; one of type "blocked" is about this mail alone.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from providers.base import CallbackPart, DeliveryReport, OptOutReason, ReportedStatus
from providers.errors import UnreadableCallback
from providers.wire import as_attempt, as_provider_id, as_uuid, storable

# SendGrid's word → ours. None changes no status: `deferred` is still on its way, the others tell what became of a mail
# that arrived.
_STATUSES: Mapping[str, ReportedStatus | None] = {
    "processed": "sent",
    "deferred": None,
    "delivered": "delivered",
    "bounce": "undelivered",
    "dropped": "undelivered",
    "open": None,
    "click": None,
    "spamreport": None,
    "unsubscribe": None,
    "group_unsubscribe": None,
    "group_resubscribe": None,
}

# Who wants no more mail, or has no mailbox: by the event, and by the reason why SendGrid did not even try.
_OPT_OUTS: Mapping[str, OptOutReason] = {
    "unsubscribe": "unsubscribe",
    "group_unsubscribe": "unsubscribe",
    "spamreport": "spam_report",
}
_SUPPRESSIONS: Mapping[str, OptOutReason] = {
    "Unsubscribed Address": "unsubscribe",
    "Spam Reporting Address": "spam_report",
    "Bounced Address": "bounce",
}

# Enhanced status codes of RFC 3463, as bounces carry them, and why SendGrid itself dropped a mail.
_FAILURES: Mapping[str, str] = {
    "5.1.1": "The mailbox does not exist.",
    "5.1.2": "The domain of the recipient takes no mail.",
    "5.2.1": "The mailbox is disabled.",
    "5.2.2": "The mailbox is full.",
    "5.2.3": "The message is too large for the mailbox.",
    "5.3.4": "The message is too large for the receiving server.",
    "5.4.1": "The receiving server could not be reached.",
    "5.7.1": "The receiving server refused the message by policy.",
    "5.7.26": "The receiving server could not authenticate the sender's domain.",
}
_DROPS: Mapping[str, str] = {
    "Bounced Address": "SendGrid did not try: an earlier mail to this recipient bounced.",
    "Unsubscribed Address": "SendGrid did not try: the recipient has unsubscribed.",
    "Spam Reporting Address": "SendGrid did not try: the recipient reported an earlier mail as spam.",
    "Invalid": "SendGrid did not try: the recipient's address is invalid.",
    "Spam Content (if Spam Checker app is enabled)": "SendGrid did not try: the content looks like spam.",
    "Recipient List over Package Quota": "SendGrid did not try: the account's quota is used up.",
}

# What an event is known by. Not sg_event_id: it may change when SendGrid sends the event again.
_IDENTITY = ("email", "event", "timestamp", "sg_message_id", "reason", "response", "url")


def read_parts(body: bytes) -> Sequence[CallbackPart]:
    """One part for each event of the array that can be read. Raises `UnreadableCallback` when none can."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableCallback("The body is not JSON.") from None
    parts = [part for event in (told if isinstance(told, list) else [told]) if (part := _part(event))]
    if not parts:
        raise UnreadableCallback("No event in it can be read.")
    return parts


def _part(event: object) -> CallbackPart | None:
    """One event of the array, None when it is none that can be read."""
    try:
        payload = storable(event)
    except ValueError:
        return None
    if not isinstance(payload, dict) or not _text(payload, "event"):
        return None
    identity = json.dumps([payload.get(name) for name in _IDENTITY]).encode()
    return CallbackPart(
        dedupe_key=f"sendgrid:{sha256(identity).hexdigest()}",
        kind="status" if payload["event"] in _STATUSES else "unknown",
        payload=payload,
    )


def read_report(payload: Mapping[str, Any]) -> DeliveryReport:
    """See `Provider.read_report`."""
    word = _text(payload, "event")
    status = _STATUSES.get(word)
    code, sentence = _failure(payload) if status == "undelivered" else ("", "")
    # A deferred event has an `attempt` of SendGrid's own, which hides ours.
    attempt = None if word == "deferred" else as_attempt(_text(payload, "attempt"))
    return DeliveryReport(
        provider_message_id=as_provider_id(_text(payload, "sg_message_id").strip().partition(".")[0]),
        status=status,
        provider_status=word,
        message_id=as_uuid(payload.get("message_id")),
        attempt=attempt,
        error_code=code,
        error_message=sentence,
        occurred_at=_moment(payload.get("timestamp")),
        opt_out=_opt_out(payload),
    )


def _opt_out(payload: Mapping[str, Any]) -> OptOutReason | None:
    match _text(payload, "event"):
        case "bounce":
            return "bounce" if _text(payload, "type") == "bounce" else None
        case "dropped":
            return _SUPPRESSIONS.get(_text(payload, "reason"))
        case word:
            return _OPT_OUTS.get(word)


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def _failure(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Why it did not arrive: a code or SendGrid's word, and a sentence of ours, as its `reason` may name addresses."""
    word, code = _text(payload, "event"), _text(payload, "status")
    if word == "dropped":
        return word, _DROPS.get(_text(payload, "reason"), "SendGrid dropped the message without trying.")
    if re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", code):
        return code, _FAILURES.get(code, f"The receiving server refused the message (status {code}).")
    return word, "The receiving server refused the message."


def _moment(timestamp: object) -> datetime | None:
    """SendGrid's timestamp is in seconds since 1970."""
    try:
        return datetime.fromtimestamp(float(timestamp), UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return None
