"""The pool of connections: none that was ended meanwhile is used, and none is asked before it is."""

import os

import psycopg
import pytest
from django.db import connection

from messaging_project.local.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def number():
    """Which of the server's processes this thread speaks to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


@pytest.fixture
def operator():
    """Somebody who may end other people's connections."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as found:
        yield found


def ours(operator):
    """Which of them serve this database, and when each heard something last."""
    asked = "SELECT pid, state_change FROM pg_stat_activity WHERE datname = %s"
    return dict(operator.execute(asked, [connection.settings_dict["NAME"]]).fetchall())


def test_a_connection_that_the_server_ended_meanwhile_is_not_used(operator):
    """All are ended: the pool may have one that nobody asked for."""
    number()
    connection.close()
    ended = ours(operator)
    for pid in ended:
        operator.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert wait_until(lambda: not ours(operator).keys() & ended.keys(), seconds=5)
    assert number() not in ended


def test_a_connection_is_used_again_without_a_trip_to_the_server(operator):
    number()
    connection.close()
    before = ours(operator)
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    assert ours(operator)[pid] == before.get(pid)
