"""Statements that a connection keeps prepared: a migration in between harms nobody, and a kept plan is a good one."""

from functools import partial

import pytest
from django.db import NotSupportedError, connection, transaction

from conversations.models import Conversation, Message
from conversations.models.outcome import Outcome
from conversations.models.prepared import prepared, prepared_cursor
from conversations.models.status import Status
from conversations.tests.conftest import another_connection, claim
from conversations.tests.test_claim import many


def numbers(cursor, table):
    cursor.execute(f"SELECT * FROM {table}")
    return cursor.fetchall()


@pytest.fixture
def changing():
    """A table that somebody else's migration changes while this connection has a statement on it prepared."""
    with another_connection() as operator:
        operator.execute("CREATE TABLE changing (number integer)")
        operator.execute("INSERT INTO changing VALUES (1)")
        yield operator
        operator.execute("DROP TABLE changing")


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_a_migration_made_stale_answers_all_the_same(changing):
    with prepared_cursor() as cursor:
        assert numbers(cursor, "changing") == [(1,)]
        changing.execute("ALTER TABLE changing ADD COLUMN more integer DEFAULT 2")
        assert [numbers(cursor, "changing") for _ in range(2)] == [[(1, 2)]] * 2


@pytest.mark.django_db(transaction=True)
def test_where_that_breaks_a_transaction_the_next_one_is_whole(changing):
    with prepared_cursor() as cursor:
        numbers(cursor, "changing")
    changing.execute("ALTER TABLE changing ADD COLUMN more integer DEFAULT 2")
    with pytest.raises(NotSupportedError), transaction.atomic(), prepared_cursor() as cursor:
        numbers(cursor, "changing")
    with transaction.atomic(), prepared_cursor() as cursor:
        assert numbers(cursor, "changing") == [(1, 2)]


@pytest.mark.django_db
@pytest.mark.parametrize("columns", ["*", "*, 1 AS beside", "status, id, created_at, attachments, NULL AS beside"])
def test_a_row_becomes_the_object_that_raw_would_make_of_it(accept, columns):
    accept(type="mms", attachments=["https://example.com/1.png"], metadata={"order": 1})
    statement = f"SELECT {columns} FROM conversations_message WHERE status = %(status)s"
    [ours], [raws] = (
        list(make(statement, {"status": "pending"})) for make in (partial(prepared, Message), Message.objects.raw)
    )
    assert {**vars(ours), "_state": vars(ours._state)} == {**vars(raws), "_state": vars(raws._state)}


def rows_read(statement):
    """How many rows of messages and timelines a statement reads by the plan that a connection keeps in the end."""
    read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables WHERE relname = ANY(%s)"
    tables = ["conversations_message", "conversations_messageevent"]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(read, [tables])
        before = cursor.fetchone()[0]
        statement()
        cursor.execute(read, [tables])
        return cursor.fetchone()[0] - before


@pytest.mark.django_db
@pytest.mark.parametrize("counted", ["never", "when there was one", "when there was none left"])
def test_claims_and_outcomes_read_no_more_of_a_large_batch_than_they_are_about(accept, counted):
    message, count = accept(), 2_000
    if counted == "when there was none left":
        Message.objects.all().delete()
    if counted != "never":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE conversations_message, conversations_messageevent")
    many(message, count)
    claimed = []
    assert rows_read(lambda: claimed.extend(claim(limit=32))) < 5 * count
    outcomes = [
        Outcome(message_id=each.pk, attempt=each.attempts, status=Status.PENDING, error_code="429", retry_in=1)
        for each in claimed
    ]
    # At worst, where the planner saw an empty table, each outcome looks at half of the others.
    assert rows_read(lambda: Message.objects.record_outcomes(outcomes)) < 32 * len(claimed) < count
    assert Conversation.objects.count() == count + 1
