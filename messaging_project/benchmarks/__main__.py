"""The command behind `make bench` and `make bench-short`."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence

import psycopg
import redis

from messaging_project.benchmarks import (
    accept,
    accept_batch,
    accept_naive,
    callbacks_array,
    callbacks_single,
    drain_email,
    drain_naive,
    drain_sms,
    growth,
    idle,
    memory,
    scale,
    whole_way,
)
from messaging_project.benchmarks.field import Field, field
from messaging_project.benchmarks.question import SHORT, Finding, Question, Run
from messaging_project.benchmarks.table import Table, begin, tell
from messaging_project.local import LocalError
from messaging_project.local.settings_file import place

QUESTIONS = {
    module.QUESTION.name: module.QUESTION
    for module in (
        accept,
        accept_naive,
        accept_batch,
        drain_sms,
        drain_naive,
        drain_email,
        whole_way,
        idle,
        callbacks_single,
        callbacks_array,
        scale,
        memory,
        growth,
    )
}


def ask(question: Question, ground: Field, divisor: int) -> list[Finding]:
    """Let the sides take turns, as often as the question wants; return its rows."""
    runs: Mapping[str, list[Run]] = {side: [] for side in question.sides}
    for number in range(1, question.rounds + 1):
        for side, measure in question.sides.items():
            size = question.size_of(side, divisor)
            with begin(f"{question.name}: {side}, {number}", size) as step:
                runs[side].append(measure(ground, size))
                step.advance(size)
    ground.clear()
    return [Finding.of(row, runs) for row in question.rows]


def chosen(options: argparse.Namespace) -> Sequence[Question]:
    """What the command line asks for. Raises `LocalError` for a name that there is not."""
    if unknown := set(options.row) - set(QUESTIONS):
        raise LocalError(f"There is no {', '.join(sorted(unknown))}; there are: {', '.join(QUESTIONS)}.")
    wanted = [QUESTIONS[name] for name in options.row] or list(QUESTIONS.values())
    return [each for each in wanted if each.is_short or not options.short]


def main(arguments: Sequence[str]) -> int:
    """Measure. Returns 1 when it could not, or when a row is void; a goal that is missed is only said."""
    parser = argparse.ArgumentParser(prog="python -m messaging_project.benchmarks")
    parser.add_argument("row", nargs="*", help=f"some of {', '.join(QUESTIONS)}; all without one")
    parser.add_argument("--short", action="store_true", help="the ratios only, at a fifth of the size")
    parser.add_argument("--divide", type=int, metavar="N", help="at an Nth of the size")
    options = parser.parse_args(arguments)
    table = Table(place(os.environ) / "bench.json")
    try:
        questions = chosen(options)
        with field(begin) as ground:
            for question in questions:
                table.add(ask(question, ground, options.divide or (SHORT if options.short else 1)))
    except (LocalError, OSError, psycopg.Error, redis.RedisError) as reason:
        tell(f"error: {reason}\n")
        return 1
    except KeyboardInterrupt:
        return 1
    finally:
        if table.findings:
            sys.stdout.write("\n".join([*table.lines(), f"Kept in {table.file}.", ""]))
    return int(any(each.is_void for each in table.findings))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
