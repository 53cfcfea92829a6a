"""What a subscriber is told, and how that went."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from conversations.models import Conversation
from conversations.models.identity import IS_COPY
from conversations.redaction import kept_for
from webhooks.models.subscription import FAILURES_THAT_HOLD, Subscription

MOST_REPLAYED = 10_000
"""How many are told again at once: more would hold up everybody else who writes."""

MOST_DOUBLINGS = 30
GONE = 410
WRITTEN_DOWN = (
    "status",
    "next_attempt_at",
    "leased_until",
    "delivered_at",
    "response_status",
    "response_text",
    "duration_ms",
    "error",
)

# Of each line, which is a conversation at one subscriber, the first that waits: it holds up the others until it is
# told or given up, so that they come in order. A subscriber that keeps failing gets one delivery at a time. Whoever has
# the fewest under way comes first, and a client has its share only, so that who is slow leaves room for the others.
# A restored copy tells nobody.
CLAIM = """
WITH under_way AS MATERIALIZED (
    SELECT subscription_id, client_id, count(*) AS count
    FROM webhooks_delivery JOIN webhooks_subscription AS subscription ON subscription.id = subscription_id
    WHERE leased_until > statement_timestamp() GROUP BY subscription_id, client_id
),
open AS (
    SELECT subscription.id, subscription.client_id, COALESCE(under_way.count, 0) AS told,
        CASE WHEN failures >= %(failures_that_hold)s THEN 1 ELSE %(each)s END - COALESCE(under_way.count, 0) AS room
    FROM webhooks_subscription AS subscription LEFT JOIN under_way ON subscription_id = subscription.id
    WHERE NOT {copy} AND disabled_at IS NULL AND (retry_at IS NULL OR retry_at <= statement_timestamp())
      AND NOT EXISTS (
        SELECT FROM conversations_client AS client
        WHERE client.id = subscription.client_id AND client.disabled_at IS NOT NULL)
),
due AS MATERIALIZED (
    SELECT open.*, first.id AS delivery_id, first.sequence FROM open CROSS JOIN LATERAL (
        SELECT id, sequence FROM webhooks_delivery AS waiting
        WHERE waiting.subscription_id = open.id AND waiting.status = 'waiting'
          AND waiting.next_attempt_at <= statement_timestamp()
          AND (waiting.leased_until IS NULL OR waiting.leased_until <= statement_timestamp())
          AND waiting.id = (
            SELECT id FROM webhooks_delivery AS head
            WHERE head.subscription_id = waiting.subscription_id
              AND head.conversation_id = waiting.conversation_id AND head.status = 'waiting'
            ORDER BY head.sequence LIMIT 1)
        ORDER BY waiting.sequence LIMIT GREATEST(open.room, 0) FOR UPDATE SKIP LOCKED) AS first
),
in_turn AS (
    SELECT *, told + row_number() OVER (PARTITION BY id ORDER BY sequence) AS turn FROM due
),
shared AS (
    SELECT *, row_number() OVER (PARTITION BY client_id ORDER BY turn, sequence) + (
        SELECT COALESCE(sum(count), 0) FROM under_way WHERE under_way.client_id IS NOT DISTINCT FROM in_turn.client_id
    ) AS turn_of_client
    FROM in_turn
)
UPDATE webhooks_delivery AS delivery
SET attempts = attempts + 1, leased_until = statement_timestamp() + %(lease)s
WHERE id = ANY(ARRAY(
    SELECT delivery_id FROM shared WHERE turn_of_client <= %(each_client)s
    ORDER BY turn_of_client, turn, random() LIMIT %(limit)s))
