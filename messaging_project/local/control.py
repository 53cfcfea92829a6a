"""What the commands say to a stack: start one in the background, restart parts of it, stop it.

Which one is meant is said by its directory, `VAR_DIR`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from messaging_project.local import LocalError, preflight
from messaging_project.local.binaries import CHECKOUT, discard
from messaging_project.local.probe import trouble
from messaging_project.local.processes import spawn, wait_until
from messaging_project.local.runtime import LEAVING_SECONDS, Lock, State, holders, is_running, started_at, supervisor
from messaging_project.local.settings_file import Settings, look, prepare
from messaging_project.local.stack import CHANNELS

START_SECONDS = 90
STOP_SECONDS = 60
ANSWER_SECONDS = 60
HOPELESS_FAILURES = 4
TAIL_CHARACTERS = 20_000


def start_in_background(settings: Settings, *, throw_away: bool = False) -> tuple[Settings, subprocess.Popen[bytes]]:
    """Start a stack of its own, and return once /health is 200.

    Raises `LocalError` with the cause, having stopped it all. Returns the settings, which say what passwords were made
    just now, and the supervisor. A stack to throw away dies with us and syncs nothing to the disk.
    """
    _refuse_second(settings)
    settings = prepare(settings.source)
    logs = settings.var / "log"
    logs.mkdir(mode=0o700, exist_ok=True)
    command = [sys.executable, "-m", "messaging_project.local", "run", "--log-to-files"]
    with open(os.open(logs / "stack.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        process = spawn(
            [*command, *(["--throw-away"] if throw_away else [])],
            environment=settings.source,
            directory=CHECKOUT,
            output=output,
            tied=throw_away,
        )
    try:
        _await_health(settings, lambda: process.poll() is not None)
    except BaseException:
        _give_up(settings.var, process)
        raise
    return settings, process


def well_already(var: Path) -> Settings:
    """The settings of a running stack, for its introduction. Raises `LocalError` when none runs or it is not well."""
    running = running_settings(var)
    if reason := trouble(running.url):
        raise LocalError(f"It runs already, and {reason}. `make restart-app` or `make stop` is a way on.")
    # What it was started with counts as given there, whoever chose it.
    return replace(running, given=look(os.environ).given)


def stop(var: Path) -> None:
    """Stop the stack, if one runs, and return once all of it is gone; what does not go in time is killed."""
    if leader := supervisor(var):
        os.kill(leader, signal.SIGTERM)
    # Without its supervisor the kernel has told what is left to go.
    if not wait_until(lambda: not is_running(var), seconds=STOP_SECONDS if leader else LEAVING_SECONDS):
        for pid in holders(var):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if not wait_until(lambda: not is_running(var), seconds=5):
        raise LocalError(f"The stack could not be stopped: {var / 'run' / 'lock'} is held by {holders(var)}.")
    State(var).remove()


def restart_app(var: Path) -> None:
    """Restart web and workers with the settings as they are in the files now; return once /health is 200."""
    running = request(var, signal.SIGHUP)
    _await_health(running, lambda: not is_running(var))


def stop_workers(var: Path) -> None:
    """Stop the workers of sms, mms and email, and keep them stopped. Returns once they are gone."""
    request(var, signal.SIGUSR1)


def start_workers(var: Path) -> None:
    """Start them again. Returns once their processes are there."""
    request(var, signal.SIGUSR2)


def request(var: Path, number: signal.Signals) -> Settings:
    """Send the supervisor a signal and wait until it has done what that asks for. Returns the stack's settings.

    Raises `LocalError` when it refuses.
    """
    running, leader, state = running_settings(var), supervisor(var), State(var)
    before = state.read().get("answered", 0)
    if not leader:
        raise LocalError("The stack has lost its supervisor: `make stop` clears up.")
    os.kill(leader, number)
    if not wait_until(lambda: state.read().get("answered", 0) > before, seconds=ANSWER_SECONDS):
        raise LocalError("The stack did not do it in time; its output says why.")
    if refusal := state.read().get("refusal"):
        raise LocalError(refusal)
    return running


def running_settings(var: Path) -> Settings:
    """The settings that the running stack was started with. Raises `LocalError` when none runs."""
    if not is_running(var):
        raise LocalError(f"Nothing runs on {var}: `make run` or `make run-bg` starts it.")
    environment = State(var).read().get("environment")
    if not environment:
        raise LocalError("The stack can't be spoken to yet; if that does not change, `make stop` stops it.")
    return look({**os.environ, **environment})


def work_in_foreground(var: Path) -> None:
    """Become a worker for sms, mms and email, beside whatever workers the stack has."""
    running = running_settings(var)
    command = [sys.executable, "-m", "celery", "-A", "messaging_project", "worker", "-Q", ",".join(CHANNELS)]
    options = ["-n", f"hand{os.getpid()}@%h", "-P", "threads", "-c", "4", "-E", "-l", "INFO"]
    os.chdir(CHECKOUT)
    command += [*options, "--without-gossip", "--without-mingle"]
    os.execve(command[0], command, running.environment)  # noqa: S606


def verify_in_foreground(var: Path) -> None:
    """Become the verification of the running stack."""
    running = running_settings(var)
    os.chdir(CHECKOUT)
    os.execve(sys.executable, [sys.executable, "manage.py", "verify_queue"], running.environment)  # noqa: S606


def follow_logs(var: Path) -> None:
    """Become a `tail` of all logs."""
    files = sorted(map(str, (var / "log").glob("*.log")))
    if not files:
        raise LocalError("There are no logs: `make run-bg` writes them; `make run` shows them on its terminal.")
    os.execvp("tail", ["tail", "-n", "20", "-F", *files])  # noqa: S606


def reset(var: Path) -> None:
    """Delete all data and generated settings. Raises `LocalError` while the stack runs."""
    if is_running(var):
        raise LocalError("The stack runs: `make stop` first.")
    discard(var / "postgres")
    if var.exists():
        shutil.rmtree(var)


def _refuse_second(settings: Settings) -> None:
    lock = Lock.take(settings.var)
    try:
        preflight.check(settings).close()
    finally:
        os.close(lock.handle)


def _give_up(var: Path, process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    stop(var)


def _await_health(settings: Settings, is_gone: Callable[[], bool]) -> None:
    """Wait for /health. Raises `LocalError` saying why it is not 200, as soon as it can't be any more."""
    deadline = time.monotonic() + START_SECONDS
    while reason := trouble(settings.url):
        if is_gone():
            raise LocalError(_last_words(settings.var, "postgres", "valkey", "migrate", "admin", "stack"))
        if hopeless := _hopeless(settings.var):
            raise LocalError(_last_words(settings.var, *hopeless) + f"\nEnding again and again: {', '.join(hopeless)}.")
        if time.monotonic() > deadline:
            raise LocalError(reason)
        time.sleep(0.2)


def _hopeless(var: Path) -> list[str]:
    children = State(var).read().get("children", {})
    return [name for name, child in children.items() if child["failures"] >= HOPELESS_FAILURES]


def _last_words(var: Path, *names: str) -> str:
    """The lines of some logs that say why the stack is not up. A stack in the foreground has no logs."""
    lines = [f"{name}: {line}" for name in names if (line := _point(var / "log" / f"{name}.log", started_at(var)))]
    return "\n".join([f"Not everything could start; the output, or {var / 'log'}, says more.", *lines])


def _point(log: Path, since: float) -> str:
    """The exception of the last traceback, else the last line that speaks of trouble; "" when there is none."""
    if not log.exists() or log.stat().st_mtime < since:
        return ""
    text = log.read_text(errors="replace")[-TAIL_CHARACTERS:]
    exceptions = re.findall(r"^Traceback .*\n(?:[ \t].*\n|\n)*(\S.*)", text, re.MULTILINE)
    complaints = re.findall(r"^.*(?:error|fatal|fail|refuse|can't).*", text, re.MULTILINE | re.IGNORECASE)
    return str((exceptions or complaints or [""])[-1])
