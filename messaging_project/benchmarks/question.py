"""What is measured, against what, and what would do: the arithmetic of a row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from messaging_project.benchmarks.field import Field

ROUNDS = 3
SHORT = 5
"""In a short run each size is divided by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of one side came to: its figures by name, and what went wrong in it.

    `errors` are requests without a 2xx; `unsent` and `doubled` are messages that were accepted and that the provider
    has not, or has more than once.
    """

    figures: Mapping[str, float]
    errors: int = 0
    unsent: int = 0
    doubled: int = 0


Side = Callable[[Field, int], Run]
"""Does so many things and measures them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What would do, of the value itself and of its ratio to the yardstick."""

    least: float | None = None
    most: float | None = None
    least_ratio: float | None = None
    most_ratio: float | None = None

    def met_by(self, value: float, ratio: float | None) -> bool:
        """Whether all of it is met. Without a yardstick's value no ratio is."""
        return all(
            found is not None and (found >= bound if at_least else found <= bound)
            for bound, found, at_least in (
                (self.least, value, True),
                (self.most, value, False),
                (self.least_ratio, ratio, True),
                (self.most_ratio, ratio, False),
            )
            if bound is not None
        )

    def in_words(self, unit: str) -> str:
        """As the table and the file have it."""
        parts = (
            ("≥", self.least, unit),
            ("≤", self.most, unit),
            ("≥", self.least_ratio, "×"),
            ("≤", self.most_ratio, "×"),
        )
        return " and ".join(f"{sign} {bound:,g} {what}" for sign, bound, what in parts if bound is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the answer: a figure of a side, and what it is measured by.

    That is the same figure of the side `yardstick`, or another one, which is then the yardstick's name.
    """

    name: str
    unit: str
    figure: str
    side: str = "ours"
    yardstick: str = ""
    yardstick_figure: str = ""
    goal: Goal | None = None

    @property
    def against(self) -> str:
        """The yardstick's name, "" without one."""
        return self.yardstick_figure or self.yardstick


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something to be measured. `sides` take turns, in this order; `sizes` is how much each of them does."""

    name: str
    sides: Mapping[str, Side]
    sizes: Mapping[str, int]
    rows: Sequence[Row]
    rounds: int = ROUNDS
    is_short: bool = True

    def size_of(self, side: str, divisor: int) -> int:
        """How much a side does in a run that is so many times shorter."""
        return max(self.sizes[side] // divisor, 1)


@dataclass(slots=True)
class Finding:
    """A row with what its runs came to."""

    row: Row
    runs: Sequence[Run] = field(default_factory=list)
    yardstick_runs: Sequence[Run] = field(default_factory=list)

    @classmethod
    def of(cls, row: Row, runs: Mapping[str, Sequence[Run]]) -> "Finding":
        """Take from all runs of a question, by side, those that the row speaks of."""
        return cls(row, runs[row.side], runs[row.yardstick] if row.yardstick else [])

    @property
    def values(self) -> list[float]:
        """The figure in each run."""
        return [run.figures[self.row.figure] for run in self.runs]

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def yardstick_value(self) -> float | None:
        """The yardstick's median, None without one."""
        name = self.row.yardstick_figure or self.row.figure
        return median(run.figures[name] for run in self.yardstick_runs) if self.yardstick_runs else None

    @property
    def ratio(self) -> float | None:
        """The median by the yardstick's."""
        return self.value / self.yardstick_value if self.yardstick_value else None

    def total(self, fault: str) -> int:
        """How many there were of one of the faults of a run, in all runs of both sides."""
        return sum(getattr(run, fault) for run in (*self.runs, *self.yardstick_runs))

    @property
    def is_void(self) -> bool:
        """Whether a message was lost or doubled: then no figure means anything."""
        return self.total("unsent") + self.total("doubled") > 0

    @property
    def ok(self) -> bool:
        """Whether it is valid and its goal is met, if it has one."""
        return not self.is_void and (self.row.goal is None or self.row.goal.met_by(self.value, self.ratio))

    def record(self) -> dict[str, Any]:
        """As var/bench.json has it; without a value where it is void."""
        ratio = None if self.is_void or self.ratio is None else round(self.ratio, 3)
        against = self.yardstick_value
        return {
            "name": self.row.name,
            "value": None if self.is_void else significant(self.value),
            "unit": self.row.unit,
            "yardstick": self.row.against or None,
            "yardstick_value": None if against is None else significant(against),
            "ratio": ratio,
            "goal": self.row.goal.in_words(self.row.unit) if self.row.goal else None,
            "ok": self.ok,
        }


def significant(value: float) -> float:
    """Round to four digits, which is more than a measurement knows."""
    return float(f"{value:.4g}")
