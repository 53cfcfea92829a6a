"""What the database alone would take: rows like our messages, by INSERT one by one and by COPY."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import sql

from messaging_project.benchmarks.field import BATCH, Field
from messaging_project.benchmarks.posting import CONNECTIONS
from messaging_project.benchmarks.question import Run

# With the indexes of ours, and the rows that were accepted last.
MAKE = "CREATE TABLE IF NOT EXISTS yardstick_message (LIKE conversations_message INCLUDING ALL)"
COPY_OUT = "COPY (SELECT * FROM conversations_message LIMIT {}) TO STDOUT"
COPY_IN = "COPY yardstick_message FROM STDIN"

Load = Callable[["psycopg.Connection[tuple[object, ...]]", int], None]


def insert(field: Field, number: int) -> Run:
    """Insert as many rows one by one, each committed, over as many connections as the client has."""
    rows = read_rows(field, number)
    names, values = columns(field)

    def load(connection: "psycopg.Connection[tuple[object, ...]]", ticket: int) -> None:
        connection.execute(names, values(rows[ticket]))

    return run(field, CONNECTIONS, len(rows), len(rows), load)


def copy(field: Field, number: int) -> Run:
    """Copy as many rows a thousand at a time, each thousand committed, over as many connections as the batches come."""
    rows = read_rows(field, number)
    chunks = [b"".join(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]

    def load(connection: "psycopg.Connection[tuple[object, ...]]", ticket: int) -> None:
        with connection.cursor().copy(COPY_IN) as target:
            target.write(chunks[ticket])

    return run(field, 2, len(chunks), len(rows), load)


def read_rows(field: Field, number: int) -> Sequence[bytes]:
    """Return rows of ours as COPY writes them."""
    with field.database() as connection:
        connection.execute(MAKE)
        connection.execute("TRUNCATE yardstick_message")
        with connection.cursor().copy(sql.SQL(COPY_OUT).format(number)) as source:
            return b"".join(bytes(piece) for piece in source).splitlines(keepends=True)


def columns(field: Field) -> tuple[sql.Composed, Callable[[bytes], list[str | None]]]:
    """Return the INSERT of a row, and what makes its values of a line of COPY's."""
    with field.database() as connection:
        described = connection.execute("SELECT * FROM yardstick_message LIMIT 0").description or []
    names = [column.name for column in described]
    statement = sql.SQL("INSERT INTO yardstick_message ({}) VALUES ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join(sql.Placeholder() * len(names))
    )

    def values(line: bytes) -> list[str | None]:
        return [None if cell == "\\N" else cell for cell in line.decode().rstrip("\n").split("\t")]

    return statement, values


def run(field: Field, connections: int, tickets: int, rows: int, load: Load) -> Run:
    """Load all of it over so many connections; return the rows a second."""
    open_ = [field.database() for _ in range(connections)]
    waiting = iter(range(tickets))

    def work(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        for ticket in waiting:
            load(connection, ticket)

    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(work, open_))
    seconds = time.perf_counter() - began
    for connection in open_:
        connection.close()
    return Run(figures={"rate": rows / seconds})
