"""What clients and staff do with messages that exist: cancel, send again, change, and say what became of them."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from conversations.models.doubt import REPORT_STEPS, settling_times
from conversations.models.event import MessageEvent
from conversations.models.outcome import OutcomeQuerySet
from conversations.models.status import Status

if TYPE_CHECKING:
    from conversations.models.message import Message

RETRYABLE = frozenset({Status.FAILED, Status.UNDELIVERED, Status.UNRESOLVED, Status.EXPIRED})
TOLD_BY_HAND = frozenset(Status) - {Status.PENDING, Status.SENDING, Status.RECEIVED}
"""What somebody may say became of a message."""
ENDS_BADLY = frozenset({Status.FAILED, Status.UNDELIVERED})


class InterventionQuerySet(OutcomeQuerySet):
    """Each looks at a message under its lock, so that of a worker and a person one decides and the other sees it.

    `by` is the name of who does it, for the timeline. None is returned where the message was not in a state for it.
    """

    def _locked(self, pk: UUID) -> "Message | None":
        return self.select_for_update(of=("self",)).filter(pk=pk, direction="outbound").first()

    @transaction.atomic
    def cancel(self, pk: UUID, by: str) -> "Message | None":
        """Stop a message that no worker has; one that is canceled stays so."""
        message = self._locked(pk)
        if message is None or message.status not in (Status.PENDING, Status.CANCELED):
            return None
        if message.status == Status.PENDING:
            message.next_attempt_at = None
            intervene(message, Status.CANCELED, "canceled", f"Canceled by {by}.")
        return message

    @transaction.atomic
    def retry(self, pk: UUID, by: str) -> "Message | None":
        """Queue a message again that did not arrive, with a new time to live, whoever is to blame for it.

        Its attempts count on, as callbacks name theirs. What nobody could settle may arrive twice now: its timeline
        says so. Of one that was redacted there is nothing left to send.
        """
        message = self._locked(pk)
        if message is None or message.status not in RETRYABLE or message.redacted_at is not None:
            return None
        if message.status == Status.UNRESOLVED:
            message.record_possible_duplicate(f"Sent again by {by}, although it may have been sent.")
        now = timezone.now()
        if message.provider_message_id:
            message.earlier_provider_ids.append(message.provider_message_id)
        message.provider_message_id = message.error_code = message.error_message = ""
        message.sent_at = message.failed_at = message.settle_by = message.report_due_at = None
        message.next_attempt_at, message.expires_at, message.looks = now, now + life(), 0
        intervene(message, Status.PENDING, "", f"Queued again by {by}.")
        return message

    @transaction.atomic
    def change(self, pk: UUID, by: str, changes: dict[str, Any]) -> "Message | None":
        """Change `body` and `send_at` (None for now) of a message that no worker has."""
        message = self._locked(pk)
        if message is None or message.status != Status.PENDING:
            return None
        if "body" in changes:
            message.body = changes["body"]
        if "send_at" in changes:
            reschedule(message, changes["send_at"])
        intervene(message, Status.PENDING, "changed", f"Changed by {by}: {', '.join(sorted(changes))}.")
        return message

    @transaction.atomic
    def tell(self, pk: UUID, by: str, status: Status, metadata: dict[str, Any] | None) -> "Message | None":
        """Let a message be what somebody says became of it, unless a worker has it or it was redacted."""
        message = self._locked(pk)
        if message is None or message.status == Status.SENDING or message.redacted_at is not None:
            return None
        now = timezone.now()
        message.next_attempt_at = message.settle_at = message.settle_by = message.report_due_at = None
        if metadata is not None:
            message.metadata = metadata
        if status in (Status.SENT, Status.DELIVERED):
            message.error_code = message.error_message = ""
        match status:
            case Status.UNCERTAIN:
                times = settling_times()
                message.settle_at, message.settle_by = now + times["settle"], now + times["settle"] + times["deadline"]
            case Status.SENT:
                message.sent_at, message.report_due_at = message.sent_at or now, now + REPORT_STEPS[0]
            case Status.DELIVERED:
                message.sent_at, message.delivered_at = message.sent_at or now, message.delivered_at or now
            case _ if status in ENDS_BADLY:
                message.failed_at = message.failed_at or now
        intervene(message, status, "set_by_hand", f"Set to {status} by {by}.")
        return message


def life() -> timedelta:
    """Return how long a message may wait that did not say so itself."""
    return timedelta(seconds=settings.EXPIRES_AFTER_SECONDS)


def reschedule(message: "Message", send_at: datetime | None) -> None:
    """Let a message go at another time, None for now; its time to live moves along where it would be over by then."""
    now = timezone.now()
    message.send_at, message.next_attempt_at = send_at, max(send_at or now, now)
    if message.expires_at is None or message.expires_at <= message.next_attempt_at:
        message.expires_at = message.next_attempt_at + life()


def intervene(message: "Message", status: Status, code: str, detail: str) -> None:
    """Write down what a locked message became, and who said so."""
    message.status, message.updated_at = status, timezone.now()
    message.save()
    message.events.create(
        status=status,
        evidence=MessageEvent.Evidence.OBSERVED,
        attempt=message.attempts,
        code=code,
        detail=detail[:500],
    )
