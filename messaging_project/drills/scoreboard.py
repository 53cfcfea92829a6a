"""One line for each drill, on the terminal and in var/drill.json."""

import json
import sys
from pathlib import Path
from typing import Any

from messaging_project.drills.referee import Verdict

COLUMNS = {
    "seed": 11,
    "accepted": 9,
    "sent": 7,
    "lost": 5,
    "doubled": 8,
    "stuck": 6,
    "unresolved": 11,
    "failed": 7,
    "expired": 8,
    "slowest_accept_s": 17,
    "converged_s": 12,
}
NAME_WIDTH = 26


class Scoreboard:
    """The table. Each line begins when its drill does, and ends with what became of it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: list[dict[str, Any]] = []
        self.reds = 0

    def head(self) -> None:
        """The names of the columns."""
        say(f"{'drill':<{NAME_WIDTH}}" + "".join(f"{name:>{width}}" for name, width in COLUMNS.items()))

    def begin(self, name: str) -> None:
        """Say what runs now."""
        say(f"{name:<{NAME_WIDTH}}", end="")

    def add(self, verdict: Verdict) -> None:
        """The line of a drill, with what is wrong below it."""
        record = verdict.record()
        cells = "".join(f"{record[name]:>{width}}" for name, width in COLUMNS.items())
        say(f"{cells}  {'RED' if verdict.faults else 'ok'}")
        for fault in verdict.faults:
            say(f"    {fault}")
        self._keep(record, is_red=bool(verdict.faults))

    def add_breakage(self, breakage: str, verdict: Verdict, *, caught: bool) -> None:
        """The line of a deliberate breakage: red when its drill stayed green."""
        say(
            f"  {verdict.drill.name} {'caught it' if caught else 'DID NOT CATCH IT'}: {'; '.join(verdict.faults)[:200]}"
        )
        self._keep({"breakage": breakage, "drill": verdict.drill.name, "breakage_caught": caught}, is_red=not caught)

    def could_not_start(self, reason: Exception) -> None:
        """A drill whose stack did not come up is red."""
        say(f"  RED: {reason}")
        self.reds += 1

    def _keep(self, record: dict[str, Any], *, is_red: bool) -> None:
        self.reds += is_red
        self.records.append(record)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("[\n" + ",\n".join(json.dumps(each) for each in self.records) + "\n]\n")


def say(text: str, end: str = "\n") -> None:
    """Write to the terminal at once."""
    sys.stdout.write(text + end)
    sys.stdout.flush()
