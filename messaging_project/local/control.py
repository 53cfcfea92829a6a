"""What the commands say to a stack: start one in the background, restart parts of it, stop it.

Each takes the settings as the caller's environment gives them; `VAR_DIR` says which stack is meant.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from messaging_project.local import LocalError
from messaging_project.local.binaries import CHECKOUT, database_account, usable_directory
from messaging_project.local.probe import trouble
from messaging_project.local.processes import alive, signal_group, spawn, wait_until
from messaging_project.local.runtime import Lock, State, holder, is_running
from messaging_project.local.settings_file import Settings, look, prepare
from messaging_project.local.stack import CHANNELS, check_ports

START_SECONDS = 90
STOP_SECONDS = 60
RESTART_SECONDS = 60
HOPELESS_STARTS = 5
TAIL_BYTES = 2000


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
        supervisor = spawn(
            [*command, *(["--throw-away"] if throw_away else [])],
            environment=settings.source,
            directory=CHECKOUT,
            output=output,
            tied=throw_away,
        )
    try:
        cause = _await_health(settings, supervisor)
    except BaseException:
        _give_up(settings, supervisor)
        raise
    if cause:
        _give_up(settings, supervisor)
        raise LocalError(cause)
    return settings, supervisor


def stop(settings: Settings) -> None:
    """Stop the stack, if one runs, and return once all of it is gone."""
    if not is_running(settings.var):
        return
    supervisor = holder(settings.var)
    if supervisor and alive(supervisor):
        os.kill(supervisor, signal.SIGTERM)
    else:  # it was killed, and what it started is left
        for pid in _pids(settings.var):
            signal_group(pid, signal.SIGTERM)
    if not wait_until(lambda: not is_running(settings.var), seconds=STOP_SECONDS):
        raise LocalError(f"The stack did not stop within {STOP_SECONDS} s; see {settings.var / 'log'}.")
    State(settings.var).remove()


def restart_app(settings: Settings) -> None:
    """Restart web and workers with the settings as they are in the files now; return once /health is 200."""
    running = request(settings, signal.SIGHUP)
    if not wait_until(lambda: not trouble(running.url), seconds=RESTART_SECONDS, pause=0.2):
        raise LocalError(trouble(running.url) or "/health was not 200 in time.")


def stop_workers(settings: Settings) -> None:
    """Stop the workers of sms, mms and email, and keep them stopped. Returns once they are gone."""
    request(settings, signal.SIGUSR1)


def start_workers(settings: Settings) -> None:
    """Start them again. Returns once their processes are there."""
    request(settings, signal.SIGUSR2)


def request(settings: Settings, number: signal.Signals) -> Settings:
    """Send the supervisor a signal and wait until it has done what that asks for. Returns the stack's settings."""
    running, supervisor = running_settings(settings), holder(settings.var)
    state = State(settings.var)
    before = state.read().get("answered", 0)
    if not supervisor:
        raise LocalError("The stack is not ready to be spoken to.")
    os.kill(supervisor, number)
    if not wait_until(lambda: state.read().get("answered", 0) > before, seconds=RESTART_SECONDS):
        raise LocalError("The stack did not do it in time; its output says why.")
    return running


def running_settings(settings: Settings) -> Settings:
    """The settings that the running stack was started with. Raises `LocalError` when none runs."""
    state = State(settings.var).read() if is_running(settings.var) else {}
    if not state:
        raise LocalError(f"Nothing runs on {settings.var}: `make run` or `make run-bg` starts it.")
    return look({**os.environ, **state["environment"]})


def work_in_foreground(settings: Settings) -> None:
    """Become a worker for sms, mms and email, beside whatever workers the stack has."""
    running = running_settings(settings)
    command = [sys.executable, "-m", "celery", "-A", "messaging_project", "worker", "-Q", ",".join(CHANNELS)]
    options = ["-n", f"hand{os.getpid()}@%h", "-P", "threads", "-c", "4", "-E", "-l", "INFO"]
    os.chdir(CHECKOUT)
    command += [*options, "--without-gossip", "--without-mingle"]
    os.execve(command[0], command, running.environment)  # noqa: S606


def follow_logs(settings: Settings) -> None:
    """Become a `tail` of all logs."""
    files = sorted(map(str, (settings.var / "log").glob("*.log")))
    if not files:
        raise LocalError("There are no logs: `make run-bg` writes them; `make run` shows them on its terminal.")
    os.execvp("tail", ["tail", "-n", "20", "-F", *files])  # noqa: S606


def reset(settings: Settings) -> None:
    """Delete all data and generated settings. Raises `LocalError` while the stack runs."""
    if is_running(settings.var):
        raise LocalError("The stack runs: `make stop` first.")
    if settings.var.exists():
        shutil.rmtree(usable_directory(settings.var / "postgres", database_account()))
        shutil.rmtree(settings.var)


def _refuse_second(settings: Settings) -> None:
    lock = Lock.take(settings.var)
    try:
        check_ports(settings)
    finally:
        os.close(lock.handle)


def _give_up(settings: Settings, supervisor: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(STOP_SECONDS)
    stop(settings)


def _await_health(settings: Settings, supervisor: subprocess.Popen[bytes]) -> str:
    """Wait for /health. Returns "" or why it is not 200."""
    hopeless: dict[str, Any] = {}

    def decided() -> bool:
        hopeless.update(_hopeless(settings.var))
        return bool(hopeless) or supervisor.poll() is not None or not trouble(settings.url)

    wait_until(decided, seconds=START_SECONDS, pause=0.2)
    if supervisor.poll() is not None:
        return _last_words(settings.var, "postgres", "valkey", "migrate")
    if hopeless:
        return _last_words(settings.var, *hopeless)
    return trouble(settings.url)


def _hopeless(var: Path) -> dict[str, Any]:
    children = State(var).read().get("children", {})
    return {name: child for name, child in children.items() if child["starts"] >= HOPELESS_STARTS}


def _last_words(var: Path, *names: str) -> str:
    """The ends of some logs, the stack's own last."""
    parts = []
    for name in (*names, "stack"):
        with suppress(OSError):
            text = (var / "log" / f"{name}.log").read_text(errors="replace")[-TAIL_BYTES:].strip()
            parts += [f"--- {name}.log\n{text}"] if text else []
    return "\n".join(["The stack did not start.", *parts])


def _pids(var: Path) -> list[int]:
    children = State(var).read().get("children", {}).values()
    return [child["pid"] for child in children if child["pid"]]
