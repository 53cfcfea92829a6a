"""How far something is that takes a while: a bar that moves on a terminal, elsewhere one line for each step."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

WIDTH = 30
NAME_WIDTH = 32


class Progress:
    """One step of a known number of things, as a context manager; `write` takes text as it is, without a line's end."""

    def __init__(self, write: Callable[[str], object], step: str, total: int, *, moves: bool) -> None:
        self.write = write
        self.step = step
        self.total = total
        self.moves = moves
        self.done = 0
        self.shown = ""
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is not None:
            self.write("\n" if self.moves else "")
            return
        seconds = time.monotonic() - self.began
        self.write(f"{self._start()}{self.step:<{NAME_WIDTH}} {self.done:>9,}  {seconds:6.1f} s{' ' * WIDTH}\n")

    def advance(self, count: int = 1) -> None:
        """Be so much further."""
        self.done += count
        self._draw()

    def _draw(self) -> None:
        """Draw the bar anew where it looks different."""
        filled = min(WIDTH, WIDTH * self.done // max(self.total, 1))
        bar = f"{self.step:<{NAME_WIDTH}} [{'#' * filled}{'.' * (WIDTH - filled)}] {100 * filled // WIDTH:>3} %"
        if self.moves and bar != self.shown:
            self.shown = bar
            self.write(f"{self._start()}{bar}")

    def _start(self) -> str:
        return "\r" if self.moves else ""
