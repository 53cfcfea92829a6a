"""Does it slow down as it grows? The same with empty tables and with two million messages, and pages at any depth."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from messaging_project.benchmarks.accept import accept
from messaging_project.benchmarks.callbacks_single import take_statuses
from messaging_project.benchmarks.drain_sms import drain_sms
from messaging_project.benchmarks.field import Field, one
from messaging_project.benchmarks.posting import Connection
from messaging_project.benchmarks.processes import frozen
from messaging_project.benchmarks.question import Goal, Question, Row, Run
from messaging_project.benchmarks.staff_pages import REQUESTS, WARM_UP, Desk, percentile
from messaging_project.benchmarks.table import begin
from messaging_project.benchmarks.world import COMMON_WORD, RARE_WORD, Size, load
from messaging_project.local.processes import wait_until

CONVERSATIONS = "/api/v1/conversations/"
HOT = "SELECT id FROM conversations_conversation ORDER BY message_count DESC LIMIT 1"
COUNT = "SELECT count(*) FROM conversations_conversation"
IS_QUIET = """
SELECT NOT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND state <> 'idle'
      AND pid <> pg_backend_pid())"""
QUIET_SECONDS = 10
PAGE = 50
# A search of a common word takes seconds.
FEW = 20
RARE = (RARE_WORD, "+15551000123")


def cost(field: Field, number: int) -> Run:
    """Return how many milliseconds an acceptance, a message drained and a callback take, many at a time."""
    runs = {
        "accept": accept(field, number),
        "claim and send": drain_sms(field, number),
        "callback": take_statuses(field, number),
    }
    each = runs.values()
    return Run(
        figures={name: 1000 / run.figures["rate"] for name, run in runs.items()},
        errors=sum(run.errors for run in each),
        unsent=sum(run.unsent for run in each),
        doubled=sum(run.doubled for run in each),
    )


def grown_cost(field: Field, number: int) -> Run:
    """Do the same in a large world, and look at its pages."""
    size = Size(200_000 * number // FULL, 2_000_000 * number // FULL, 10_000 * number // FULL)
    field.clear()
    with field.database() as connection, frozen(field.stack.pids("beat")):
        # A sweep that is half done would deadlock with what takes the indexes away.
        wait_until(lambda: one(connection, IS_QUIET), seconds=QUIET_SECONDS)
        load(connection, size, begin)
        connection.execute("CHECKPOINT")
    field.is_grown = True
    try:
        run = cost(field, number)
        return replace(run, figures={**run.figures, **pages(field)})
    finally:
        field.is_grown = False


def pages(field: Field) -> dict[str, float]:
    """Return how long lists, threads, searches and the admin's list take, in milliseconds."""
    with field.database() as connection:
        hot, conversations = one(connection, HOT), one(connection, COUNT)
    thread = f"{CONVERSATIONS}{hot}/messages"
    rare = times(field, [(f"{CONVERSATIONS}search", {"query": each}) for each in RARE])
    common = times(field, [(f"{CONVERSATIONS}search", {"query": COMMON_WORD})], FEW)
    desk = Desk(field.stack.url, field.stack.env["ADMIN_PASSWORD"])
    with begin("growth: the admin's list", REQUESTS + WARM_UP) as step:
        admin = desk.measure("", [desk.list], step).page
    return {
        **first_and_deep(field, "inbox", CONVERSATIONS, conversations * 3 // 4),
        **first_and_deep(field, "thread", thread, int(conversations * 0.05 * 3 / 4)),
        "search": percentile([*rare, *common], 95),
        "search of what is rare": percentile(rare, 95),
        "admin": percentile(admin, 95),
    }


def first_and_deep(field: Field, name: str, path: str, depth: int) -> dict[str, float]:
    """Return the median of a list's first page and of the page at a depth, by the cursor that leads there."""
    before = answer_of(field, f"{path}?limit=1&offset={depth}")
    paths = {"first page": f"{path}?limit={PAGE}", "deep page": f"{path}?limit={PAGE}&cursor={quote(before['next'])}"}
    return {f"{name}, {which}": percentile(times(field, [(each, None)]), 50) for which, each in paths.items()}


def answer_of(field: Field, path: str) -> Any:
    """Return what a path answers."""
    with Connection(field.stack.url) as connection:
        return connection.ask(asking(field, path, None)).json


def times(field: Field, questions: Sequence[tuple[str, Any]], rounds: int = REQUESTS) -> list[float]:
    """Ask them in turn, over one connection, so many times; return how many milliseconds each answer took."""
    requests = [asking(field, path, body) for path, body in questions]
    with Connection(field.stack.url) as connection:
        answers = [connection.ask(each) for _ in range(WARM_UP + rounds) for each in requests]
    assert all(answer.is_good for answer in answers)
    return [answer.seconds * 1000 for answer in answers[WARM_UP * len(requests) :]]


def asking(field: Field, path: str, body: Any) -> bytes:
    """Return the bytes of a request: a GET without a body."""
    return field.request(path, body, method="POST" if body else "GET")


FULL = 2_000
SAME = Goal(most_ratio=1.3)
AS_DEEP = Goal(most_ratio=1.5)
QUESTION = Question(
    name="growth",
    sides={"empty": cost, "grown": grown_cost},
    sizes={"empty": FULL, "grown": FULL},
    rows=[
        *(
            Row(name=f"growth, {name}", unit="ms", figure=name, side="grown", yardstick="empty", goal=SAME)
            for name in ("accept", "claim and send", "callback")
        ),
        *(
            Row(
                name=f"growth, {name} page",
                unit="ms",
                figure=f"{name}, deep page",
                side="grown",
                yardstick="grown",
                yardstick_figure=f"{name}, first page",
                goal=AS_DEEP,
            )
            for name in ("inbox", "thread")
        ),
        Row(name="growth, search p95", unit="ms", figure="search", side="grown", goal=Goal(most=100)),
        Row(name="growth, search of what is rare p95", unit="ms", figure="search of what is rare", side="grown"),
        Row(name="growth, admin list p95", unit="ms", figure="admin", side="grown", goal=Goal(most=200)),
    ],
    rounds=1,
    is_short=False,
)
