"""The large world of the benchmarks, at a small size."""

import psycopg
import pytest
from django.db import connection
from django.db.models import Count, Max, Q

from conversations.models import Conversation, Message
from messaging_project.benchmarks.world import COMMON_WORD, RARE_WORD, Size, load
from messaging_project.progress import Progress


def indexes_and_constraints():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indisvalid UNION SELECT conname FROM pg_constraint"
        )
        return {row[0] for row in cursor.fetchall()}


def quiet(step, total):
    return Progress(lambda text: None, step, total, moves=False)


@pytest.mark.django_db(transaction=True)
def test_it_has_the_size_asked_for_and_its_counts_agree():
    before = indexes_and_constraints()
    with psycopg.connect(**connection.get_connection_params() | {"autocommit": True}) as own:
        load(own, Size(conversations=60, messages=1_000, hot=200), quiet)
    assert (Conversation.objects.count(), Message.objects.count()) == (60, 1_000)
    inbound = Count("messages", filter=Q(messages__direction="inbound"))
    for each in Conversation.objects.annotate(n=Count("messages"), newest=Max("messages__created_at"), inbound=inbound):
        assert (each.message_count, each.last_message_at) == (each.n, each.newest)
        assert each.unread_count <= each.inbound
    assert Conversation.objects.aggregate(most=Max("message_count"))["most"] > 200
    assert Conversation.objects.containing(RARE_WORD).count() == 3
    assert Conversation.objects.containing(COMMON_WORD).count() > 20
    assert indexes_and_constraints() == before
