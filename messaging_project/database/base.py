"""PostgreSQL, with pooled connections that are looked at instead of asked."""

import select
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection


class DatabaseWrapper(base.DatabaseWrapper):
    """Uses no connection of the pool that was ended meanwhile, as a restarted server leaves them.

    Django's own way (CONN_HEALTH_CHECKS) asks each for an answer: one trip to the database more for every request and
    every task. What the kernel has heard says the same of a server that ended, which says goodbye. One that went
    without a word (a machine that lost its power) is found by TCP's keepalives after a minute; until then a statement
    can fail where the question would have.
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection that nobody else has. Raises `OperationalError` where there is none."""
        connection = super().get_new_connection(conn_params)
        while self.pool and was_spoken_to(connection):
            connection.close()
            self.pool.putconn(connection)
            connection = super().get_new_connection(conn_params)
        return connection


def was_spoken_to(connection: "Connection[Any]") -> bool:
    """Say whether an idle connection has heard what nobody asked for: almost always that this was its end."""
    if connection.closed:
        return True
    heard = select.poll()
    heard.register(connection.fileno(), select.POLLIN)
    return bool(heard.poll(0))
