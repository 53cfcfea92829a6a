"""Statements that PostgreSQL plans once for a connection: to plan our long ones anew costs more than to run them."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self, TypeVar

import psycopg
from django.db import connection, models
from django.db.backends.utils import CursorWrapper
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


def prepared(model: type[Row], sql: str, parameters: Mapping[str, Any]) -> list[Row]:
    """Return the objects that `model.objects.raw` would, from a prepared statement.

    For a row or two `raw` takes longer to find out what each column is than PostgreSQL for the whole statement; here
    that is known from the second time on.
    """
    with prepared_cursor() as cursor:
        cursor.execute(sql, parameters)
        columns = tuple(cursor.pgresult.fname(place) for place in range(cursor.pgresult.nfields))
        return list(map(reader_of(model, columns), cursor.fetchall()))


@lru_cache
def reader_of(model: type[Row], columns: tuple[bytes, ...]) -> Callable[[Sequence[Any]], Row]:
    """Return what makes an object of a row with these columns: of the model's fields those that are among them, and an
    attribute for any other column.
    """
    places = {name.decode(): place for place, name in enumerate(columns)}
    fields = [(places.pop(field.column), field) for field in model._meta.concrete_fields if field.column in places]
    names = frozenset(field.attname for _, field in fields)
    converted = [
        (place, convert, field.get_col(model._meta.db_table))
        for place, field in fields
        for convert in field.get_db_converters(connection)
    ]
    order, beside = [place for place, _ in fields], places.items()

    def read(row: Sequence[Any]) -> Row:
        values = list(row)
        for place, convert, column in converted:
            values[place] = convert(values[place], column, connection)
        found = model.from_db(connection.alias, names, [values[place] for place in order])
        for name, place in beside:
            setattr(found, name, values[place])
        return found

    return read
