"""Messages of which nobody knows what became of them, and when somebody asks."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models
from django.db.models import Q
from django.utils import timezone

from conversations.models.status import MAY_HAVE_ARRIVED, Status

if TYPE_CHECKING:
    from conversations.models.message import Message

# When the provider is asked what became of a message, counted from its being sent, while no report comes.
REPORT_STEPS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=6))


def settling_times() -> dict[str, Any]:
    """Return when a doubt is looked at after its lease's end and how long it may last from then, and when the provider
    is first asked what became of a message it accepted.
    """
    return {
        "settle": timedelta(seconds=settings.SETTLE_SECONDS),
        "deadline": timedelta(seconds=settings.SETTLE_DEADLINE_SECONDS),
        "report_after": REPORT_STEPS[0],
    }


# What is at rest although the provider's id was never known: few, as an acceptance brings it.
SETTLED_WITHOUT_AN_ID = sorted(MAY_HAVE_ARRIVED - {Status.SENDING, Status.UNCERTAIN})

DOUBT_EXPIRED_LEASES = """
WITH late AS MATERIALIZED (
    SELECT id FROM conversations_message WHERE status = 'sending' AND lease_expires_at <= statement_timestamp()
    ORDER BY lease_expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
),
moved AS (
    UPDATE conversations_message AS m
    SET status = 'uncertain', error_code = 'lease_expired', updated_at = statement_timestamp(),
        settle_at = m.lease_expires_at + %(settle)s, settle_by = m.lease_expires_at + %(settle)s + %(deadline)s,
        looks = 0, lease_expires_at = NULL,
        error_message = 'The worker was lost while it held this message: it may have been sent.'
    FROM late WHERE m.id = late.id
    RETURNING m.id, m.attempts, m.error_code, m.error_message
)
INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
SELECT id, 'uncertain', 'assumed', attempts, error_code, error_message, statement_timestamp() FROM moved"""

# What waited when the backup was made may have been sent since: by one more attempt than the row knows of, so that this
# one's reports find it. What is scheduled for a time that is still to come was not.
DOUBT_RESTORED = """
WITH waiting AS MATERIALIZED (
    SELECT id FROM conversations_message
    WHERE status = 'pending' AND next_attempt_at IS NOT NULL AND (send_at IS NULL OR send_at <= statement_timestamp())
       OR status = 'sending' AND lease_expires_at IS NOT NULL
    LIMIT %(limit)s FOR UPDATE
),
moved AS (
    UPDATE conversations_message AS m
    SET status = 'uncertain', attempts = CASE m.status WHEN 'pending' THEN m.attempts + 1 ELSE m.attempts END,
        next_attempt_at = NULL, lease_expires_at = NULL, updated_at = statement_timestamp(),
        settle_at = statement_timestamp(), settle_by = statement_timestamp() + %(deadline)s, looks = 0,
        error_code = 'restored',
        error_message = 'It came from a backup, where it was not sent yet: it may have been sent since.'
    FROM waiting WHERE m.id = waiting.id
    RETURNING m.id, m.attempts, m.error_code, m.error_message
)
INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
SELECT id, 'uncertain', 'assumed', attempts, error_code, error_message, statement_timestamp() FROM moved"""

# Coming due again is written before the provider is asked, so that nobody else asks meanwhile and no crash loses one.
# Time in which nobody looked, such as while all of this was down, is not time in which a doubt could have been settled.
TAKE_DOUBTS = """
UPDATE conversations_message AS message
SET settle_at = statement_timestamp() + %(gap)s,
    settle_by = settle_by + (statement_timestamp() - settle_at)
FROM (
    SELECT id FROM conversations_message WHERE status = 'uncertain' AND settle_at <= statement_timestamp()
    ORDER BY settle_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AS due
WHERE message.id = due.id
RETURNING message.*"""

TAKE_OVERDUE_REPORTS = """
UPDATE conversations_message AS message
SET report_due_at = (
    SELECT min(message.sent_at + step) FROM unnest(%(steps)s::interval[]) AS step
    WHERE message.sent_at + step > statement_timestamp())
FROM (
    SELECT id FROM conversations_message WHERE status = 'sent' AND report_due_at <= statement_timestamp()
    ORDER BY report_due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AS due
WHERE message.id = due.id
RETURNING message.*"""


class DoubtQuerySet(models.QuerySet["Message"]):
    """How doubts begin, and who has to be asked about which."""

    def doubt_expired_leases(self, *, limit: int) -> int:
        """Turn `sending` messages whose lease ran out into `uncertain`; return how many.

        Their worker is gone or late, and whether it had called the provider can't be known from here.
        """
        with connection.cursor() as cursor:
            cursor.execute(DOUBT_EXPIRED_LEASES, {"limit": limit, **settling_times()})
            return int(cursor.rowcount)

    def doubt_restored(self, *, limit: int) -> int:
        """Turn up to `limit` messages of a restored copy that may have been sent since its backup into `uncertain`;
        return how many. They are looked up at their providers at once.
        """
        with connection.cursor() as cursor:
            cursor.execute(DOUBT_RESTORED, {"limit": limit, "deadline": settling_times()["deadline"]})
            return int(cursor.rowcount)

    def take_doubts(self, *, limit: int) -> list["Message"]:
        """Return doubts whose provider has to be asked now; each comes due again after SETTLE_GAP_SECONDS."""
        gap = timedelta(seconds=settings.SETTLE_GAP_SECONDS)
        return list(self.raw(TAKE_DOUBTS, {"limit": limit, "gap": gap}))

    def take_overdue_reports(self, *, limit: int) -> list["Message"]:
        """Return sent messages whose provider has to be asked now what became of them; each comes due at its next."""
        return list(self.raw(TAKE_OVERDUE_REPORTS, {"limit": limit, "steps": list(REPORT_STEPS)}))

    def unnamed_between(self, provider: str, sender: str, recipient: str, since: datetime) -> "DoubtQuerySet":
        """Return the messages of a pair that may be at the provider, since then, under an id that we do not know."""
        pair = self.filter(provider=provider, sender=sender, recipient=recipient, provider_message_id="")
        settled = Q(status__in=SETTLED_WITHOUT_AN_ID, updated_at__gte=since)
        return pair.filter(Q(status=Status.SENDING) | Q(status=Status.UNCERTAIN) | settled)

    def owns(self, provider: str, provider_message_id: str) -> bool:
        """Say whether any message has this id at its provider, or had it in an attempt before it was sent again."""
        if self.filter(provider=provider, provider_message_id=provider_message_id).exists():
            return True
        sent_again = self.exclude(earlier_provider_ids=[])
        return sent_again.filter(earlier_provider_ids__contains=[provider_message_id]).exists()

    def is_settling_due(self) -> bool:
        """Say whether any provider has to be asked about any message now."""
        now = timezone.now()
        doubts = self.filter(status=Status.UNCERTAIN, settle_at__lte=now)
        return doubts.exists() or self.filter(status=Status.SENT, report_due_at__lte=now).exists()
