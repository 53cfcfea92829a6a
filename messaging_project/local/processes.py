"""One child process: its own session, so that a terminal's Ctrl-C does not reach it; tied to its parent's life."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TETHER = Path(__file__).with_name("tether.py")


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine that a child runs under instead of ours."""

    user_id: int
    group_id: int


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    output: IO[bytes] | int | None,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    keep_open: Sequence[int] = (),
    tied: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a command as the leader of its own session; unless not `tied`, `death_signal` reaches it when we die.

    Call it from the main thread: to the kernel, the parent is the thread.
    """
    ids = [str(account.user_id), str(account.group_id)] if account else ["-", "-"]
    tether = [sys.executable, "-I", "-S", str(TETHER), str(int(death_signal)), str(os.getpid()), *ids]
    return subprocess.Popen(
        [*(tether if tied else ()), *command],
        env=dict(environment),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=keep_open,
    )


def signal_group(leader: int, number: signal.Signals) -> bool:
    """Signal a whole process group, whose leader may be gone already; False when nobody is left in it."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return False
    return True


def pause() -> bool:
    """Let a moment pass, and be patient."""
    time.sleep(0.02)
    return True


def stop(
    leaders: Mapping[subprocess.Popen[bytes], signal.Signals], *, seconds: float, turn: Callable[[], bool] = pause
) -> None:
    """Ask the leaders to end, each by its signal; after `seconds`, or when `turn` says False, end their groups."""
    for leader, number in leaders.items():
        leader.send_signal(number)
    deadline = time.monotonic() + seconds
    while any(leader.poll() is None for leader in leaders) and time.monotonic() < deadline and turn():
        pass
    for leader in leaders:
        signal_group(leader.pid, signal.SIGKILL)
        leader.wait()


def alive(process_id: int) -> bool:
    """Say whether a process with this id runs (whoever owns it)."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def wait_until(condition: Callable[[], bool], *, seconds: float, pause: float = 0.05) -> bool:
    """Ask again and again until it is true; False when it was not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
