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


def is_there(operator, pid):
    return operator.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() is not None


def test_a_connection_that_the_server_ended_meanwhile_is_not_used(operator):
    ended = number()
    connection.close()
    operator.execute("SELECT pg_terminate_backend(%s)", [ended])
    assert wait_until(lambda: not is_there(operator, ended), seconds=5)
    assert number() != ended


def test_a_connection_is_used_again_without_a_trip_to_the_server(operator):
    """The server knows when it last heard something on each."""
    name = connection.settings_dict["NAME"]
    asked = "SELECT pid, state_change FROM pg_stat_activity WHERE datname = %s"
    number()
    connection.close()
    before = operator.execute(asked, [name]).fetchall()
    connection.ensure_connection()
    assert connection.connection.info.backend_pid in dict(before)
    assert operator.execute(asked, [name]).fetchall() == before
