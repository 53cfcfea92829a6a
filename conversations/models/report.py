"""What providers say became of messages."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from conversations.models.conversation import channel_type_of
from conversations.models.doubt import REPORT_STEPS
from conversations.models.intervention import InterventionQuerySet
from conversations.models.prepared import prepared, prepared_cursor
from conversations.models.status import MOVES, RAISED_BY_AN_EARLIER_ATTEMPT, Status
from providers.base import DeliveryReport, OptOutReason

if TYPE_CHECKING:
    from conversations.models.message import Message

logger = logging.getLogger(__name__)

# What a report may change of a message, and a line of a timeline, as jsonb_to_recordset reads them.
CHANGED_BY_REPORTS = {
    "status": "text",
    "provider_message_id": "text",
    "next_attempt_at": "timestamptz",
    "lease_expires_at": "timestamptz",
    "settle_at": "timestamptz",
    "report_due_at": "timestamptz",
    "error_code": "text",
    "error_message": "text",
    "sent_at": "timestamptz",
    "delivered_at": "timestamptz",
    "failed_at": "timestamptz",
    "updated_at": "timestamptz",
}
LINE = {
    "place": "integer",
    "message_id": "uuid",
    "status": "text",
    "attempt": "integer",
    "code": "text",
    "detail": "text",
}

# A statement of its own, so that the next one sees every line that others wrote before the locks were ours.
LOCK_REPORTED_ON = """
SELECT id, {columns}
FROM conversations_message
WHERE direction = 'outbound' AND id = ANY(%(ids)s::uuid[] || ARRAY(
    SELECT id FROM unnest(%(accounts)s::text[], %(provider_ids)s::text[]) AS told (account, provider_id)
    JOIN conversations_message AS m ON m.provider = account AND m.provider_message_id = provider_id
    WHERE m.provider_message_id <> ''))
ORDER BY id FOR UPDATE""".replace(
    "{columns}",
    ", ".join((*CHANGED_BY_REPORTS, "attempts", "provider", "sender", "recipient", "type", "test", "redacted_at")),
)

# ANY and OFFSET 0 leave the planner one way, by the ids of the messages: where it counts with tables as small as they
# were before, it would read all messages and all timelines instead.
_RECORD = """
WITH reported AS MATERIALIZED (SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (id uuid, {columns})),
changed AS (
    UPDATE conversations_message AS m SET {changes}
    FROM reported AS r WHERE m.id = r.id AND m.id = ANY(ARRAY(SELECT id FROM reported))
)
INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail)
SELECT message_id, status, 'reported', attempt, code, detail
FROM jsonb_to_recordset(%(lines)s::jsonb) AS line ({line})
WHERE NOT EXISTS (
    SELECT FROM conversations_messageevent AS said
    WHERE said.message_id = line.message_id AND said.status = line.status AND said.attempt = line.attempt
      AND said.evidence = 'reported' AND said.code = line.code
    OFFSET 0)
