"""How far the timelines have been read."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from django.db import connection, models

from conversations.models import ConversationEvent, MessageEvent

Event = MessageEvent | ConversationEvent

FROM_THE_BEGINNING = "3:3:"
"""A snapshot that shows nothing: 3 is the first transaction that a database can have."""

# That the provider took a message it mostly reports after we saw it ourselves: that has happened once.
NEXT_EVENTS = """
WITH new AS NOT MATERIALIZED (
    SELECT id, 'message' AS kind, transaction_number FROM conversations_messageevent AS event
    WHERE NOT (status = 'sent' AND evidence = 'reported' AND code <> 'set_by_hand' AND EXISTS (
        SELECT FROM conversations_messageevent AS seen
        WHERE seen.message_id = event.message_id AND seen.id < event.id AND seen.attempt = event.attempt
          AND seen.status = 'sent' AND seen.evidence = 'observed'))
    UNION ALL
    SELECT id, 'conversation', transaction_number FROM conversations_conversationevent
)
SELECT kind, id FROM new
WHERE transaction_number >= GREATEST(pg_snapshot_xmin(%(told)s::pg_snapshot)::text::bigint, %(since)s)
  AND id > %(after)s
  AND NOT pg_visible_in_snapshot(transaction_number::text::xid8, %(told)s::pg_snapshot)
  AND pg_visible_in_snapshot(transaction_number::text::xid8, %(reading)s::pg_snapshot)
ORDER BY id LIMIT %(limit)s"""
IN_FULL_AT_ONCE = 50


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

    def read_on(self, limit: int, *, since: int) -> tuple[int, Iterator[Event]]:
        """Move on, and return how many events come next, and these in order; none are left when there are none.

        `limit` are looked at, of transactions from the number `since` on; what was deleted meanwhile is left out.
        """
        wanted: dict[str, str | int] = {"told": self.told, "reading": self.reading, "limit": limit}
        wanted |= {"after": self.event_id, "since": since}
        with connection.cursor() as cursor:
            cursor.execute(NEXT_EVENTS, wanted)
            found: list[tuple[str, int]] = cursor.fetchall()
        if len(found) < limit:
            self.told = self.reading
        else:
            self.event_id = found[-1][1]
        self.save()
        return len(found), in_full(found)

    def skip_all(self) -> None:
        """Have read all that there was to read."""
        self.told = self.reading
        self.save()


def current_snapshot() -> str:
    """Return which transactions are over now, in PostgreSQL's own words."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        return str(cursor.fetchone()[0])


def oldest_unseen(snapshot: str) -> int:
    """Return the number of the oldest transaction that a snapshot may not show."""
    return int(snapshot.split(":")[0])


def shows(snapshot: str, transaction_number: int) -> bool:
    """Say whether a snapshot, as `oldest:next:under way,…`, shows what a transaction wrote."""
    oldest, following, under_way = snapshot.split(":")
    if int(oldest) <= transaction_number < int(following):
        return str(transaction_number) not in under_way.split(",")
    return transaction_number < int(oldest)


def in_full(found: Sequence[tuple[str, int]]) -> Iterator[Event]:
    """Yield events with what they are about, by kind and number, in the order given; without those that are gone.

    Some at a time: each can be a long mail.
    """
    kinds = {
        "message": MessageEvent.objects.select_related("message__conversation"),
        "conversation": ConversationEvent.objects.select_related("conversation"),
    }
    for begin in range(0, len(found), IN_FULL_AT_ONCE):
        part, rows = found[begin : begin + IN_FULL_AT_ONCE], dict[int, Event]()
        for kind, events in kinds.items():
            rows |= events.in_bulk([number for of_kind, number in part if of_kind == kind])
        yield from (rows[number] for _, number in part if number in rows)
