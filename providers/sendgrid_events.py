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
from providers.sendgrid_errors import failure
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

# Who wants no more mail, by the event alone.
_OPT_OUTS: Mapping[str, OptOutReason] = {
    "unsubscribe": "unsubscribe",
    "group_unsubscribe": "unsubscribe",
    "spamreport": "spam_report",
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
            row = failure("dropped", _drop(payload))
            return row.opt_out if row else None
        case word:
            return _OPT_OUTS.get(word)


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def _failure(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Why it did not arrive: a code or SendGrid's word, and a sentence of ours, as its `reason` may name addresses."""
    word, code = _text(payload, "event"), _text(payload, "status")
    if word == "dropped":
        row = failure(word, _drop(payload))
        return word, row.sentence if row else "SendGrid dropped the message without trying."
    known = re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", code)
    row = failure(word, f"X{code[1:]}" if known else "", _text(payload, "bounce_classification"))
    if known:
        return code, row.sentence if row else f"The receiving server refused the message (status {code})."
    return word, row.sentence if row else "The receiving server refused the message."


def _drop(payload: Mapping[str, Any]) -> str:
    """The reason of a drop, without the remark in brackets that may follow it."""
    return _text(payload, "reason").partition(" (")[0]


def _moment(timestamp: object) -> datetime | None:
    """SendGrid's timestamp is in seconds since 1970."""
    try:
        return datetime.fromtimestamp(float(timestamp), UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return None
