"""Where the children's output goes: to the terminal with their names before it, or to one file each."""

import errno
import os
import selectors
import sys
import time
from pathlib import Path
from typing import Protocol

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
NAME_WIDTH = 8


def put(text: str) -> bool:
    """Write lines to our own output. False when nobody can read it any more; on a full disk they are lost, no more."""
    try:
        os.write(1, f"{text}\n".encode(errors="replace"))  # `print` would keep what it could not write
    except OSError as reason:
        return reason.errno in (errno.ENOSPC, errno.EDQUOT)
    return True


class Output(Protocol):
    """Takes what the children write. `gone` is true once nobody can read it any more, `coloured` where colours show."""

    gone: bool
    coloured: bool

    def open(self, name: str) -> int:
        """A file descriptor for a child to write to. The caller closes it once the child has it."""

    def say(self, text: str) -> None:
        """Say something of our own."""

    def turn(self, seconds: float) -> None:
        """Let `seconds` pass, and pass on what is written meanwhile."""


class Console:
    """One stream of lines, each after the name of its child; colours only on a terminal."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.unfinished: dict[int, bytes] = {}
        self.colours: dict[str, int] = {}
        self.coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.gone = False

    def open(self, name: str) -> int:
        """A pipe, read from `turn`."""
        reading, writing = os.pipe()
        self.selector.register(reading, selectors.EVENT_READ, name)
        return writing

    def say(self, text: str) -> None:
        """A line under the stack's name; several stand for themselves, so that a command in them can be copied."""
        if "\n" in text:
            self._write(f"\n{text}\n")
        else:
            self._print("stack", text)

    def turn(self, seconds: float) -> None:
        """Wait for output until the time is over, and print whole lines of it."""
        deadline = time.monotonic() + seconds
        while True:
            for key, _ in self.selector.select(max(0.0, deadline - time.monotonic())):
                self._read(key.fd, key.data)
            if time.monotonic() >= deadline:
                return

    def _read(self, pipe: int, name: str) -> None:
        piece = os.read(pipe, 65536)
        *lines, rest = (self.unfinished.pop(pipe, b"") + piece).split(b"\n")
        if piece:
            self.unfinished[pipe] = rest
        else:
            self.selector.unregister(pipe)
            os.close(pipe)
            lines += [rest] if rest else []
        for line in lines:
            self._print(name, line.decode(errors="replace"))

    def _print(self, name: str, line: str) -> None:
        label = f"{name:<{NAME_WIDTH}}|"
        if self.coloured:
            colour = self.colours.setdefault(name, COLOURS[len(self.colours) % len(COLOURS)])
            label = f"\033[{colour}m{label}\033[0m"
        self._write(f"{label} {line}")

    def _write(self, text: str) -> None:
        self.gone = self.gone or not put(text)


class Files:
    """One file for each child in a directory; what the last run left there moves to `….1`."""

    gone = coloured = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in directory.glob("*.log"):
            if old.name != "stack.log":  # our own output, which whoever started us has opened
                old.rename(old.with_suffix(".log.1"))

    def open(self, name: str) -> int:
        """The child's own file, to be appended to."""
        return os.open(self.directory / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, text: str) -> None:
        """Lines on our own output."""
        put(text)

    def turn(self, seconds: float) -> None:
        """Nothing to pass on: the children write by themselves."""
        time.sleep(seconds)
