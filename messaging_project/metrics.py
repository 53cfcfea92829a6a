"""What Prometheus reads. All of it is asked of the database, where it is true whichever process is asked; the messages
of tests are not counted.

Nothing here names an address, a number or a text.
"""

import hmac
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from conversations.models import Message
from conversations.models.status import Status
from messaging_project.problems import problem
from providers import routes
from providers.models import AccountState
from webhooks.models import Delivery, Subscription


class FromTheDatabase(Collector):
    """The state of queues, doubts and accounts, asked at every reading."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield each family of gauges."""
        yield from queues()
        yield doubts()
        yield accounts()
        yield subscriptions()
        yield deliveries()


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many messages of a queue are due, and for how long the longest due one has been."""

    depth: int = 0
    oldest_seconds: float = 0


def queue_states() -> dict[str, QueueState]:
    """Return the state of each queue of messages."""
    now = timezone.now()
    due = Message.objects.filter(status=Status.PENDING, next_attempt_at__lte=now, test=False)
    found = due.values_list("type").annotate(Count("pk"), Min("next_attempt_at"))
    states = {queue: QueueState(depth, (now - since).total_seconds()) for queue, depth, since in found}
    return {queue: states.get(queue, QueueState()) for queue in Message.Type.values}


def queues() -> Iterator[GaugeMetricFamily]:
    """Yield how many messages of each queue are due, and since when the longest due one has been."""
    depth = GaugeMetricFamily("queue_depth", "Messages that are due.", labels=["queue_name"])
    oldest = GaugeMetricFamily(
        "oldest_pending_seconds", "For how long the longest due message has been due.", labels=["queue_name"]
    )
    for queue, state in queue_states().items():
        depth.add_metric([queue], state.depth)
        oldest.add_metric([queue], state.oldest_seconds)
    yield depth
    yield oldest


def doubts() -> GaugeMetricFamily:
    """Return how many messages are being settled with their provider."""
    gauge = GaugeMetricFamily("messages_uncertain", "Messages whose call ended without an answer.")
    gauge.add_metric([], Message.objects.filter(status=Status.UNCERTAIN, test=False).count())
    return gauge


def accounts() -> GaugeMetricFamily:
    """Return the state of each account on each of its channels: 1 for the one that it is in."""
    stopped = {(row.account, row.channel): row.state for row in AccountState.objects.all()}
    gauge = GaugeMetricFamily(
        "provider_account_state", "1 for the state that an account is in.", labels=["account", "channel", "state"]
    )
    for name in routes.account_names():
        for channel in routes.channels_of(name):
            now_in = stopped.get((name, channel), AccountState.State.RUNNING)
            for state in AccountState.State.values:
                gauge.add_metric([name, channel, state], int(state == now_in))
    return gauge


def subscriptions() -> GaugeMetricFamily:
    """Return how many subscriptions are in each state."""
    found = Counter(each.status for each in Subscription.objects.only("disabled_at", "failing_since"))
    gauge = GaugeMetricFamily("subscriptions", "Who is told of events, by whether they take them.", labels=["status"])
    for status in ("enabled", "failing", "disabled"):
        gauge.add_metric([status], found[status])
    return gauge


def deliveries() -> GaugeMetricFamily:
    """Return how many deliveries wait for a subscriber that is not disabled."""
    gauge = GaugeMetricFamily("deliveries_waiting", "Events that a subscriber is still to be told.")
    waiting = Delivery.objects.filter(status=Delivery.Status.WAITING, subscription__disabled_at=None)
    gauge.add_metric([], waiting.count())
    return gauge


registry = CollectorRegistry()
registry.register(FromTheDatabase())


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus's text format to who shows METRICS_TOKEN as a Bearer token, or on a developer's own machine.

    401 for everybody else.
    """
    shown = request.headers.get("Authorization", "").encode()
    expected = f"Bearer {settings.METRICS_TOKEN}".encode()
    knows = bool(settings.METRICS_TOKEN) and hmac.compare_digest(shown, expected)
    if not knows and not settings.TRUST_LOCAL_REQUESTS:
        return problem(401, "not_authenticated", "Show METRICS_TOKEN as a Bearer token.")
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
