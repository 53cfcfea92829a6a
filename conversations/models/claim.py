"""Which messages a worker may begin, and for how long they are its own; how those end that wait too long."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.utils import timezone

from conversations.models.identity import IS_COPY
from conversations.models.opt_out import OPTED_OUT, SOME_BY_PSEUDONYM
from conversations.models.prepared import prepared
from conversations.models.report import ReportQuerySet
from conversations.models.status import Status
from providers.base import Channel
from providers.errors import UNREACHABLE

if TYPE_CHECKING:
    from conversations.models.message import Message

# Both looks at the line and the row locks see one snapshot, which is what keeps two workers out of one conversation
# without locking it: the earliest due message is the only one of its line that any worker can see as free. The one gap,
# an earlier message that falls due between two snapshots, is closed by a unique index.
# After a large batch the planner still counts with what was there before, takes every way for the cheapest, and joined
# 20,000 due messages with each other for minutes. OFFSET 0, LIMIT 1, IS TRUE and ANY leave it one way: each due message
# in its order, for each the head of its line, and the free ones by their ids.
CLAIM = """
WITH free AS MATERIALIZED (
    SELECT id, provider AS planned FROM conversations_message AS due
    WHERE due.status = 'pending' AND {which} AND due.test = %(test)s AND NOT {copy}
      AND due.next_attempt_at <= statement_timestamp()
      AND (due.expires_at > COALESCE(%(as_of)s::timestamptz, statement_timestamp())) IS TRUE
      AND NOT EXISTS (
        SELECT FROM conversations_message AS busy
        WHERE busy.conversation_id = due.conversation_id AND busy.type = due.type AND busy.status = 'sending'
        OFFSET 0)
      AND due.id = (
        SELECT id FROM conversations_message AS first
        WHERE first.conversation_id = due.conversation_id AND first.type = due.type AND first.status = 'pending'
          AND (first.next_attempt_at <= statement_timestamp()
            AND first.expires_at > COALESCE(%(as_of)s::timestamptz, statement_timestamp())) IS TRUE
        ORDER BY first.created_at, first.id LIMIT 1)
    ORDER BY due.batch, due.next_attempt_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE conversations_message AS message
    SET status = 'sending', attempts = attempts + 1, next_attempt_at = NULL,
        provider = CASE WHEN provider = ANY(%(accounts)s) THEN provider ELSE (%(accounts)s::text[])[1] END,
        lease_expires_at = statement_timestamp() + %(lease)s, updated_at = statement_timestamp()
    WHERE id = ANY(ARRAY(SELECT id FROM free))
    RETURNING message.*, {opted_out} AS recipient_opted_out, {some_by_pseudonym} AS some_opted_out_by_pseudonym,
        (SELECT planned FROM free WHERE free.id = message.id) AS planned
),
event AS (
    INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
    SELECT id, 'failover', 'observed', attempts, COALESCE(%(reasons)s::jsonb #>> ARRAY[planned, 'code'], ''),
        left(COALESCE(planned || ' is stopped: ' || (%(reasons)s::jsonb #>> ARRAY[planned, 'sentence']),
            'This attempt is not for ' || planned || '.') || ' ' || provider || ' is tried.', 500),
        statement_timestamp()
    FROM claimed WHERE provider <> planned
)
SELECT * FROM claimed"""

_CLAIMED_OPTED_OUT = OPTED_OUT.format(
    channel_type="CASE message.type WHEN 'email' THEN 'email' ELSE 'sms' END",
    sender="message.sender",
    recipient="lower(message.recipient)",
)
_LOOKS = {"opted_out": _CLAIMED_OPTED_OUT, "some_by_pseudonym": SOME_BY_PSEUDONYM, "copy": IS_COPY}
CLAIM_DUE = CLAIM.format(which="due.type = %(channel)s", **_LOOKS)
CLAIM_ONE = CLAIM.format(which="due.id = %(id)s", **_LOOKS)

EXPIRE_OVERDUE = """
WITH overdue AS MATERIALIZED (
    SELECT id FROM conversations_message AS m
    WHERE status = 'pending' AND type = %(channel)s AND test = %(test)s
      AND expires_at <= COALESCE(%(as_of)s::timestamptz, statement_timestamp())
    ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
),
moved AS (
    UPDATE conversations_message AS m
    SET status = 'expired', next_attempt_at = NULL, updated_at = statement_timestamp(),
        error_code = CASE WHEN m.error_code = '' THEN 'expired' ELSE m.error_code END,
        error_message = CASE WHEN m.error_code = '' THEN 'Its time ran out before it could be sent.'
                             ELSE m.error_message END
    FROM overdue WHERE m.id = overdue.id
    RETURNING m.id, m.attempts, m.error_code
)
INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
SELECT id, 'expired', 'observed', attempts, error_code, 'Its time ran out before it could be sent.',
    statement_timestamp()
FROM moved"""

# A message waited from when it could have gone: what it spent before, or was told to wait, is no time lost.
WAKE = """
WITH waiting AS MATERIALIZED (
    SELECT id FROM conversations_message
    WHERE status IN ('pending', 'sending', 'uncertain') AND type = %(channel)s AND test = %(test)s AND (
        expires_at > %(stopped_at)s::timestamptz
        OR error_code = ANY(%(unreachable)s) AND next_attempt_at > statement_timestamp())
    ORDER BY id FOR UPDATE
)
UPDATE conversations_message AS m
SET updated_at = statement_timestamp(),
    next_attempt_at = CASE WHEN status = 'pending' AND error_code = ANY(%(unreachable)s)
        THEN LEAST(next_attempt_at, statement_timestamp()) ELSE next_attempt_at END,
    expires_at = CASE WHEN expires_at > %(stopped_at)s::timestamptz
        THEN expires_at + GREATEST(
            statement_timestamp() - GREATEST(%(stopped_at)s::timestamptz, created_at, send_at), interval '0')
        ELSE expires_at END
FROM waiting WHERE m.id = waiting.id"""


@dataclass(frozen=True, slots=True)
class Offer:
    """On which terms messages are claimed: for which accounts, the preferred one first, and for how long.

    A message keeps the account that it is planned for if that is among them, else it gets the first; `reasons` tell
    why (`code` and `sentence` by the account's name). `as_of` is the time that counts for expiry, None for now. Test
    messages are claimed apart from others.
    """

    accounts: Sequence[str]
    reasons: Mapping[str, Mapping[str, str]]
    lease: timedelta
    as_of: datetime | None = None
    test: bool = False

    def parameters(self) -> dict[str, Any]:
        """Return it as the statement takes it."""
        return {
            "accounts": list(self.accounts),
            "reasons": json.dumps(self.reasons),
            "lease": self.lease,
            "as_of": self.as_of,
            "test": self.test,
        }


class ClaimQuerySet(ReportQuerySet):
    """How messages come to be a worker's, and what those that wait for one come to."""

    def claim(self, channel: Channel, offer: Offer, *, limit: int) -> list["Message"]:
        """Take up to `limit` due messages of a channel, those of batches last and the longest due first: they are
        `sending`, one attempt further, each with an account of the offer as its `provider`.

        None that has expired. Messages of one conversation leave in the order they were accepted, one in flight at a
        time. Safe to call from any number of workers at once: none waits for another, none gets what another has.
        """
        parameters = {"channel": channel, "limit": limit, **offer.parameters()}
        return prepared(self.model, CLAIM_DUE, parameters)

    def claim_one(self, message: "Message", offer: Offer) -> list["Message"]:
        """Take this message, by the same rules. A list of one or none."""
        return prepared(self.model, CLAIM_ONE, {"id": message.pk, "limit": 1, **offer.parameters()})

    def expire_overdue(self, channel: Channel, *, limit: int, test: bool = False, as_of: datetime | None = None) -> int:
        """End `pending` messages of a channel that were past `expires_at` now, or at the time at which their clock was
        stopped, as `expired`; return how many.
        """
        with connection.cursor() as cursor:
            cursor.execute(EXPIRE_OVERDUE, {"channel": channel, "limit": limit, "test": test, "as_of": as_of})
            return int(cursor.rowcount)

    def due(self, channel: Channel, *, test: bool = False, as_of: datetime | None = None) -> "ClaimQuerySet":
        """Return the messages of a channel that `claim` could take now: batches last, the longest due first."""
        now = timezone.now()
        waiting = self.filter(type=channel, test=test, status=Status.PENDING)
        due = waiting.filter(next_attempt_at__lte=now, expires_at__gt=as_of or now)
        return due.order_by("batch", "next_attempt_at")

    def wake(self, channel: str, stopped_at: datetime | None, *, test: bool = False) -> None:
        """Let what waited on a channel go on: at once where nobody was reachable, not before its time otherwise.

        `stopped_at` is since when the clock stood still: messages live on by what they spent of that time waiting.
        """
        stopped: dict[str, Any] = {"channel": channel, "test": test, "stopped_at": stopped_at}
        with connection.cursor() as cursor:
            cursor.execute(WAKE, {**stopped, "unreachable": list(UNREACHABLE)})
