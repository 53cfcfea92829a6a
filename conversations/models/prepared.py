"""Statements that PostgreSQL plans once for a connection: to plan our long ones anew costs more than to run them."""

from collections.abc import Mapping
from typing import Any, Self, TypeVar

import psycopg
from django.db import connection, models
from django.db.backends.utils import CursorWrapper
from django.db.models.query import RawQuerySet
from django.db.models.sql.query import RawQuery
from psycopg.errors import FeatureNotSupported
from psycopg.pq import TransactionStatus
from psycopg.types.datetime import TimestamptzLoader

Row = TypeVar("Row", bound=models.Model)


class PreparedCursor(psycopg.Cursor[Any]):
    """Binds parameters on the server's side, and has it keep the plan.

    PostgreSQL refuses a kept plan where a migration has changed what the statement returns ("cached plan must not
    change result type", SQLSTATE 0A000): then the statement goes as it is, for as long as the connection lives. Inside
    a transaction, which is broken by that, the connection is given up with it.

    Times are read by psycopg, which knows that Django's connections are in UTC: Django's own way reads each in Python.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.adapters.register_loader("timestamptz", TimestamptzLoader)

    def execute(self, query: Any, params: Any = None, **more: Any) -> Self:
        """See `psycopg.Cursor.execute`."""
        try:
            return super().execute(query, params, prepare=True)
        except FeatureNotSupported:
            if self.connection.info.transaction_status is not TransactionStatus.IDLE:
                self.connection.close()
                raise
            return super().execute(query, params, prepare=False)


def prepared_cursor() -> CursorWrapper:
    """Return a cursor of Django's connection whose statements are prepared."""
    connection.ensure_connection()
    cursor: Any = PreparedCursor(connection.connection)
    return connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)


class PreparedQuery(RawQuery):
    """A raw query over such a cursor."""

    def _execute_query(self) -> None:
        self.cursor = prepared_cursor()
        self.cursor.execute(self.sql, self.params)


def prepared(model: type[Row], sql: str, parameters: Mapping[str, Any]) -> list[Row]:
    """Return the objects that `model.objects.raw` would, from a prepared statement."""
    query: Any = PreparedQuery(sql, connection.alias, parameters)
    return list(RawQuerySet(sql, model=model, query=query, using=connection.alias))
