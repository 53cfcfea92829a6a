"""How far the timelines have been read."""

from itertools import groupby
from typing import ClassVar

from django.db import connection, models

from conversations.models import ConversationEvent, MessageEvent

Event = MessageEvent | ConversationEvent

FROM_THE_BEGINNING = "3:3:"
"""A snapshot that shows nothing: 3 is the first transaction that a database can have."""

# What the provider reports after we saw it ourselves, or the other way round, has happened once.
NEXT_EVENTS = """
WITH new AS NOT MATERIALIZED (
    SELECT id, 'message' AS kind, transaction_number FROM conversations_messageevent AS event
    WHERE NOT EXISTS (
        SELECT FROM conversations_messageevent AS earlier
        WHERE earlier.message_id = event.message_id AND earlier.id < event.id
          AND earlier.status = event.status AND earlier.attempt = event.attempt)
    UNION ALL
    SELECT id, 'conversation', transaction_number FROM conversations_conversationevent
)
SELECT kind, id FROM new
WHERE transaction_number >= pg_snapshot_xmin(%(told)s::pg_snapshot)::text::bigint AND id > %(after)s
  AND NOT pg_visible_in_snapshot(transaction_number::text::xid8, %(told)s::pg_snapshot)
  AND pg_visible_in_snapshot(transaction_number::text::xid8, %(reading)s::pg_snapshot)
ORDER BY id LIMIT %(limit)s"""


class OutboxPositionQuerySet(models.QuerySet["OutboxPosition"]):
    """Who reads on."""

    def take(self) -> "OutboxPosition | None":
        """Return the place up to which the timelines have been read, locked; None while somebody else reads on.

        Whoever had subscribed before one of the events was written, which it reads now, can be read after this.
        """
        self.bulk_create([OutboxPosition(pk=1)], ignore_conflicts=True)
        position = self.select_for_update(skip_locked=True).first()
        if position is not None and position.reading == position.told:
            position.reading, position.event_id = current_snapshot(), 0
        return position


class OutboxPosition(models.Model):
    """What of the timelines has been read: what the snapshot `told` shows, and of what `reading` shows the events up
    to the number `event_id`. There is one.

    Snapshots rather than a place in the row of numbers: whoever commits late has low numbers, and is not left out. What
    was committed before an event was written is in each snapshot that shows that event, and has a lower number: so
    neither within a snapshot nor from one to the next do two events change places.
    https://www.postgresql.org/docs/18/functions-info.html#FUNCTIONS-PG-SNAPSHOT
    """

    told = models.TextField(default=FROM_THE_BEGINNING)
    reading = models.TextField(default=FROM_THE_BEGINNING)
    event_id = models.BigIntegerField(default=0)

    objects: ClassVar[models.Manager["OutboxPosition"]] = OutboxPositionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.reading} up to {self.event_id}"

    def read_on(self, limit: int, *, since: int) -> list[Event]:
        """Return the next events with a number above `since`, in order, and move on; none are left when it is empty.

        `limit` are looked at; what was deleted meanwhile is left out.
        """
        wanted: dict[str, str | int] = {"told": self.told, "reading": self.reading, "limit": limit}
        wanted["after"] = max(self.event_id, since)
        with connection.cursor() as cursor:
            cursor.execute(NEXT_EVENTS, wanted)
            found: list[tuple[str, int]] = cursor.fetchall()
        if len(found) < limit:
            self.told = self.reading
        else:
            self.event_id = found[-1][1]
        self.save()
        return in_full(found)

    def skip_all(self) -> None:
        """Have read all that there was to read."""
        self.told = self.reading
        self.save()


def current_snapshot() -> str:
    """Return which transactions are over now, in PostgreSQL's own words."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        return str(cursor.fetchone()[0])


def in_full(found: list[tuple[str, int]]) -> list[Event]:
    """Return events with what they are about, by kind and number, in the order given; without those that are gone."""
    kinds = {
        "message": MessageEvent.objects.select_related("message__conversation"),
        "conversation": ConversationEvent.objects.select_related("conversation"),
    }
    rows: dict[int, Event] = {}
    for kind, names in groupby(sorted(found), key=lambda each: each[0]):
        rows |= kinds[kind].in_bulk([number for _, number in names])
    return [rows[number] for _, number in found if number in rows]
