"""What the logs of a stack say of trouble."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\d )", re.MULTILINE)
TROUBLE = re.compile(r"^\S+ \S+ (ERROR|CRITICAL) |^Traceback \(", re.MULTILINE)
LONGEST, MOST_NAMED = 300, 10
# What tells apart two records of the same trouble.
OF_ONE_RECORD = re.compile(r"^[\d-]+ [\d:,]+\S* |request_id=\S+|attempt=\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def lengths(directory: Path) -> dict[Path, int]:
    """How long each log is now: what comes after that is news."""
    return {log: log.stat().st_size for log in directory.glob("*.log")}


def surprises(directory: Path, read_already: Mapping[Path, int], expected: Sequence[str]) -> list[str]:
    """Errors and tracebacks since then that none of the expected patterns fits, each once, in one line."""
    found: dict[str, None] = {}
    for log in sorted(directory.glob("*.log")):
        with log.open(errors="replace") as lines:
            lines.seek(read_already.get(log, 0))
            text = lines.read()
        for record in RECORD.split(text):
            if TROUBLE.search(record) and not any(re.search(pattern, record) for pattern in expected):
                found[f"{log.stem}: {in_one_line(record)}"] = None
    return list(found)[:MOST_NAMED]


def in_one_line(record: str) -> str:
    """The first line of a log record, and the exception below it."""
    first, *rest = record.strip().splitlines()
    exceptions = [line for line in rest if re.match(r"[\w.]+(: |$)", line)]
    return " … ".join([OF_ONE_RECORD.sub("", first)[:LONGEST], *exceptions[-1:]])[: 2 * LONGEST]
