"""How it is going: what the first page of the admin shows. The messages of tests are never counted.

Every question is bounded, by a window of time on an index or by a number of rows, so that it costs the same on two
million messages as on two hundred; what takes longest is remembered for some seconds.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Count
from django.db.models.functions import TruncHour
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from conversations.models import Message
from conversations.models.status import Status
from messaging_project.charts import Chart, Series
from messaging_project.health import check_queues
from messaging_project.metrics import queue_states
from providers import routes
from providers.models import AccountState
from webhooks.models import Delivery

HOUR = timedelta(hours=1)
MOST_HANDED_OVER = 5_000
"""So many messages of the last hour, the newest, tell how long it takes."""
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Range:
    """A window of time that can be chosen: so many hours up to now."""

    key: str
    name: str
    hours: int

    @property
    def since(self) -> datetime:
        """The beginning of its first hour."""
        return this_hour() - (self.hours - 1) * HOUR


RANGES = (Range("24h", "last 24 hours", 24), Range("7d", "last 7 days", 168))
DAY = RANGES[0]
DAY_REMEMBERED_SECONDS, OLDER_REMEMBERED_SECONDS = 5, 600
"""What is older than a day hardly changes any more."""

CHANNELS = (Series("sms", "SMS"), Series("mms", "MMS"), Series("email", "Email"))
OUTCOMES = (
    Series("received", "received"),
    Series("delivered", "delivered"),
    Series("sent", "sent, no report yet"),
    Series("waiting", "waiting"),
    Series("in-doubt", "in doubt"),
    Series("not-reached", "not reached"),
    Series("canceled", "canceled"),
)
OUTCOME_OF = {
    Status.RECEIVED: "received",
    Status.DELIVERED: "delivered",
    Status.SENT: "sent",
    Status.PENDING: "waiting",
    Status.SENDING: "waiting",
    Status.UNCERTAIN: "in-doubt",
    Status.UNRESOLVED: "in-doubt",
    Status.FAILED: "not-reached",
    Status.UNDELIVERED: "not-reached",
    Status.EXPIRED: "not-reached",
    Status.CANCELED: "canceled",
}
"""Which of the outcomes each status is counted under."""

Counts = Sequence[tuple[datetime, str, str, int]]
"""Rows of (hour, channel, status, how many)."""


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the template of the dashboard takes, as far as the person may see it; {} for who sees no messages."""
    if not request.user.has_perm("conversations.view_message"):
        return {}
    chosen = next((each for each in RANGES if each.key == request.GET.get("range")), RANGES[0])
    counts = counts_of(chosen)
    hours = [chosen.since + number * HOUR for number in range(chosen.hours)]
    by_channel, by_outcome = Counter[Any](), Counter[Any]()
    for hour, channel, status, number in counts:
        by_channel[hour, channel] += number
        by_outcome[hour, OUTCOME_OF[Status(status)]] += number
    total = sum(by_channel.values())
    shown = {
        "chosen": chosen,
        "ranges": RANGES,
        "now": timezone.now(),
        "total": total,
        "total_in_words": f"{total:,}",
        "charts": [
            Chart("Messages per hour, by channel", hours, CHANNELS, by_channel),
            Chart("Messages per hour, by outcome", hours, OUTCOMES, by_outcome),
        ],
        "delivery": delivery_rate(counts),
        "handed_over": handed_over(),
        "doubts": doubts(),
        "doubts_url": doubts_url(request),
        "queues": queues(),
    }
    return {"dashboard": {**shown, **operations(request)}}


def operations(request: HttpRequest) -> dict[str, Any]:
    """Return what is for those alone who look after accounts."""
    if not request.user.has_perm("providers.view_accountstate"):
        return {}
    rows = accounts()
    stopped = [row for row in rows if row.state != AccountState.State.RUNNING]
    return {"accounts": rows, "stopped": stopped, "flower_url": settings.FLOWER_URL}


def this_hour() -> datetime:
    """Return the beginning of this hour, UTC."""
    return timezone.now().replace(minute=0, second=0, microsecond=0)


def counts_of(chosen: Range) -> Counts:
    """Return the counts of a window, as they were some seconds ago; what is older than a day, some minutes ago."""
    counts = remembered(DAY.since, None, DAY_REMEMBERED_SECONDS)
    if chosen == DAY:
        return counts
    return [*remembered(chosen.since, DAY.since, OLDER_REMEMBERED_SECONDS), *counts]


