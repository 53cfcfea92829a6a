"""`python -m messaging_project.fuzz [--seconds N] [--seed N]`."""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from messaging_project.local import LocalError, control
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.running import RunningStack, stack_environment
from messaging_project.local.settings_file import look

# A client of everything, and one of a few addresses.
CLIENTS: dict[str, list[str]] = {
    "everything": [],
    "desk": ["--sender", "+15551234567", "--sender", "shop@example.com"],
}
# Its own list and ours: a field may be of the right kind and still say what can't be done.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "429", "5xx", "422"]
"""
# Keys are needed where PUBLIC_URL is not this machine; a limit that nobody reaches is still counted.
SETTINGS = {"PUBLIC_URL": "http://switchboard.test", "ALLOWED_HOSTS": "switchboard.test", "LOG_LEVEL": "WARNING"}
REQUESTS_PER_MINUTE = "1000000"
MOST_REFUSED = 0.01

Counts = Counter[tuple[str, int]]


def main(arguments: Sequence[str]) -> int:
    """Run it; 0 when nothing was wrong. Stops what it started, whatever happens."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each of two clients")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    options = parser.parse_args(arguments)
    print(f"Seed {options.seed}, {len(CLIENTS)} clients, up to {options.seconds} s each.", flush=True)
    with running_stack() as (stack, place):
        ends = [ask(stack, place, name, options.seconds, options.seed) for name in CLIENTS]
    counts = sum((found for _, found in ends), Counter())
    print(table(counts))
    return verdict([code for code, _ in ends], counts)


@contextmanager
def running_stack() -> Iterator[tuple[RunningStack, Path]]:
    """A whole stack in a temporary directory, and the directory."""
    place = Path(tempfile.mkdtemp(prefix="switchboard-fuzz-"))
    place.chmod(0o711)  # as root, PostgreSQL runs as nobody, who has to pass through
    settings = look(stack_environment(place / "var", **SETTINGS))
    try:
        settings, supervisor = control.start_in_background(settings, throw_away=True)
        yield RunningStack(settings), place
        control.stop(settings.var)
        supervisor.wait(30)
    finally:
        control.stop(settings.var)
        control.reset(settings.var)
        shutil.rmtree(place, ignore_errors=True)


def ask(stack: RunningStack, place: Path, client: str, seconds: int, seed: int) -> tuple[int, Counts]:
    """Let schemathesis ask as a client; return how that ended, and what was answered."""
    key = make_key(stack, client)
    config, counts = place / "schemathesis.toml", place / f"{client}.json"
    config.write_text(CONFIG)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{stack.url}/api/schema"),
        *("--url", stack.url, "--header", f"Authorization: Bearer {key}", "--workers", "2"),
        *("--max-time", str(seconds), "--seed", str(seed), "--continue-on-failure"),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "messaging_project.fuzz.counting",
        "FUZZ_COUNTS": str(counts),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(place / "hypothesis"),
    }
    print(f"\nAs {client}:", flush=True)
    code = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode
    rows = json.loads(counts.read_text()) if counts.exists() else []
    return code, Counter({(label, status): count for label, status, count in rows})


def make_key(stack: RunningStack, client: str) -> str:
    """A key of a new client, for everything."""
    command = [sys.executable, "manage.py", "create_api_key", client, "--scope", "admin", *CLIENTS[client]]
    command += ["--requests-per-minute", REQUESTS_PER_MINUTE]
    made = subprocess.run(command, cwd=CHECKOUT, env=stack.env, capture_output=True, text=True, check=True)
    return made.stdout.strip()


def table(counts: Counts) -> str:
    """How often each operation was answered with which status."""
    statuses = sorted({status for _, status in counts})
    labels = sorted({label for label, _ in counts})
    width = max(map(len, labels), default=0)
    head = " " * width + "".join(f"{status:>7}" for status in statuses)
    rows = [f"{label:{width}}" + "".join(f"{counts[label, each] or '':>7}" for each in statuses) for label in labels]
    return "\n".join([head, *rows])


def verdict(codes: Sequence[int], counts: Counts) -> int:
    """0 when nothing was wrong, and enough of it was really asked; say which."""
    total = sum(counts.values())
    refused = sum(count for (_, status), count in counts.items() if status == 429)
    broken = sum(count for (_, status), count in counts.items() if status >= 500)
    print(f"{total} answers, {broken} of them 5xx, {refused} of them 429.")
    if not total or refused > MOST_REFUSED * total:
        print("VOID: the limit answered too often for this to mean anything." if total else "VOID: nothing was asked.")
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
