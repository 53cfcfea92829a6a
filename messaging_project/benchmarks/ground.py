"""The stack that is measured: a durable PostgreSQL and a Valkey of its own, if wanted with a large world, and all the
processes that `make run` starts, on ports of their own. Nothing of it is left afterwards.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from messaging_project.benchmarks.world import Size, load
from messaging_project.local import LocalError, control
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.running import RunningStack, stack_environment
from messaging_project.local.servers import PostgreSQL, Valkey
from messaging_project.local.settings_file import look
from messaging_project.progress import Progress


@contextmanager
def ground(size: Size | None, progress: Callable[[str, int], Progress], **more: str) -> Iterator[RunningStack]:
    """Start everything, with a world of that size or an empty one, and with more settings; stop it whatever happens.

    Raises `LocalError` with the cause.
    """
    place = Path(tempfile.mkdtemp(prefix="switchboard-benchmark-"))
    place.chmod(0o711)  # as root, PostgreSQL runs as nobody, who has to pass through
    postgres = PostgreSQL(place / "postgres", password=secrets.token_hex(12))
    valkey = Valkey(place / "valkey", password=secrets.token_hex(12))
    supervisor: subprocess.Popen[bytes] | None = None
    try:
        postgres.start()
        valkey.start()
        given = {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, **more}
        stack, supervisor = start(place / "var", size, progress, given)
        yield stack
    finally:
        with suppress(LocalError):
            control.stop(place / "var")
        if supervisor is not None:
            supervisor.wait()
        valkey.stop()
        postgres.remove()
        shutil.rmtree(place, ignore_errors=True)


def start(
    var: Path, size: Size | None, progress: Callable[[str, int], Progress], given: Mapping[str, str]
) -> tuple[RunningStack, subprocess.Popen[bytes]]:
    """Fill the database, then start all processes; return, once /health is 200, with their supervisor."""
    settings = look(stack_environment(var, **given))
    with progress("migrations", 1) as step:
        migrate(settings.environment)
        step.advance()
    if size:
        with psycopg.connect(given["DATABASE_URL"], autocommit=True) as connection:
            load(connection, size, progress)
    with progress("web and workers", 1) as step:
        settings, supervisor = control.start_in_background(settings, throw_away=True)
        step.advance()
    return RunningStack(settings), supervisor


def migrate(environment: dict[str, str]) -> None:
    """Make the tables. Raises `LocalError` with what Django says."""
    command = [sys.executable, "manage.py", "migrate", "--no-input", "-v", "0"]
    whole = {**os.environ, **environment}
    done = subprocess.run(command, cwd=CHECKOUT, env=whole, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"`migrate` failed: {done.stderr[-1000:].strip()}")
