"""Holds a drill: lets it run, waits until everything has come to its end, reads the books, and judges."""

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from messaging_project.drills import logs
from messaging_project.drills.books import Comparison, Row, compare
from messaging_project.drills.ground import Drill, Ground
from messaging_project.drills.ledgers import entries
from messaging_project.drills.stack import DrillStack
from messaging_project.local import LocalError

ROWS = """
SELECT m.id::text, m.type, m.status, m.error_code, m.body, m.provider, (
    SELECT count(*) FROM conversations_messageevent e WHERE e.message_id = m.id AND e.status = 'delivered')
FROM conversations_message m WHERE m.direction = 'outbound' AND m.created_at >= %s ORDER BY m.created_at"""
STATUSES = """
SELECT DISTINCT status, provider FROM conversations_message WHERE direction = 'outbound' AND created_at >= %s"""
EVENTS = """
SELECT at, status, evidence, attempt, code, detail FROM conversations_messageevent
WHERE message_id = %s ORDER BY id"""
LOOK_EVERY_SECONDS = 0.5
# What is final does not move any more; a double would still come.
AFTERMATH_SECONDS = 2.0
NAMED = 3
LEAST_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a drill brought to light. It is green when there are no `faults`, each a sentence."""

    drill: Drill
    seed: int
    books: Comparison
    slowest_accept: float
    converged: float
    faults: list[str]

    def record(self) -> dict[str, Any]:
        """Its line in var/drill.json; times in seconds."""
        return {
            "drill": self.drill.name,
            "seed": self.seed,
            "accepted": self.books.accepted,
            "sent": self.books.sent,
            "lost": self.books.count("lost"),
            "doubled": self.books.count("doubled"),
            "stuck": self.books.count("stuck"),
            "unresolved": self.books.unresolved,
            "failed": self.books.failed,
            "expired": self.books.expired,
            "slowest_accept_s": round(self.slowest_accept, 2),
            "converged_s": round(self.converged, 1),
        }


def hold(drill: Drill, stack: DrillStack, seed: int, evidence: Path) -> Verdict:
    """Hold one drill. When it is red, the events of what went wrong and the logs are left in `evidence`."""
    shutil.rmtree(evidence, ignore_errors=True)
    ground = Ground(stack, seed, run=drill.name)
    read_already = logs.lengths(stack.logs)
    began = stack.rows("SELECT clock_timestamp()")[0][0]
    failure = run(drill, ground)
    converged = await_ends(stack, began, ground, drill.within)
    time.sleep(AFTERMATH_SECONDS)
    written = rows(stack, began)
    books = compare(ground.client.accepted, written, entries(stack.carriers, began), ground.allowance)
    faults = [
        *failure,
        *ground.missed,
        *([f"{count} messages are too few to mean anything"] if (count := len(written)) < LEAST_MESSAGES else []),
        *(f"{name} {len(ids)}: {', '.join(ids[:NAMED])}" for name, ids in books.problems.items()),
        *unexplained_answers(drill, ground),
        *(f"in the logs: {line}" for line in logs.surprises(stack.logs, read_already, drill.expects)),
    ]
    ground.tidy()
    if faults:
        keep_evidence(evidence, stack, books, faults)
    slowest = max((post.seconds for post in ground.client.posts if post.accepted), default=0.0)
    return Verdict(drill, seed, books, slowest, converged, faults)


def run(drill: Drill, ground: Ground) -> list[str]:
    """Run it; say what kept it from coming to its end."""
    try:
        drill.run(ground)
    except (LocalError, OSError, psycopg.Error, AssertionError) as error:
        return [f"the drill broke off: {type(error).__name__}: {error}"]
    return []


def await_ends(stack: DrillStack, began: datetime, ground: Ground, within: float) -> float:
    """Wait until every message has come to its end; how long after the last fault that was, or we gave up."""
    while True:
        past = time.monotonic() - ground.over_at
        with suppress(psycopg.OperationalError):
            if all(ground.allowance.is_final(*each) for each in stack.rows(STATUSES, began)):
                return max(past, 0.0)
        if past > within:
            return past
        time.sleep(LOOK_EVERY_SECONDS)


def rows(stack: DrillStack, began: datetime) -> list[Row]:
    """The database's book since the drill began."""
    return [
        Row(id=each, type=kind, status=status, error_code=code, wish=body, account=account, deliveries=count)
        for each, kind, status, code, body, account, count in stack.rows(ROWS, began)
    ]


def unexplained_answers(drill: Drill, ground: Ground) -> Iterable[str]:
    """Posts that failed and should not have, by what came instead of 2xx."""
    counts: dict[str, int] = {}
    for post in ground.client.posts:
        if not post.accepted and not ground.explains(post, drill.answers):
            name = f"{post.status or 'no answer'} {post.trouble}".strip()
            counts[name] = counts.get(name, 0) + 1
    return (f"unexplained answers {count}: {name}" for name, count in counts.items())


def keep_evidence(place: Path, stack: DrillStack, books: Comparison, faults: list[str]) -> None:
    """Leave what went wrong, the events of the messages named there, and all logs."""
    place.mkdir(parents=True)
    lines = [*faults]
    with suppress(psycopg.OperationalError):
        for problem, ids in books.problems.items():
            for each in ids[:NAMED]:
                lines += [
                    "",
                    f"{problem}: {each}",
                    *(" | ".join(map(str, event)) for event in stack.rows(EVENTS, each)),
                ]
    (place / "faults.txt").write_text("\n".join([*lines, ""]))
    for log in stack.logs.glob("*.log"):
        shutil.copy(log, place)
