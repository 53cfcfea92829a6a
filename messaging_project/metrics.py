"""What Prometheus reads. All of it is asked of the database, where it is true whichever process is asked, but for the
requests, which the web processes of a machine count among themselves. The messages of tests are not counted.

What is counted is exported as 0 before it first happens: to Prometheus a series that begins with 1 has not grown, so
that no alert would tell of what is rare. Nothing here names an address, a number or a text.
"""

import hmac
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import get_args

from django.conf import settings
from django.db.models import Count, Max, Min, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from conversations.broker import broker
from conversations.models import Message
from conversations.models.status import Status
from messaging_project.celery import QUEUES
from messaging_project.health import SWEEPS, WORKER_SILENT_AFTER
from messaging_project.http_metrics import of_all_web_processes
from messaging_project.models import Heartbeat, Tally
from messaging_project.problems import problem
from messaging_project.tally import DELIVERY_BUCKETS, ERROR_TYPES, count_on
from providers import routes
from providers.base import CallbackKind
from providers.models import AccountState
from webhooks.models import Delivery, Receipt, Refusal, Subscription


class FromTheDatabase(Collector):
    """The state of queues, doubts and accounts, asked at every reading."""

    def collect(self) -> Iterator[Metric]:
        """Yield each family."""
        count_on()
        yield from counters()
        yield handed_over()
        yield webhooks()
        yield from queues()
        yield broker_queues()
        yield workers()
        yield sweeps()
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


Labels = tuple[str, ...]


def counters() -> Iterator[Metric]:
    """Yield what was counted so far."""
    labels = ["direction", "type", "status", "provider"]
    yield counter("messages", "Moves of messages to each status.", labels, moves())
    errors = product(real_accounts(), ERROR_TYPES.values())
    yield counter("provider_errors", "Attempts that a provider did not accept.", ["provider", "error_type"], errors)
    restarts = "Workers that started again within a quarter of an hour, by the first queue that they consume."
    yield counter("worker_restarts", restarts, ["queue_name"], product(QUEUES))


def counter(
    name: str, help_text: str, labels: list[str], known: Iterable[Labels], beside: Mapping[Labels, float] | None = None
) -> Metric:
    """Return what was counted, and what is `beside`, by the values of its labels; those that are `known` begin at 0."""
    family = CounterMetricFamily(name, help_text, labels=labels)
    values = dict.fromkeys(known, 0.0) | counted(f"{name}_total") | dict(beside or {})
    for of_labels, value in values.items():
        family.add_metric(of_labels, value)
    return family


def counted(name: str) -> dict[Labels, float]:
    """Return what was counted under a name, by the values of its labels."""
    return {tuple(each.labels): each.value for each in Tally.objects.filter(name=name)}


def real_accounts() -> list[str]:
    """Return the accounts that carry what is no test."""
    return [name for name in routes.account_names() if not routes.is_test(name)]


def moves() -> Iterator[Labels]:
    """Yield the moves that there may be at each account, on the channels that it carries or once carried: what is in
    doubt at an account that was taken off its route may still become unresolved.
    """
    carried = {(provider, channel) for _, channel, _, provider in counted("messages_total")}
    carried |= {(account, channel) for account in real_accounts() for channel in routes.channels_of(account)}
    for account, channel in sorted(carried):
        for status in Status:
            yield "inbound" if status == Status.RECEIVED else "outbound", channel, status, account


def handed_over() -> Metric:
    """Return how long messages took from when they were accepted, or fell due, until a provider had them."""
    name = "message_delivery_seconds"
    family = HistogramMetricFamily(name, "Accepted, or fallen due, until handed over.", labels=["type"])
    counts, sums = counted(f"{name}_bucket"), counted(f"{name}_sum")
    for channel in Message.Type.values:
        so_far, buckets = 0.0, []
        for bound in (*map(str, DELIVERY_BUCKETS), "+Inf"):
            so_far += counts.get((channel, bound), 0)
            buckets.append((bound, so_far))
        family.add_metric([channel], buckets, sum_value=sums.get((channel,), 0))
    return family


def webhooks() -> Metric:
    """Return how many callbacks came and what became of them, the refused ones included."""
    doors = [name for name in real_accounts() if routes.kind_of(name) in routes.WITH_DOORS]
    results = [result or "waiting" for result in Receipt.Result.values]
    known = [
        *product(doors, get_args(CallbackKind), results),
        *product(routes.WITH_DOORS, ["refused"], Refusal.Reason.values),
    ]
    found = Refusal.objects.values_list("provider", "reason").annotate(Sum("count"))
    refused: dict[Labels, float] = {(provider, "refused", reason): count for provider, reason, count in found}
    return counter("webhooks", "Callbacks that came.", ["provider", "kind", "result"], known, refused)


def broker_queues() -> Metric:
    """Return how many rings lie in each queue; nothing while the broker is away."""
    family = GaugeMetricFamily("broker_queue_length", "Rings in the broker's queues.", labels=["queue_name"])
    for queue in QUEUES:
        length = broker.waiting(queue)
        if math.isfinite(length):
            family.add_metric([queue], length)
    return family


def workers() -> Metric:
    """Return how many workers consume each queue."""
    seen = Heartbeat.objects.filter(seen_at__gt=timezone.now() - WORKER_SILENT_AFTER)
    alive = defaultdict(int, seen.values_list("part").annotate(Count("pk")))
    family = GaugeMetricFamily("workers", "Workers that consume a queue.", labels=["queue_name"])
    for queue in QUEUES:
        family.add_metric([queue], alive[f"queue {queue}"])
    return family


def sweeps() -> Metric:
    """Return for how long each sweep has been silent; endlessly, where none is known to have run."""
    parts = [f"sweep {name}" for name in SWEEPS]
    last = dict(Heartbeat.objects.filter(part__in=parts).values_list("part").annotate(Max("seen_at")))
    family = GaugeMetricFamily("sweep_silent_seconds", "Since a sweep last ran through.", labels=["sweep"])
    for name, part in zip(SWEEPS, parts, strict=True):
        silent = (timezone.now() - last[part]).total_seconds() if part in last else float("inf")
        family.add_metric([name], silent)
    return family


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
    return HttpResponse(generate_latest(registry) + of_all_web_processes(), content_type=CONTENT_TYPE_LATEST)
