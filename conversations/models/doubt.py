"""Messages of which nobody knows what became of them, and when somebody asks."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models
from django.db.models import Q
from django.utils import timezone

from conversations.models import statements
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


class DoubtQuerySet(models.QuerySet["Message"]):
    """How doubts begin, and who has to be asked about which."""

    def doubt_expired_leases(self, *, limit: int) -> int:
        """Turn `sending` messages whose lease ran out into `uncertain`; return how many.

        Their worker is gone or late, and whether it had called the provider can't be known from here.
        """
        with connection.cursor() as cursor:
            cursor.execute(statements.DOUBT_EXPIRED_LEASES, {"limit": limit, **settling_times()})
            return int(cursor.rowcount)

    def doubt_restored(self, *, limit: int) -> int:
        """Turn up to `limit` messages of a restored copy that may have been sent since its backup into `uncertain`;
        return how many. They are looked up at their providers at once.
        """
        with connection.cursor() as cursor:
            cursor.execute(statements.DOUBT_RESTORED, {"limit": limit, "deadline": settling_times()["deadline"]})
            return int(cursor.rowcount)

    def take_doubts(self, *, limit: int) -> list["Message"]:
        """Return doubts whose provider has to be asked now; each comes due again after SETTLE_GAP_SECONDS."""
        gap = timedelta(seconds=settings.SETTLE_GAP_SECONDS)
        return list(self.raw(statements.TAKE_DOUBTS, {"limit": limit, "gap": gap}))

    def take_overdue_reports(self, *, limit: int) -> list["Message"]:
        """Return sent messages whose provider has to be asked now what became of them; each comes due at its next."""
        return list(self.raw(statements.TAKE_OVERDUE_REPORTS, {"limit": limit, "steps": list(REPORT_STEPS)}))

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
