"""What providers say became of messages."""

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone

from conversations.models.doubt import REPORT_STEPS
from conversations.models.event import MessageEvent
from conversations.models.intervention import InterventionQuerySet
from conversations.models.status import MOVES, RAISED_BY_AN_EARLIER_ATTEMPT, Status
from providers.base import DeliveryReport

if TYPE_CHECKING:
    from conversations.models.message import Message

logger = logging.getLogger(__name__)


class ReportQuerySet(InterventionQuerySet):
    """How a report finds its message."""

    def apply_report(self, provider: str, report: DeliveryReport, *, received_at: datetime | None = None) -> bool:
        """Let a provider's report take effect; return False if no message of ours is meant.

        Any order and any number of repetitions end in the same row. What changes no status is an event in the
        timeline; `received_at` (now) stands in for the time where the report has none.
        """
        with transaction.atomic():
            message = self._reported_on(provider, report)
            if message is None:
                return False
            take_report(message, report, received_at or timezone.now())
            return True

    def _reported_on(self, provider: str, report: DeliveryReport) -> "Message | None":
        outbound = self.filter(direction="outbound").select_for_update()
        if report.message_id is not None:
            message = outbound.filter(pk=report.message_id).first()
            return message if message and message.may_have_been_offered_to(provider) else None
        if not report.provider_message_id:
            return None
        return outbound.filter(provider=provider, provider_message_id=report.provider_message_id).first()


def take_report(message: "Message", report: DeliveryReport, received_at: datetime) -> None:
    """Move as the report says, if it may, and record it once. The row must be locked by the caller."""
    attempt, at = report.attempt or message.attempts, report.occurred_at or received_at
    moves = report.status is not None and may_move(message, Status(report.status), attempt)
    if moves:
        move_as_reported(message, report)
    if report.status is not None and (moves or attempt == message.attempts):
        note_time(message, Status(report.status), at)
        message.save()
    if attempt == message.attempts and not message.provider_message_id:
        keep_provider_message_id(message, report.provider_message_id)
    if report.opt_out is not None:
        message.opt_recipient_out(report.opt_out, at)
    message.events.get_or_create(
        status=(report.status or report.provider_status)[:30],
        attempt=attempt,
        evidence=MessageEvent.Evidence.REPORTED,
        code=report.error_code[:50],
        defaults={"detail": (report.error_message or f"The provider says: {report.provider_status}.")[:500]},
    )


def may_move(message: "Message", status: Status, attempt: int) -> bool:
    """Say whether a report on an attempt may move a message to a status."""
    if attempt != message.attempts:
        return status == Status.DELIVERED and message.status in RAISED_BY_AN_EARLIER_ATTEMPT
    if message.status == Status.DELIVERED and was_delivered_by_another(message, attempt):
        return False
    return message.status in MOVES[status]


def was_delivered_by_another(message: "Message", attempt: int) -> bool:
    """Say whether another attempt than this one is known to have arrived."""
    return message.events.filter(status=Status.DELIVERED).exclude(attempt=attempt).exists()


def move_as_reported(message: "Message", report: DeliveryReport) -> None:
    """Let a message be what the provider says."""
    message.status = report.status or message.status
    message.next_attempt_at = message.lease_expires_at = message.settle_at = None
    message.report_due_at = timezone.now() + REPORT_STEPS[0] if message.status == Status.SENT else None
    message.error_code, message.error_message = report.error_code[:50], report.error_message[:500]
    message.updated_at = timezone.now()


def note_time(message: "Message", status: Status, at: datetime) -> None:
    """Keep when something happened, also where the status knows better already: the earliest time counts."""
    message.sent_at = min(message.sent_at or at, at)
    if status == Status.DELIVERED:
        message.delivered_at = min(message.delivered_at or at, at)
    if status == Status.UNDELIVERED:
        message.failed_at = min(message.failed_at or at, at)


def keep_provider_message_id(message: "Message", provider_message_id: str) -> None:
    """Keep the provider's id, unless another message has it: then that is an event, and the report stands."""
    try:
        with transaction.atomic():
            type(message).objects.filter(pk=message.pk).update(provider_message_id=provider_message_id)
    except IntegrityError:
        logger.error("the provider named another message's id", extra=message.log_fields())
        message.events.create(
            status=message.status,
            attempt=message.attempts,
            evidence=MessageEvent.Evidence.REPORTED,
            code="provider_id_taken",
            detail="The provider named an id that another message has.",
        )
