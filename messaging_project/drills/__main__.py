"""The command behind `make drill` and `make drill-short`."""

import argparse
import os
import random
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

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
from messaging_project.drills.carriers import PRODUCT
from messaging_project.drills.ground import DRILLS, Drill
from messaging_project.drills.referee import hold
from messaging_project.drills.sabotage import BREAKAGES, Breakage
from messaging_project.drills.scoreboard import Scoreboard, say
from messaging_project.drills.stack import DrillStack
from messaging_project.local import LocalError
from messaging_project.local.settings_file import place

# To import them is to register their drills.
FAMILIES = (workers, web, broker, database, provider, failover, pace, callbacks, subscriber, shipped)
SHORT_ENOUGH_SECONDS = 25.0
HALLS = 2


@dataclass(frozen=True, slots=True)
class Turn:
    """A drill that is to be held: on the product, or on a product with one breakage, which it has to see."""

    drill: Drill
    breakage: Breakage | None = None

    @property
    def name(self) -> str:
        """What it is called in the evidence."""
        return self.breakage.name if self.breakage else self.drill.name

    @property
    def module(self) -> str:
        """The settings module that it is held with."""
        return self.breakage.module if self.breakage else PRODUCT


class Hall:
    """Where drills are held one after the other. They share a stack that has the same settings; a red one ends it."""

    # Whoever starts a stack has taken its ports before the next one looks for free ones.
    starting = threading.Lock()

    def __init__(self, board: Scoreboard, evidence: Path, seed: int) -> None:
        self.board = board
        self.evidence = evidence
        self.seed = seed
        self.stack: DrillStack | None = None

    def hold_all(self, turns: "SimpleQueue[Turn]") -> None:
        """Hold whatever is next, until nothing is left."""
        with suppress(Empty):
            while True:
                self.hold(turns.get_nowait())

    def hold(self, turn: Turn) -> None:
        """Hold a drill on a stack that is well, and enter on the scoreboard what came of it. Never raises."""
        try:
            verdict = hold(turn.drill, self.ready_stack(turn), self.seed, self.evidence / turn.name)
        except Exception as reason:
            self.board.could_not_hold(turn.name, reason)
            self.leave()
            return
        if turn.breakage:
            self.board.add_breakage(turn.breakage.name, verdict, caught=turn.breakage.shows_in(verdict))
        else:
            self.board.add(verdict)
        if verdict.faults:
            self.leave()

    def ready_stack(self, turn: Turn) -> DrillStack:
        """The stack that is up, if it suits and is well; else a new one."""
        if self.stack is None or not self.stack.suits(turn.drill.settings, turn.module) or not self.stack.is_well():
            self.leave()
            with self.starting:
                self.stack = DrillStack(turn.drill.settings, turn.module)
                self.stack.start()
        return self.stack

    def leave(self) -> None:
        """Stop the stack and delete it."""
        if self.stack is not None:
            self.stack.discard()
            self.stack = None


def hold_side_by_side(halls: Sequence[Hall], turns: Sequence[Turn]) -> None:
    """Hold drills in several halls at once. Whatever ends us meanwhile ends them, too."""
    waiting: SimpleQueue[Turn] = SimpleQueue()
    for turn in turns:
        waiting.put(turn)
    threads = [threading.Thread(target=hall.hold_all, args=[waiting], daemon=True) for hall in halls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_order(drills: Sequence[Drill], breakages: Sequence[Breakage]) -> tuple[list[Turn], list[Turn]]:
    """The turns of drills that need the machine to themselves, and of the others; those that can share a stack follow
    each other.
    """
    settings = [drill.settings for drill in drills]
    turns = [Turn(drill) for drill in sorted(drills, key=lambda each: settings.index(each.settings))]
    # What is stuck with a breakage is so for good: nothing is learned from waiting long.
    broken = [Turn(replace(DRILLS[each.drill], within=SHORT_ENOUGH_SECONDS), each) for each in breakages]
    return [each for each in turns if each.drill.is_timed], [each for each in turns if not each.drill.is_timed] + broken


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
    halls = [Hall(board, var / "drills", seed) for _ in range(HALLS)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        drills, breakages = chosen(options)
        timed, others = in_order(drills, breakages)
        say(f"Seed {seed}. What a red drill leaves is in {var / 'drills'}.")
        board.head()
        hold_side_by_side(halls[:1], timed)
        hold_side_by_side(halls, others)
    except LocalError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 1
    finally:
        for hall in halls:
            hall.leave()
    return 1 if board.reds else 0


if __name__ == "__main__":
    sys.exit(main())
