"""`python -m messaging_project.fuzz [--seconds N] [--seed N]`."""

import argparse
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from messaging_project.fuzz.world import CLIENTS, World, running_world
from messaging_project.local import LocalError
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.output import Console

# What is right for a field alone may still be wrong beside the others: 422 joins the check's own list, and no other.
# What can't be sent again is a 400, as clients have always known it. A key whose message was deleted since is a 410, to
# sending what a 404 is to reading. A conversation that is closed can still be read; that an erased one can't is for the
# tests of conversations.
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "429", "5xx", "422"]
CHECKS = f"""
[checks.positive_data_acceptance]
expected-statuses = {ACCEPTED}

[[operations]]
include-operation-id = "retryMessage"
checks.positive_data_acceptance.expected-statuses = {[*ACCEPTED, "400"]}

[[operations]]
include-operation-id = ["sendMessage", "createMessage"]
checks.positive_data_acceptance.expected-statuses = {[*ACCEPTED, "410"]}

[[operations]]
include-tag = "Conversations"
checks.use_after_free.enabled = false
"""
MOST_REFUSED = 0.01
FEWEST_OF_AN_OPERATION = 10

Counts = Counter[tuple[str, int]]


def main(arguments: Sequence[str]) -> int:
    """Run it; 0 when nothing was wrong. Stops what it started, whatever happens."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="how long each client asks; they ask side by side")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    options = parser.parse_args(arguments)
    print(f"Seed {options.seed}, {len(CLIENTS)} clients, {options.seconds} s.", flush=True)
    with running_world() as world:
        codes = ask(world, options.seconds, options.seed)
        counts = sum((counts_of(world.place, client) for client in CLIENTS), Counter())
        labels = world.operations()
    print(table(counts))
    return verdict(codes, counts, labels)


def ask(world: World, seconds: int, seed: int) -> list[int]:
    """Let schemathesis ask as each client at once, as its threads trip over each other in Python's own parser (fixed in
    3.13, https://github.com/python/cpython/issues/106905); return how each ended.
    """
    console, askers = Console(), []
    for client in CLIENTS:
        config = world.place / f"{client}.toml"
        config.write_text(CHECKS + world.dictionaries(client))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
            *(f"{world.stack.url}/api/schema", "--url", world.stack.url, "--workers", "1"),
            *("--header", f"Authorization: Bearer {world.keys[client]}"),
            *("--max-time", str(seconds), "--seed", str(seed), "--continue-on-failure"),
        ]
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "messaging_project.fuzz.counting",
            "FUZZ_COUNTS": str(world.place / f"{client}.json"),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
        }
        pipe = console.open(client)
        askers.append(
            subprocess.Popen(command, cwd=world.place, env=environment, stdout=pipe, stderr=subprocess.STDOUT)
        )
        os.close(pipe)
    try:
        while any(asker.poll() is None for asker in askers):
            console.turn(0.2)
        console.turn(0.2)
    finally:
        for asker in askers:
            asker.kill()
    return [asker.wait() for asker in askers]


def counts_of(place: Path, client: str) -> Counts:
    """What was answered to a client, by operation and status."""
    file = place / f"{client}.json"
    rows = json.loads(file.read_text()) if file.exists() else []
    return Counter({(label, status): count for label, status, count in rows})


def table(counts: Counts) -> str:
    """How often each operation was answered with which status."""
    statuses = sorted({status for _, status in counts})
    labels = sorted({label for label, _ in counts})
    width = max(map(len, labels), default=0)
    head = " " * width + "".join(f"{status:>7}" for status in statuses)
    rows = [f"{label:{width}}" + "".join(f"{counts[label, each] or '':>7}" for each in statuses) for label in labels]
    return "\n".join([head, *rows])


def hardly_asked(counts: Counts, labels: Iterable[str]) -> tuple[str, int] | None:
    """The operation of these that was asked least, where that is too rarely."""
    asked = {label: sum(count for (name, _), count in counts.items() if name == label) for label in labels}
    label, least = min(asked.items(), key=lambda each: each[1])
    return (label, least) if least < FEWEST_OF_AN_OPERATION else None


def verdict(codes: Sequence[int], counts: Counts, labels: Iterable[str]) -> int:
    """0 when nothing was wrong, and enough of it was really asked; say which."""
    total = sum(counts.values())
    refused = sum(count for (_, status), count in counts.items() if status == 429)
    broken = sum(count for (_, status), count in counts.items() if status >= 500)
    print(f"{total} answers, {broken} of them 5xx, {refused} of them 429.")
    if refused > MOST_REFUSED * total:
        print("VOID: the limit answered too often for this to mean anything.")
        return 1
    if rarely := hardly_asked(counts, labels):
        print(f"VOID: {rarely[0]} was asked {rarely[1]} times, and at least {FEWEST_OF_AN_OPERATION} are wanted.")
        return 1
    if broken or any(codes):
        print("FAILED: see above.")
        return 1
    print("ok")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LocalError as error:
        sys.exit(str(error))
