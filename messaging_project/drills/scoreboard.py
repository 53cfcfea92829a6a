"""One line for each drill, on the terminal and in var/drill.json."""

import json
import sys
import threading
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
    """The table, a line for each drill that has ended; several may end at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: list[dict[str, Any]] = []
        self.reds = 0
        self._lock = threading.Lock()

    def head(self) -> None:
        """The names of the columns."""
        say(f"{'drill':<{NAME_WIDTH}}" + "".join(f"{name:>{width}}" for name, width in COLUMNS.items()))

    def add(self, verdict: Verdict) -> None:
        """The line of a drill, with what is wrong below it."""
        record = verdict.record()
        cells = "".join(f"{record[name]:>{width}}" for name, width in COLUMNS.items())
        lines = [f"{verdict.drill.name:<{NAME_WIDTH}}{cells}  {'RED' if verdict.faults else 'ok'}"]
        self._keep([*lines, *(f"    {fault}" for fault in verdict.faults)], record, is_red=bool(verdict.faults))

    def add_breakage(self, breakage: str, verdict: Verdict, *, caught: bool) -> None:
        """The line of a deliberate breakage: red when its drill stayed green."""
        came = f"{verdict.drill.name} {'caught it' if caught else 'DID NOT CATCH IT'}"
        line = f"{breakage:<{NAME_WIDTH}}  {came}: {'; '.join(verdict.faults)[:200]}"
        record = {"breakage": breakage, "drill": verdict.drill.name, "breakage_caught": caught}
        self._keep([line], record, is_red=not caught)

    def could_not_hold(self, name: str, reason: Exception) -> None:
        """A drill is red when its stack did not come up, or when it failed over something else than its subject."""
        with self._lock:
            say(f"{name:<{NAME_WIDTH}}  RED: {type(reason).__name__}: {reason}")
            self.reds += 1

    def _keep(self, lines: list[str], record: dict[str, Any], *, is_red: bool) -> None:
        with self._lock:
            say("\n".join(lines))
            self.reds += is_red
            self.records.append(record)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text("[\n" + ",\n".join(json.dumps(each) for each in self.records) + "\n]\n")


def say(text: str) -> None:
    """Write a line to the terminal at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
