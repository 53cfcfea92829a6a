"""The command behind `make drill` and `make drill-short`."""

import argparse
import os
import random
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg

from messaging_project.drills import (
    broker,
    callbacks,
    database,
    failover,
    pace,
    provider,
    shipped,
    subscriber,
    web,
    workers,
)
from messaging_project.drills.ground import DRILLS, Drill
from messaging_project.drills.referee import Verdict, hold
from messaging_project.drills.sabotage import BREAKAGES, Breakage
from messaging_project.drills.scoreboard import Scoreboard, say
from messaging_project.drills.stack import DrillStack
from messaging_project.local import LocalError
from messaging_project.local.settings_file import place

# To import them is to register their drills.
FAMILIES = (workers, web, broker, database, provider, failover, pace, callbacks, subscriber, shipped)
SHORT_ENOUGH_SECONDS = 25.0
BROKEN_AT_ONCE = 2


class Hall:
    """Where drills are held one after the other. They share a stack that has the same settings; a red one ends it."""

    def __init__(self, board: Scoreboard, evidence: Path, seed: int) -> None:
        self.board = board
        self.evidence = evidence
        self.seed = seed
        self.stack: DrillStack | None = None
        self.starting = threading.Lock()

    def hold_all(self, drills: Sequence[Drill]) -> None:
        """Hold drills, each on a stack that is well; those that can share one follow each other."""
        settings = [drill.settings for drill in drills]
        for drill in sorted(drills, key=lambda each: settings.index(each.settings)):
            self.board.begin(drill.name)
            try:
                verdict = hold(drill, self.ready_stack(drill), self.seed, self.evidence)
            except (LocalError, OSError, psycopg.Error) as reason:
                self.board.could_not_start(reason)
                self.leave()
                continue
            self.board.add(verdict)
            if verdict.faults:
                self.leave()
        self.leave()

    def ready_stack(self, drill: Drill) -> DrillStack:
        """The stack that is up, if it suits and is well; else a new one."""
        if self.stack is None or self.stack.settings != drill.settings or not self.stack.is_well():
            self.leave()
            self.stack = DrillStack(drill.settings)
            self.stack.start()
        return self.stack

    def leave(self) -> None:
        """Stop the stack and delete it."""
        if self.stack is not None:
            self.stack.discard()
            self.stack = None

    def break_all(self, breakages: Sequence[Breakage]) -> None:
        """Hold the drill of each breakage on a stack with that breakage: it has to see it.

        Two at a time, as what a breakage shows is no matter of seconds.
        """
        pool = ThreadPoolExecutor(BROKEN_AT_ONCE)
        try:
            held = [(breakage, pool.submit(self.hold_broken, breakage)) for breakage in breakages]
            for breakage, verdict in held:
                self.board.begin(breakage.name)
                try:
                    self.board.add_breakage(breakage.name, verdict.result(), caught=breakage.shows_in(verdict.result()))
                except (LocalError, OSError, psycopg.Error) as reason:
                    self.board.could_not_start(reason)
        finally:
            pool.shutdown(cancel_futures=True)

    def hold_broken(self, breakage: Breakage) -> Verdict:
        """Hold the drill of a breakage on a stack of its own."""
        # What is stuck there is so for good: nothing is learned from waiting long.
        drill = replace(DRILLS[breakage.drill], within=SHORT_ENOUGH_SECONDS)
        with self.starting:  # each has taken its ports before the next looks for free ones
            stack = started(DrillStack(drill.settings, breakage.module))
        try:
            return hold(drill, stack, self.seed, self.evidence / breakage.name)
        finally:
            stack.discard()


def started(stack: DrillStack) -> DrillStack:
    """Return a stack that is up; one that does not come up is gone. Raises `LocalError`."""
    try:
        stack.start()
    except BaseException:
        stack.discard()
        raise
    return stack


def chosen(options: argparse.Namespace) -> tuple[list[Drill], list[Breakage]]:
    """What the command line asks for. Raises `LocalError` for a name that there is not."""
    if options.drill:
        found = [DRILLS[name] for name in options.drill if name in DRILLS]
        broken = [each for each in BREAKAGES if each.name in options.drill]
        if len(found) + len(broken) < len(options.drill):
            raise LocalError(f"There are: {', '.join([*DRILLS, *(each.name for each in BREAKAGES)])}.")
        return found, broken
    if options.short:
        return [each for each in DRILLS.values() if each.is_short], []
    return list(DRILLS.values()), list(BREAKAGES)


def main() -> int:
    """Hold the drills. Returns 1 when any is red or a breakage was not caught."""
    parser = argparse.ArgumentParser(prog="python -m messaging_project.drills")
    parser.add_argument("drill", nargs="*", help="names of drills or breakages; all without one")
    parser.add_argument("--short", action="store_true", help="only the few that catch most")
    parser.add_argument("--seed", type=int, default=0, help="the dice of an earlier run")
    parser.add_argument("--list", action="store_true", help="name the drills and say what happens in each")
    options = parser.parse_args()
    if options.list:
        say("\n".join(f"{each.name:<26} {each.title}" for each in DRILLS.values()))
        return 0
    seed = options.seed or random.SystemRandom().randrange(1, 1_000_000_000)
    var = place(os.environ)
    board = Scoreboard(var / "drill.json")
    hall = Hall(board, var / "drills", seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        drills, breakages = chosen(options)
        say(f"Seed {seed}. What a red drill leaves is in {hall.evidence}.")
        board.head()
        hall.hold_all(drills)
        hall.break_all(breakages)
    except LocalError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 1
    finally:
        hall.leave()
    return 1 if board.reds else 0


if __name__ == "__main__":
    sys.exit(main())
