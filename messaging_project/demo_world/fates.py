"""What becomes of a message of the demo world: its timeline, of which everything else about its fate follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from conversations.models import Message, MessageEvent
from conversations.models.opt_out import RECIPIENT_OPTED_OUT
from conversations.models.status import Status
from providers.sendgrid_errors import failure
from providers.twilio_errors import BY_CODE

Evidence = MessageEvent.Evidence
REPORTED, OBSERVED, ASSUMED = Evidence.REPORTED, Evidence.OBSERVED, Evidence.ASSUMED
ENDS_WITH_AN_ERROR = {Status.FAILED, Status.UNDELIVERED, Status.UNCERTAIN, Status.UNRESOLVED, Status.EXPIRED}
TRIES_AGAIN = "Queued again by admin."
FAR_AWAY = timedelta(days=3650)
"""When the provider of a message in doubt would be asked: in a demo world nobody should be."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a timeline, so many seconds after the message was accepted."""

    status: str
    evidence: Evidence
    attempt: int
    detail: str
    after: float
    code: str = ""


ACCEPTED = Line("pending", OBSERVED, 0, "Accepted.", 0)
RECEIVED = Line("received", REPORTED, 0, "Received.", 0)
CANCELED = Line("canceled", OBSERVED, 0, "Canceled by admin.", 20, "canceled")
EXPIRED = Line("expired", OBSERVED, 0, "Its time ran out before it could be sent.", 600, "expired")
OPTED_OUT = Line("failed", OBSERVED, 0, RECIPIENT_OPTED_OUT, 0, "recipient_opted_out")
STOPPED = Line("opted_out", OBSERVED, 0, "The sender wants no more messages from this number.", 0)
STARTED = Line("opted_in", OBSERVED, 0, "The sender wants messages from this number again.", 0)


def handed_over(is_mail: bool, attempt: int = 1, after: float = 0.4) -> list[Line]:
    """Return what a provider that takes a message makes known."""
    word = "processed" if is_mail else "sent"
    return [
        Line("sent", OBSERVED, attempt, "The provider accepted it.", after),
        Line("sent", REPORTED, attempt, f"The provider says: {word}.", after + 0.9),
    ]


def arrived(is_mail: bool, attempt: int = 1, after: float = 0.4) -> list[Line]:
    """Return what is known of a message that arrives."""
    said = Line("delivered", REPORTED, attempt, "The provider says: delivered.", after + 2.8)
    return [*handed_over(is_mail, attempt, after), said]


def bounced(is_mail: bool, code: str) -> list[Line]:
    """Return what is known of a message that was taken and did not arrive."""
    return [*handed_over(is_mail), Line("undelivered", REPORTED, 1, sentence(is_mail, code), 8.5, code)]


def refused(is_mail: bool, code: str) -> list[Line]:
    """Return what is known of a message that was never taken."""
    return [Line("failed", OBSERVED, 1, sentence(is_mail, code), 0.5, code)]


def in_doubt(is_mail: bool) -> Line:
    """Return the line of a call that ended without an answer."""
    name = "SendGrid" if is_mail else "Twilio"
    return Line("uncertain", OBSERVED, 1, f"{name} did not answer in time.", 20, "timeout")


def sentence(is_mail: bool, code: str) -> str:
    """Return our sentence for a provider's code."""
    if is_mail:
        row = failure("bounce", f"X{code[1:]}")
        assert row is not None
        return row.sentence
    return BY_CODE[int(code)].sentence


def sent_again(is_mail: bool) -> list[Line]:
    """Return what is known of a message that staff sent again, and that arrived then."""
    return [*bounced(is_mail, "30003"), Line("pending", OBSERVED, 1, TRIES_AGAIN, 300), *arrived(is_mail, 2, 300.6)]


def tried_twice(is_mail: bool) -> list[Line]:
    """Return what is known of a message that the provider had no room for at first."""
    return [Line("pending", OBSERVED, 1, sentence(False, "20429"), 0.5, "20429"), *arrived(is_mail, 2, 3.2)]


UNRESOLVED = Line("unresolved", ASSUMED, 1, "Nobody can tell whether it was sent.", 1_050)
FATES: dict[str, Callable[[bool, str], list[Line]]] = {
    "delivered": lambda is_mail, _: [ACCEPTED, *arrived(is_mail)],
    "sent": lambda is_mail, _: [ACCEPTED, *handed_over(is_mail)],
    "undelivered": lambda is_mail, code: [ACCEPTED, *bounced(is_mail, code)],
    "failed": lambda is_mail, code: [ACCEPTED, *refused(is_mail, code)],
    "opted_out": lambda is_mail, _: [OPTED_OUT],
    "expired": lambda is_mail, _: [ACCEPTED, EXPIRED],
    "canceled": lambda is_mail, _: [ACCEPTED, CANCELED],
    "uncertain": lambda is_mail, _: [ACCEPTED, in_doubt(is_mail)],
    "unresolved": lambda is_mail, _: [ACCEPTED, in_doubt(is_mail), UNRESOLVED],
    "retried": lambda is_mail, _: [ACCEPTED, *tried_twice(is_mail)],
    "resent": lambda is_mail, _: [ACCEPTED, *sent_again(is_mail)],
    "pending": lambda is_mail, _: [ACCEPTED],
    "received": lambda is_mail, _: [RECEIVED],
    "stop": lambda is_mail, _: [RECEIVED, STOPPED],
    "start": lambda is_mail, _: [RECEIVED, STARTED],
}
"""By what a story calls it, given whether it is a mail and the provider's code."""


def timeline(fate: str, *, is_mail: bool, slowness: float) -> list[Line]:
    """Return the lines of a fate such as "delivered" or "failed:21211"; the provider is that many times as slow."""
    name, _, code = fate.partition(":")
    return [replace(line, after=line.after * slowness) for line in FATES[name](is_mail, code)]


def suffer(message: Message, lines: Sequence[Line]) -> None:
    """Let a message accepted at its `created_at` be what its timeline says."""
    for line in lines:
        take(message, line, message.created_at + timedelta(seconds=line.after))
    if message.status == Status.UNCERTAIN:
        message.settle_at = message.settle_by = message.created_at + FAR_AWAY
    if message.status not in ENDS_WITH_AN_ERROR:
        message.error_code = message.error_message = ""


def take(message: Message, line: Line, at: datetime) -> None:
    """Let a message be what one line says."""
    message.updated_at = at
    if line.status in Status.values:
        message.status = line.status
    message.attempts = max(message.attempts, line.attempt)
    if line.code:
        message.error_code, message.error_message = line.code, line.detail
    match line.status:
        case Status.PENDING:
            message.sent_at = message.failed_at = None
        case Status.SENT:
            message.sent_at = message.sent_at or at
        case Status.DELIVERED:
            message.delivered_at = at
        case Status.FAILED | Status.UNDELIVERED:
            message.failed_at = at
