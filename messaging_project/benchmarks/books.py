"""What was accepted, against what the providers have: nothing may be missing, and nothing may be there twice."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Ledger:
    """A provider's book, read on from where it was read last."""

    file: Path
    place: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)

    def turn_over(self) -> None:
        """Forget what is there by now."""
        self.place, self.lines = self.file.stat().st_size if self.file.exists() else 0, []

    def read_on(self) -> list[dict[str, Any]]:
        """Return all requests that were accepted since then."""
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self.place)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self.place += len(line)
                    entry = json.loads(line)
                    if "details" in entry:
                        self.lines.append(entry)
        return self.lines


def unsent_and_doubled(accepted: Iterable[str], offered: Sequence[str]) -> tuple[int, int]:
    """Return how many of the accepted messages were never offered to a provider, and how many offers were too many.

    What was offered without having been accepted is too many as well.
    """
    counts, known = Counter(offered), set(accepted)
    unsent = sum(not counts[each] for each in known)
    return unsent, sum(count - (each in known) for each, count in counts.items())


def latencies(posted: Iterable[tuple[str, float]], lines: Iterable[dict[str, Any]]) -> list[float]:
    """Return for each recipient that a provider has a message for how many seconds that took from the post."""
    arrived = {line["recipient"]: datetime.fromisoformat(line["at"]).timestamp() for line in lines}
    return [arrived[recipient] - at for recipient, at in posted if recipient in arrived]
