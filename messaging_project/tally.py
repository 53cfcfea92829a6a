"""What only ever grows, counted where every process of every machine finds the same: rows of the database."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models, transaction
from django.db.models import Count, Exists, F, Max, OuterRef, Q
from django.utils import timezone

from conversations.models import MessageEvent
from conversations.models.pace import PACED
from conversations.models.status import Status
from providers.sandbox_account import NAME as SANDBOX
from webhooks.models import Receipt

EVENTS_AT_ONCE = 20_000
BEYOND_ANY_TRANSACTION = 2**63 - 1
RECEIPTS_APPLIED_WITHIN = timedelta(seconds=10)
DELIVERY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)
ERROR_TYPES = {Status.FAILED: "rejected", Status.UNCERTAIN: "uncertain", Status.PENDING: "not_sent"}
OUR_OWN = ("", PACED, "recipient_opted_out")
"""Codes of what no provider was asked, or did not refuse."""

Counts = Counter[tuple[str, ...]]


class TallyQuerySet(models.QuerySet["Tally"]):
    """How is counted."""

    def add(self, counts: Counts) -> None:
        """Add to what was counted so far: a number by a metric's name followed by the values of its labels."""
        rows = [Tally(name=name, labels=list(labels)) for name, *labels in sorted(counts)]
        self.bulk_create(rows, ignore_conflicts=True)
        for row in rows:
            added = counts[row.name, *row.labels]
            self.filter(name=row.name, labels=row.labels).update(value=F("value") + added)


class Tally(models.Model):
    """How much of something there has been so far."""

    name = models.CharField(max_length=60)
    labels = ArrayField(models.CharField(max_length=60))
    value = models.FloatField(default=0)

    objects = TallyQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "labels"], name="one_tally_of_a_name_and_labels")]

    def __str__(self) -> str:
        return f"{self.name} {', '.join(self.labels)}: {self.value:g}"


class Counted(models.Model):
    """How far the timelines and the receipts have been counted: the only row there is."""

    transaction_number = models.BigIntegerField(default=0)
    event_id = models.BigIntegerField(default=0)
    received_until = models.DateTimeField(default=datetime(1970, 1, 1, tzinfo=UTC))

    def __str__(self) -> str:
        return f"counted up to {self.transaction_number}.{self.event_id} and {self.received_until}"


def count_on(before: int | None = None) -> bool:
    """Count what has happened since, each event once and no more than some thousands at a time; nothing while somebody
    else counts. Return whether there were any events.

    `before` ends it at that transaction's number, None at the oldest that is under way.
    """
    Counted.objects.bulk_create([Counted(pk=1)], ignore_conflicts=True)
    with transaction.atomic():
        counted = Counted.objects.select_for_update(skip_locked=True).filter(pk=1).first()
        if counted is None:
            return False
        reached = counted.transaction_number, counted.event_id
        events = new_events(counted, oldest_under_way() if before is None else before)
        Tally.objects.add(events + new_receipts(counted))
        counted.save()
        return reached != (counted.transaction_number, counted.event_id)


def new_events(counted: Counted, before: int) -> Counts:
    """Count the events of transactions older than any that is still under way: nobody can write behind those.

    What we saw to be sent and the provider reported, too, was sent once.
    """
    further = Q(transaction_number__gt=counted.transaction_number) | Q(id__gt=counted.event_id)
    later = MessageEvent.objects.filter(further, transaction_number__gte=counted.transaction_number)
    seen = MessageEvent.objects.filter(
        message=OuterRef("message"), attempt=OuterRef("attempt"), status=Status.SENT, evidence="observed"
    )
    echoes = Q(Exists(seen), status=Status.SENT, evidence="reported")
    settled = later.filter(~echoes, transaction_number__lt=before).select_related("message")
    counts: Counts = Counter()
    for event in settled.order_by("transaction_number", "id").defer("message__body", "message__html")[:EVENTS_AT_ONCE]:
        counted.transaction_number, counted.event_id = event.transaction_number, event.pk
        if event.status in Status.values and not event.message.test:
            counts.update(of_event(event))
    return counts


def count_everything() -> None:
    """Count all that the timelines hold, also of transactions that another database has numbered."""
    while count_on(before=BEYOND_ANY_TRANSACTION):
        pass


def count_from_here() -> None:
    """Let all events that there are be counted: what is written from this transaction on is still to be."""
    newest = MessageEvent.objects.aggregate(newest=Max("pk"))["newest"] or 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        here = {"transaction_number": cursor.fetchone()[0], "event_id": newest}
    Counted.objects.update_or_create(pk=1, defaults=here)


def oldest_under_way() -> int:
    """Return the number of the oldest transaction that may still write."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        return int(cursor.fetchone()[0])


def of_event(event: MessageEvent) -> Counts:
    """Return what an event adds to."""
    message = event.message
    counts: Counts = Counter({("messages_total", message.direction, message.type, event.status, message.provider): 1})
    observed = event.evidence == MessageEvent.Evidence.OBSERVED and event.attempt > 0
    if observed and event.status == Status.SENT:
        due_since = max(message.created_at, message.send_at or message.created_at)
        counts.update(of_delivery(message.type, (event.at - due_since).total_seconds()))
    if observed and event.status in ERROR_TYPES and event.code not in OUR_OWN:
        counts["provider_errors_total", message.provider, ERROR_TYPES[Status(event.status)]] += 1
    return counts


def of_delivery(channel: str, seconds: float) -> Counts:
    """Return what a message adds that was handed over so long after it was accepted, or fell due."""
    bucket = next((str(each) for each in DELIVERY_BUCKETS if seconds <= each), "+Inf")
    name = "message_delivery_seconds"
    return Counter({(f"{name}_bucket", channel, bucket): 1, (f"{name}_sum", channel): max(seconds, 1e-6)})


def new_receipts(counted: Counted) -> Counts:
    """Count the callbacks that came and had some seconds to take effect; `waiting` are those that had not by then.

    Those of tests are not counted, nor what was fetched.
    """
    until = timezone.now() - RECEIPTS_APPLIED_WITHIN
    came = Receipt.objects.filter(received_at__gte=counted.received_until, received_at__lt=until)
    real = came.filter(backfilled=False).exclude(provider=SANDBOX)
    counted.received_until = max(until, counted.received_until)
    found = real.values_list("provider", "kind", "result").annotate(Count("pk"))
    return Counter(
        {("webhooks_total", provider, kind, result or "waiting"): count for provider, kind, result, count in found}
    )
