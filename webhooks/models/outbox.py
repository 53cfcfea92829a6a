"""How far the timelines have been read."""

from typing import Any, ClassVar

from django.db import connection, models
from django.db.models import Q

from conversations.models import ConversationEvent, MessageEvent


class OutboxPositionQuerySet(models.QuerySet["OutboxPosition"]):
    """Who reads on."""

    def take(self, kind: type[MessageEvent] | type[ConversationEvent]) -> "OutboxPosition | None":
        """Return the place up to which events of a kind have been read, locked; None while somebody else reads on."""
        name = str(kind._meta.model_name)
        self.bulk_create([OutboxPosition(kind=name)], ignore_conflicts=True)
        return self.select_for_update(skip_locked=True).filter(kind=name).first()


class OutboxPosition(models.Model):
    """The last event of a kind that has been read: its transaction, and its id within that."""

    kind = models.CharField(max_length=20, primary_key=True)
    transaction_number = models.BigIntegerField(default=0)
    event_id = models.BigIntegerField(default=0)

    objects: ClassVar[models.Manager["OutboxPosition"]] = OutboxPositionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.kind}: {self.transaction_number}.{self.event_id}"

    def skip_to(self, transaction_number: int) -> None:
        """Leave out what came before a transaction, for which there was nobody to be told."""
        if self.transaction_number < transaction_number:
            self.transaction_number, self.event_id = transaction_number, 0

    def next_events(self, limit: int) -> list[Any]:
        """Return the next events, of transactions older than any that is still under way.

        An event that is committed later is of a younger one: nobody can write behind this.
        """
        events = (
            MessageEvent.objects.select_related("message__conversation")
            if self.kind == MessageEvent._meta.model_name
            else ConversationEvent.objects.select_related("conversation")
        )
        further = Q(transaction_number__gt=self.transaction_number) | Q(id__gt=self.event_id)
        later = events.filter(further, transaction_number__gte=self.transaction_number)
        settled = later.filter(transaction_number__lt=oldest_under_way())
        return list(settled.order_by("transaction_number", "id")[:limit])

    def move_to(self, event: MessageEvent | ConversationEvent) -> None:
        """Have read up to and with an event."""
        self.transaction_number, self.event_id = event.transaction_number, event.pk
        self.save()


def oldest_under_way() -> int:
    """Return the number of the oldest transaction that may still write."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        return int(cursor.fetchone()[0])