def remembered(since: datetime, until: datetime | None, seconds: int) -> Counts:
    """Return what `count` counts, or counted at most so many seconds ago in this process."""
    key = f"dashboard:{since.timestamp():.0f}:{until.timestamp() if until else 0:.0f}"
    return cache.get_or_set(key, lambda: count(since, until), seconds) or []


def count(since: datetime, until: datetime | None) -> Counts:
    """Count the messages accepted or received from `since` on, and before `until`, by hour, channel and status."""
    rows = Message.objects.filter(created_at__gte=since, test=False).order_by()
    if until:
        rows = rows.filter(created_at__lt=until)
    grouped = rows.annotate(hour=TruncHour("created_at")).values_list("hour", "type", "status")
    return list(grouped.annotate(count=Count("pk")))


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of those whose fate is known were delivered."""

    delivered: int
    known: int

    @property
    def known_in_words(self) -> str:
        """How many those are."""
        return f"{self.known:,}"

    @property
    def percent(self) -> str:
        """In words; a dash while nothing is known."""
        return f"{100 * self.delivered / self.known:.1f} %" if self.known else "–"


def delivery_rate(counts: Counts) -> Rate:
    """Return the rate of outbound messages that ended."""
    ended = Counter[str]()
    for _, _, status, number in counts:
        ended[status] += number
    not_reached = sum(ended[each] for each in (Status.FAILED, Status.UNDELIVERED, Status.EXPIRED))
    return Rate(ended[Status.DELIVERED], ended[Status.DELIVERED] + not_reached)


HANDED_OVER = """
SELECT count(*), percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) FROM (
    SELECT extract(epoch FROM sent_at - GREATEST(created_at, send_at))::float AS seconds
    FROM conversations_message
    WHERE created_at >= %(since)s AND sent_at IS NOT NULL AND direction = 'outbound' AND NOT test
    ORDER BY created_at DESC, id DESC LIMIT %(most)s
) AS newest
"""


def handed_over() -> dict[str, Any]:
    """Return how long messages of the last hour took from being accepted, or from their time, to being the provider's:
    `count`, `p50` and `p95` in words.
    """
    with connection.cursor() as cursor:
        cursor.execute(HANDED_OVER, {"since": timezone.now() - HOUR, "most": MOST_HANDED_OVER})
        count, percentiles = cursor.fetchone()
    p50, p95 = (duration(each) for each in percentiles or (None, None))
    return {"count": count, "p50": p50, "p95": p95}


def duration(seconds: float | None) -> str:
    """Return a time in words that fit into a tile: 340 ms, 2.5 s, 12 min, 3.4 h; a dash for none."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def doubts() -> dict[str, Any]:
    """Return how many messages are being settled, and how many could not be: counted up to MOST_COUNTED, in words."""
    waiting = Message.objects.filter(test=False)
    return {str(status): capped(waiting.filter(status=status)) for status in (Status.UNCERTAIN, Status.UNRESOLVED)}


def doubts_url(request: HttpRequest) -> str:
    """Return where the unresolved are listed, "" for who may not open that."""
    may_open = request.user.has_perm("conversations.view_notreached")
    return f"{reverse('admin:conversations_notreached_changelist')}?status=unresolved" if may_open else ""


def capped(rows: Any) -> str:
    """Return how many rows there are, in words: 12, or 1,000+."""
    count = rows.order_by()[: MOST_COUNTED + 1].count()
    return f"{count:,}" if count <= MOST_COUNTED else f"{MOST_COUNTED:,}+"


def queues() -> Iterable[dict[str, Any]]:
    """Yield what waits in each queue: how many are due, since when the longest, and who works there."""
    workers = check_queues()
    for name, state in queue_states().items():
        yield {
            "name": name,
            "depth": f"{state.depth:,}",
            "oldest": duration(state.oldest_seconds) if state.depth else "–",
            "workers": workers[name]["workers"],
        }
    waiting = Delivery.objects.filter(status=Delivery.Status.WAITING, subscription__disabled_at=None)
    yield {"name": "events", "depth": capped(waiting), "oldest": "–", "workers": workers["events"]["workers"]}


def accounts() -> list[AccountState]:
    """Return each account on each of its channels, those that are stopped first."""
    known = {(row.account, row.channel): row for row in AccountState.objects.all()}
    pairs = [(name, channel) for name in routes.account_names() for channel in routes.channels_of(name)]
    rows = [known.get(pair) or AccountState(account=pair[0], channel=pair[1]) for pair in pairs]
    return sorted(rows, key=lambda row: row.state == AccountState.State.RUNNING)
