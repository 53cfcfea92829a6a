"""How attempts ended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from conversations.models.doubt import DoubtQuerySet, settling_times
from conversations.models.opt_out import OptOut
from conversations.models.prepared import prepared_cursor
from conversations.models.status import MOVES, Status
from providers.base import Accepted
from providers.errors import ProviderError

# An acceptance that a callback outran moves nothing, and still brings what only it knows. An outcome that gives its
# attempt back does so only under the lease it was claimed with: the number may be somebody else's by now. Why it was
# given back is said once, however many probes the message has been since. ANY and OFFSET 0 leave the planner one way,
# by the ids, as in reports.
RECORD_OUTCOMES = """
WITH outcome AS (
    SELECT * FROM unnest(
        %(ids)s::uuid[], %(attempts)s::int[], %(statuses)s::text[], %(provider_message_ids)s::text[],
        %(segments)s::int[], %(error_codes)s::text[], %(error_messages)s::text[], %(next_accounts)s::text[],
        %(retry_in)s::float[], %(unspent_leases)s::timestamptz[])
    AS o (id, attempt, status, provider_message_id, segments, error_code, error_message, next_account, retry_in,
        unspent_lease)
),
allowed AS (SELECT * FROM unnest(%(moves_from)s::text[], %(moves_to)s::text[]) AS a (from_status, to_status)),
held AS MATERIALIZED (
    SELECT id FROM conversations_message WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE
),
moved AS (
    UPDATE conversations_message AS m
    SET status = o.status, lease_expires_at = NULL, updated_at = statement_timestamp(),
        settle_at = CASE WHEN o.status = 'uncertain' THEN m.lease_expires_at + %(settle)s END,
        settle_by = CASE WHEN o.status = 'uncertain' THEN m.lease_expires_at + %(settle)s + %(deadline)s END,
        looks = 0,
        report_due_at = CASE WHEN o.status = 'sent' THEN statement_timestamp() + %(report_after)s END,
        attempts = CASE WHEN o.unspent_lease IS NULL THEN m.attempts ELSE m.attempts - 1 END,
        next_attempt_at = CASE
            WHEN o.status = 'pending' THEN statement_timestamp() + o.retry_in * interval '1 second' END,
        provider = COALESCE(NULLIF(o.next_account, ''), m.provider),
        provider_message_id = COALESCE(NULLIF(o.provider_message_id, ''), m.provider_message_id),
        segments = COALESCE(o.segments, m.segments),
        sent_at = CASE WHEN o.status = 'sent' THEN statement_timestamp() ELSE m.sent_at END,
        failed_at = CASE WHEN o.status = 'failed' THEN statement_timestamp() ELSE m.failed_at END,
        error_code = o.error_code, error_message = o.error_message
    FROM outcome AS o JOIN held ON held.id = o.id
    WHERE m.id = ANY(%(ids)s::uuid[]) AND m.id = o.id AND m.attempts = o.attempt
      AND (m.status, o.status) IN (SELECT * FROM allowed)
      AND (o.unspent_lease IS NULL OR m.lease_expires_at = o.unspent_lease)
    RETURNING m.id, o.status, o.attempt, o.error_code, o.error_message, o.next_account, o.unspent_lease
),
outrun AS (
    UPDATE conversations_message AS m
    SET segments = COALESCE(m.segments, o.segments),
        provider_message_id = COALESCE(NULLIF(m.provider_message_id, ''), o.provider_message_id)
    FROM outcome AS o JOIN held ON held.id = o.id
    WHERE m.id = ANY(%(ids)s::uuid[]) AND m.id = o.id AND m.attempts = o.attempt AND o.status = 'sent'
      AND (m.status, o.status) NOT IN (SELECT * FROM allowed)
    RETURNING m.id
),
event AS (
    INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
    SELECT id, status, 'observed', attempt, error_code,
        CASE WHEN status = 'sent' THEN 'The provider accepted it.'
             WHEN next_account <> '' THEN left(error_message || ' ' || next_account || ' is tried next.', 500)
             ELSE error_message END,
        statement_timestamp()
    FROM moved
    WHERE unspent_lease IS NULL OR status <> 'pending' OR error_code <> '' AND NOT EXISTS (
        SELECT FROM conversations_messageevent AS said
        WHERE said.message_id = moved.id AND said.attempt = moved.attempt AND said.code = moved.error_code
        OFFSET 0)
)
SELECT id FROM moved UNION ALL SELECT id FROM outrun"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended, as the worker that made it saw it: what the row becomes."""

    message_id: UUID
    attempt: int
    status: Status
    provider_message_id: str = ""
    segments: int | None = None
    error_code: str = ""
    error_message: str = ""
    retry_in: float | None = None
    """Seconds until the next try; set exactly when `status` is pending."""
    request_id: str = ""
    """The request that brought the message, for the log."""
    next_account: str = ""
    """The account that is to be tried next in place of this one, "" for the same."""
    unspent_lease: datetime | None = None
    """Set to the lease's end when the message itself was not tried, so that the attempt is given back."""
    opted_out: bool = False
    """Whether the provider said that the recipient wants nothing more from this sender."""
    ended: Accepted | ProviderError | None = None
    """The provider's answer, or how the call ended without one; None when nobody was called."""
    began: float = field(default_factory=time.monotonic)
    """When the call began, by this process's monotonic clock."""

    def log_fields(self) -> dict[str, Any]:
        """Return what log lines about it carry."""
        return {"request_id": self.request_id, "message_id": self.message_id, "attempt": self.attempt}


def outcome_parameters(outcomes: Sequence[Outcome]) -> dict[str, list[Any]]:
    """Return outcomes as the columns that the statement unnests, and the moves that it may make."""
    moves = [(source.value, target.value) for target, sources in MOVES.items() for source in sources]
    return {
        "ids": [outcome.message_id for outcome in outcomes],
        "attempts": [outcome.attempt for outcome in outcomes],
        "statuses": [outcome.status.value for outcome in outcomes],
        "provider_message_ids": [outcome.provider_message_id for outcome in outcomes],
        "segments": [outcome.segments for outcome in outcomes],
        "error_codes": [outcome.error_code for outcome in outcomes],
        "error_messages": [outcome.error_message for outcome in outcomes],
        "next_accounts": [outcome.next_account for outcome in outcomes],
        "retry_in": [None if outcome.retry_in is None else float(outcome.retry_in) for outcome in outcomes],
        "unspent_leases": [outcome.unspent_lease for outcome in outcomes],
        "moves_from": [source for source, _ in moves],
        "moves_to": [target for _, target in moves],
    }


class OutcomeQuerySet(DoubtQuerySet):
    """How outcomes are written down; an uncertain one begins a doubt."""

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """Write how attempts ended, each with its event; return the ids of the rows that this changed.

        An outcome whose message is past that attempt changes nothing. Where a callback was faster than the acceptance,
        the row keeps its status and gets the id and segments that it lacks.
        """
        if not outcomes:
            return set()
        with prepared_cursor() as cursor:
            cursor.execute(RECORD_OUTCOMES, {**outcome_parameters(outcomes), **settling_times()})
            written = {row[0] for row in cursor.fetchall()}
        for message in self.filter(pk__in=[outcome.message_id for outcome in outcomes if outcome.opted_out]):
            message.opt_recipient_out(OptOut.Source.PROVIDER)
        return written