ORDER BY place"""
RECORD_REPORTS = _RECORD.format(
    changes=", ".join(f"{name} = r.{name}" for name in CHANGED_BY_REPORTS),
    columns=", ".join(f"{name} {kind}" for name, kind in CHANGED_BY_REPORTS.items()),
    line=", ".join(f"{name} {kind}" for name, kind in LINE.items()),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedReport:
    """A report, the account that it came from, and when it came, for where the report itself has no time."""

    account: str
    report: DeliveryReport
    received_at: datetime


@dataclass(slots=True)
class News:
    """What reports make of messages whose rows are locked, as long as it is not written.

    `events` are the lines of the timelines in their order, with their text: by message, status, attempt and code.
    """

    changed: dict[UUID, "Message"] = field(default_factory=dict)
    events: dict[tuple[UUID, str, int, str], str] = field(default_factory=dict)
    opt_outs: list[tuple["Message", OptOutReason, datetime]] = field(default_factory=list)

    def note(self, message: "Message", status: str, attempt: int, code: str, detail: str) -> None:
        """Add a line to a timeline, unless it is there."""
        self.events.setdefault((message.pk, status[:30], attempt, code[:50]), detail[:500])

    def says_delivered_by_another(self, message: "Message", attempt: int) -> bool:
        """Say whether another attempt than this one is among the news as delivered."""
        delivered = (key for key in self.events if key[:2] == (message.pk, Status.DELIVERED))
        return any(other != attempt for _, _, other, _ in delivered)

    def write(self) -> None:
        """Write all of it: rows and lines by one statement, who opted out one by one, in one order of pairs, so that
        no two who write can block each other for ever.
        """
        if self.changed or self.events:
            rows = [{"id": each.pk, **changes_of(each)} for each in self.changed.values()]
            told = enumerate(self.events.items())
            lines = [dict(zip(LINE, (place, *key, text), strict=True)) for place, (key, text) in told]
            with prepared_cursor() as cursor:
                cursor.execute(RECORD_REPORTS, {"rows": as_json(rows), "lines": as_json(lines)})
        for message, reason, at in sorted(self.opt_outs, key=lambda each: pair_of(each[0])):
            message.opt_recipient_out(reason, at)


def pair_of(message: "Message") -> tuple[str, str, str]:
    """Return what an opt-out of the recipient is about."""
    return channel_type_of(message.type), message.sender.lower(), message.recipient.lower()


def as_json(rows: Sequence[object]) -> str:
    """Return rows as a statement takes them apart."""
    return json.dumps(rows, default=str)


def changes_of(message: "Message") -> dict[str, object]:
    """Return the columns that a report may change."""
    return {name: getattr(message, name) for name in CHANGED_BY_REPORTS}


class ReportQuerySet(InterventionQuerySet):
    """How reports find their messages."""

    def apply_report(self, provider: str, report: DeliveryReport, *, received_at: datetime | None = None) -> bool:
        """Let one report take effect; see `apply_reports`. `received_at` is now by default."""
        received = ReceivedReport(account=provider, report=report, received_at=received_at or timezone.now())
        return self.apply_reports([received])[0]

    def apply_reports(self, received: Sequence[ReceivedReport]) -> list[bool]:
        """Let providers' reports take effect in this order, all or none; say of each if a message of ours is meant.

        Any order and any number of repetitions end in the same rows. What changes no status is an event in the
        timeline. However many there are, the messages are locked by one statement, in the order of their ids, and
        written by another.
        """
        if not received:
            return []
        news = News()
        with transaction.atomic(savepoint=False):
            meant = self._reported_on(received)
            for message, each in zip(meant, received, strict=True):
                if message is not None:
                    take_report(news, message, each)
            news.write()
        return [message is not None for message in meant]

    def _reported_on(self, received: Sequence[ReceivedReport]) -> list["Message | None"]:
        """Lock the messages that are meant; return that of each report."""
        unnamed = [each for each in received if each.report.message_id is None]
        told = {
            "ids": [each.report.message_id for each in received if each.report.message_id],
            "accounts": [each.account for each in unnamed],
            "provider_ids": [each.report.provider_message_id for each in unnamed],
        }
        found = prepared(self.model, LOCK_REPORTED_ON, told)
        by_id = {message.pk: message for message in found}
        by_provider = {(each.provider, each.provider_message_id): each for each in found if each.provider_message_id}

        def meant(each: ReceivedReport) -> "Message | None":
            if each.report.message_id is None:
                return by_provider.get((each.account, each.report.provider_message_id))
            message = by_id.get(each.report.message_id)
            return message if message and message.may_have_been_offered_to(each.account) else None

        return [meant(each) for each in received]


def take_report(news: News, message: "Message", received: ReceivedReport) -> None:
    """Move a message as a report says, if it may, and note it once. Its row is locked, and written with the news.

    What the provider says in words is not kept of a message that was redacted.
    """
    report = received.report if message.redacted_at is None else replace(received.report, error_message="")
    attempt, at = report.attempt or message.attempts, report.occurred_at or received.received_at
    is_over = attempt != message.attempts or was_sent_again(message)
    moves = report.status is not None and may_move(news, message, Status(report.status), attempt, is_over)
    if moves:
        move_as_reported(message, report)
    if report.status is not None and (moves or not is_over):
        note_time(message, Status(report.status), at)
        news.changed[message.pk] = message
    if not is_over and report.provider_message_id and not message.provider_message_id:
        keep_provider_message_id(news, message, report.provider_message_id)
    if report.opt_out is not None:
        news.opt_outs.append((message, report.opt_out, at))
    detail = report.error_message or f"The provider says: {report.provider_status}."
    news.note(message, report.status or report.provider_status, attempt, report.error_code, detail)


def was_sent_again(message: "Message") -> bool:
    """Say whether a message whose last attempt did not arrive waits, or waited in vain, for the next one."""
    if message.status not in (Status.PENDING, Status.EXPIRED):
        return False
    return message.events.filter(status=Status.UNDELIVERED, attempt=message.attempts).exists()


def may_move(news: News, message: "Message", status: Status, attempt: int, is_over: bool) -> bool:
    """Say whether a report on an attempt may move a message to a status, with another attempt to come or not."""
    if is_over:
        return status == Status.DELIVERED and message.status in RAISED_BY_AN_EARLIER_ATTEMPT
    if message.status not in MOVES[status]:
        return False
    return message.status != Status.DELIVERED or not was_delivered_by_another(news, message, attempt)


def was_delivered_by_another(news: News, message: "Message", attempt: int) -> bool:
    """Say whether another attempt than this one is known to have arrived."""
    others = message.events.filter(status=Status.DELIVERED).exclude(attempt=attempt)
    return news.says_delivered_by_another(message, attempt) or others.exists()


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


def keep_provider_message_id(news: News, message: "Message", provider_message_id: str) -> None:
    """Keep the provider's id, unless another message has it: then that is an event, and the report stands."""
    if type(message).objects.owns(message.provider, provider_message_id):
        logger.error("the provider named another message's id", extra=message.log_fields())
        detail = "The provider named an id that another message has."
        news.note(message, message.status, message.attempts, "provider_id_taken", detail)
    else:
        message.provider_message_id = provider_message_id
        news.changed[message.pk] = message
