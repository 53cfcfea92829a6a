"""Taking the timelines over into a restored copy: what was told stays told, and what was not is told.

Events and snapshots carry the numbers of transactions of the database that they were written in. In another one those
lie far ahead, and would be reached, and told again, one after the other.
https://www.postgresql.org/docs/18/functions-info.html#FUNCTIONS-PG-SNAPSHOT
"""

from collections.abc import Iterator

from django.db import connection, transaction
from django.db.models import Model

from conversations.models import ConversationEvent, DatabaseIdentity, MessageEvent
from webhooks.models import OutboxPosition, Subscription
from webhooks.models.outbox import current_snapshot, oldest_unseen

EVENTS: tuple[type[Model], ...] = (MessageEvent, ConversationEvent)
EVENTS_AT_ONCE = 10_000
SEQUENCES_SKIPPED = 1_000_000_000
"""More than the original can have given out since the backup: who orders by `sequence` never sees one fall."""

# Read is what no subscription is old enough for, and what the position has passed, by the numbers of the original.
_IS_READ = """(transaction_number < %(since)s
    OR pg_visible_in_snapshot(transaction_number::text::xid8, %(told)s::pg_snapshot)
    OR id <= %(event_id)s AND pg_visible_in_snapshot(transaction_number::text::xid8, %(reading)s::pg_snapshot))"""
# A number that lies before any that a database gives.
LET_BE_READ = """
UPDATE {table} SET transaction_number = 0 WHERE id IN (
    SELECT id FROM {table} WHERE transaction_number >= %(next)s AND {is_read}
    ORDER BY transaction_number LIMIT %(limit)s)"""
LET_BE_NEW = """
UPDATE {table} SET transaction_number = pg_current_xact_id()::text::bigint
WHERE transaction_number > 0 AND NOT {is_read}"""
SKIP_SEQUENCES = "SELECT setval('webhooks_delivery_sequence', nextval('webhooks_delivery_sequence') + %s)"


def let_be_read() -> Iterator[int]:
    """Let what was read in the original be older than anything here, some thousands of events in each transaction;
    yield how many. Begun again it goes on from there.
    """
    position = position_of_original()
    position["next"] = int(current_snapshot().split(":")[1])
    position["limit"] = EVENTS_AT_ONCE
    for model in EVENTS:
        while count := change(model, LET_BE_READ, position):
            yield count


@transaction.atomic
def read_on_from_here() -> int:
    """Let what was not read in the original be new here, to those who had subscribed; return how many events.

    After `let_be_read`, once.
    """
    position = position_of_original()
    seen = current_snapshot()  # before this transaction has a number: so it does not show what this one writes
    new = sum(change(model, LET_BE_NEW, position) for model in EVENTS)
    OutboxPosition.objects.update_or_create(pk=1, defaults={"told": seen, "reading": seen, "event_id": 0})
    Subscription.objects.update(since=seen)
    DatabaseIdentity.objects.take_numbers()
    return new


def skip_sequences() -> None:
    """Let `sequence` go on beyond whatever the original has given out."""
    with connection.cursor() as cursor:
        cursor.execute(SKIP_SEQUENCES, [SEQUENCES_SKIPPED])


def position_of_original() -> dict[str, str | int]:
    """Return how far the timelines had been read, by the numbers of the original. Without subscriptions all of them."""
    position = OutboxPosition.objects.filter(pk=1).first() or OutboxPosition()
    oldest = [oldest_unseen(since) for since in Subscription.objects.values_list("since", flat=True)]
    since = min(oldest, default=2**63 - 1)
    return {"told": position.told, "reading": position.reading, "event_id": position.event_id, "since": since}


def change(model: type[Model], statement: str, parameters: dict[str, str | int]) -> int:
    """Run a statement on a table of events; return how many rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement.format(table=model._meta.db_table, is_read=_IS_READ), parameters)
        return int(cursor.rowcount)
