"""Charts that the server draws: stacked bars, one an hour, as SVG with a text for whoever can't see them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import floor, log10

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 18, 34
LABEL_WIDTH = 64
MOST_LABELS = 6


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart. `key` is its CSS class."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Part:
    """One colour of one bar."""

    key: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour. `words` say all that it shows."""

    x: float
    width: float
    parts: Sequence[Part]
    words: str


@dataclass(frozen=True, slots=True)
class Label:
    """A word beside an axis, at its place, which is its beginning or its `end`."""

    at: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Chart:
    """How many of each series there were in each hour: `counts` by (hour, key of the series)."""

    title: str
    hours: Sequence[datetime]
    series: Sequence[Series]
    counts: Mapping[tuple[datetime, str], int]

    width, height, left, right, bottom = WIDTH, HEIGHT, LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM
    top, plot = TOP, HEIGHT - BOTTOM - TOP

    def of(self, hour: datetime) -> int:
        """Return how many there were in an hour."""
        return sum(self.counts.get((hour, each.key), 0) for each in self.series)

    @cached_property
    def totals(self) -> list[tuple[Series, str]]:
        """The series with how many there were of each; those without any are not worth a colour."""
        sums = [(each, sum(self.counts.get((hour, each.key), 0) for hour in self.hours)) for each in self.series]
        return [(each, f"{count:,}") for each, count in sums if count]

    @property
    def words(self) -> str:
        """What it shows, in a sentence."""
        busiest = max(self.hours, key=self.of)
        total = sum(self.of(hour) for hour in self.hours)
        return f"{total:,} in all, at most {self.of(busiest):,} in an hour, on {busiest:%d %b at %H:%M} UTC."

    @cached_property
    def most(self) -> int:
        """The end of its scale: a round number that no bar exceeds."""
        return round_up(max(self.of(hour) for hour in self.hours))

    @property
    def lines(self) -> list[Label]:
        """The lines of the scale."""
        values = [0, self.most // 2, self.most] if self.most > 1 else [0, 1]
        return [Label(self._y(value), short(value)) for value in values]

    @property
    def labels(self) -> list[Label]:
        """What stands below the bars: hours, or days where there are more than two. The newest is always there."""
        days = len(self.hours) > 48
        step = 24 if days else max(1, len(self.hours) // MOST_LABELS)
        marked = [each for each in enumerate(self.hours) if each[1].hour % step == 0]
        labels = [Label(self._x(number), f"{hour:%d %b}" if days else f"{hour:%H:%M}") for number, hour in marked]
        if labels[-1].at > self.right - LABEL_WIDTH:
            free = [label for label in labels if label.at + LABEL_WIDTH <= self.right - LABEL_WIDTH]
            labels = [*free, Label(self.right, labels[-1].text, "end")]
        return labels

    @property
    def bars(self) -> Iterator[Bar]:
        """The hours in which there was anything."""
        step = self._x(1) - self._x(0)
        for number, hour in enumerate(self.hours):
            if self.of(hour):
                yield Bar(self._x(number), round(step * 0.86, 2), list(self._parts(hour)), self._words_of(hour))

    @property
    def table(self) -> list[tuple[str, list[str]]]:
        """The same as numbers: each hour in words, with how many there were of each series that has a colour."""
        shown = [each for each, _ in self.totals]
        return [
            (f"{hour:%d %b %H:%M}", [f"{self.counts.get((hour, each.key), 0):,}" for each in shown])
            for hour in self.hours
        ]

    def _x(self, number: int) -> float:
        return round(LEFT + number * (self.right - LEFT) / len(self.hours), 2)

    def _y(self, value: int) -> float:
        return round(self.bottom - value * (self.bottom - TOP) / self.most, 2)

    def _parts(self, hour: datetime) -> Iterator[Part]:
        below = 0
        for each in self.series:
            if count := self.counts.get((hour, each.key), 0):
                top = self._y(below + count)
                yield Part(each.key, top, round(self._y(below) - top, 2))
                below += count

    def _words_of(self, hour: datetime) -> str:
        of_each = [(each.name, self.counts.get((hour, each.key), 0)) for each in self.series]
        listed = ", ".join(f"{count:,} {name}" for name, count in of_each if count)
        return f"{hour:%d %b, %H:%M} UTC: {self.of(hour):,} ({listed})"


def short(value: int) -> str:
    """Return a number as it fits beside an axis: 7,000 or 15k or 1.5M."""
    if value < 10_000:
        return f"{value:,}"
    return f"{value / 1000:g}k" if value < 1_000_000 else f"{value / 1_000_000:g}M"


def round_up(value: int) -> int:
    """Return the next number of one digit and zeros, an even one from ten on, so that its half is whole; at least 1."""
    if value < 10:
        return max(value + value % 2 if value > 1 else value, 1)
    magnitude = 10 ** floor(log10(value))
    return int(-(-value // magnitude) * magnitude)