RETURNING delivery.*""".replace("{copy}", IS_COPY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How one try went: what the subscriber answered, None and "" where it did not, with `error` a sentence then."""

    duration_ms: int
    status: int | None = None
    text: str = ""
    error: str = ""
    retry_after: float | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the subscriber has it now."""
        return self.status is not None and 200 <= self.status < 300


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """How deliveries are taken, and begun anew."""

    def claim(self, *, limit: int, each: int, each_client: int) -> list["Delivery"]:
        """Take up to `limit` due deliveries, and leave `each` subscriber and `each_client` no more than so many under
        way; they are due again by themselves if nobody writes down how they went.
        """
        lease = timedelta(seconds=2 * settings.EVENT_TIMEOUT_SECONDS)
        wanted = {"limit": limit, "each": each, "each_client": each_client, "lease": lease}
        found = list(self.raw(CLAIM, {**wanted, "failures_that_hold": FAILURES_THAT_HOLD}))
        subscriptions = Subscription.objects.in_bulk({delivery.subscription_id for delivery in found})
        kept = [delivery for delivery in found if delivery.subscription_id in subscriptions]
        for delivery in kept:
            delivery.subscription = subscriptions[delivery.subscription_id]
        return kept

    def replay(self, limit: int) -> list[datetime]:
        """Tell up to `limit` of these once more, the oldest first, as if new, each in its old place; return when each
        was made, in order. What waits anyway is left as it is.
        """
        now = timezone.now()
        ended = self.exclude(status=Delivery.Status.WAITING).order_by("created_at", "id")
        with transaction.atomic():
            chosen = dict(ended.select_for_update(skip_locked=True).values_list("pk", "created_at")[:limit])
            Delivery.objects.filter(pk__in=chosen).update(
                status=Delivery.Status.WAITING,
                attempts=0,
                next_attempt_at=now,
                give_up_at=now + timedelta(seconds=settings.EVENT_GIVE_UP_SECONDS),
                delivered_at=None,
            )
        return list(chosen.values())

    def forget_old(self, limit: int) -> int:
        """Delete up to `limit` deliveries past RECEIPT_RETENTION_DAYS, or past the time for which messages of their
        channel are kept; return how many.
        """
        now = timezone.now()
        old = [self.filter(created_at__lt=now - timedelta(days=settings.RECEIPT_RETENTION_DAYS))]
        for channel_type, channels in {"sms": ("sms", "mms"), "email": ("email",)}.items():
            kept = kept_for(channels)
            if kept is not None:
                old.append(self.filter(created_at__lt=now - kept, conversation__channel_type=channel_type))
        return sum(each.forget(limit) for each in old)

    @transaction.atomic
    def forget(self, limit: int) -> int:
        """Delete up to `limit` of these, the oldest first, but for those that are being written to; return how many."""
        locked = self.order_by("created_at").select_for_update(of=("self",), skip_locked=True)
        return Delivery.objects.filter(pk__in=list(locked.values_list("pk", flat=True)[:limit])).delete()[0]


class Delivery(models.Model):
    """One event for one subscriber, word for word as it is told, and how the last try went."""

    class Status(models.TextChoices):
        """`failed` is given up, until somebody replays it."""

        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+")
    event = models.CharField(max_length=40)
    sequence = models.BigIntegerField()
    payload = models.TextField()
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now)
    leased_until = models.DateTimeField(null=True)
    give_up_at = models.DateTimeField()
    response_status = models.PositiveSmallIntegerField(null=True)
    response_text = models.CharField(max_length=1000, blank=True)
    duration_ms = models.PositiveIntegerField(null=True)
    error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager["Delivery"]] = DeliveryQuerySet.as_manager()

    if TYPE_CHECKING:
        subscription_id: UUID
        conversation_id: UUID

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["waiting", "delivered", "failed"]), name="delivery_status_in_words"
            ),
        ]
        # What is due says that it has a time, and the head of a line does not: so the planner takes neither index for
        # the other's question, however old its counts are.
        indexes = [
            models.Index(
                fields=["subscription", "sequence"],
                condition=Q(status="waiting", next_attempt_at__isnull=False),
                name="deliveries_due",
            ),
            models.Index(
                fields=["subscription", "conversation", "sequence"],
                condition=Q(status="waiting"),
                name="deliveries_in_line",
            ),
            models.Index(fields=["subscription"], condition=Q(leased_until__isnull=False), name="deliveries_under_way"),
            models.Index(fields=["subscription", "-created_at", "-id"], name="deliveries_latest_first"),
            models.Index(fields=["created_at"], name="deliveries_to_forget"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.id}"

    def log_fields(self) -> dict[str, UUID]:
        """Return what log lines about it carry."""
        ids = {"delivery_id": self.pk, "subscription_id": self.subscription_id}
        return {**ids, "conversation_id": self.conversation_id}

    @transaction.atomic
    def write_down(self, told: "Told") -> None:
        """Keep how this try went, and what that says about the subscriber.

        Nothing where either was deleted meanwhile, or somebody tried again since.
        """
        subscription = Subscription.objects.select_for_update().filter(pk=self.subscription_id).first()
        own = Delivery.objects.select_for_update().filter(
            pk=self.pk, attempts=self.attempts, leased_until=self.leased_until, status=self.Status.WAITING
        )
        if subscription is None or own.first() is None:
            return
        self.leased_until = None
        self.response_status, self.response_text = told.status, told.text[:1000]
        self.duration_ms, self.error = told.duration_ms, told.error[:200]
        if told.is_taken:
            self.status, self.next_attempt_at, self.delivered_at = self.Status.DELIVERED, None, timezone.now()
            subscription.forgive()
        else:
            self._try_again_later(subscription.gives_up_at(self.give_up_at), told.retry_after)
            note_failure(subscription, told)
        self.save(update_fields=WRITTEN_DOWN)
        subscription.save()

    def _try_again_later(self, give_up_at: datetime, retry_after: float | None) -> None:
        now = timezone.now()
        if now >= give_up_at:
            self.status, self.next_attempt_at = self.Status.FAILED, None
        else:
            self.next_attempt_at = now + backoff(self.attempts, retry_after)


def note_failure(subscription: Subscription, told: "Told") -> None:
    """Count a failed try against its subscriber, and disable one that failed for days or is gone for good."""
    now = timezone.now()
    subscription.failures += 1
    subscription.failing_since = subscription.failing_since or now
    if subscription.failures >= FAILURES_THAT_HOLD or told.retry_after:
        failures = max(subscription.failures - FAILURES_THAT_HOLD, 0)
        subscription.retry_at = now + backoff(failures + 1, told.retry_after)
    if told.status == GONE:
        subscription.disable("It answered 410 Gone.")
    elif now - subscription.failing_since > timedelta(seconds=settings.EVENT_DISABLE_AFTER_SECONDS):
        subscription.disable(f"Nothing was taken since {subscription.failing_since:%Y-%m-%d %H:%M} UTC: {told.error}")


def backoff(attempt: int, retry_after: float | None) -> timedelta:
    """Return the wait before the next try: doubling up to a ceiling, half of it by chance, never sooner than asked."""
    base, ceiling = settings.EVENT_RETRY_BASE_SECONDS, settings.EVENT_RETRY_CEILING_SECONDS
    longest = min(ceiling, base * 2 ** min(attempt - 1, MOST_DOUBLINGS))
    return timedelta(seconds=max(random.uniform(longest / 2, longest), min(retry_after or 0, ceiling)))
