"""What a running stack leaves in `var/run` for the commands that speak to it: a lock and a state file.

The lock is inherited by every child, so it is free only when the last of them is gone.
"""

import fcntl
import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from messaging_project.local import LocalError
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.settings_file import PORTS, Settings, replace_file, setting_names

# After its supervisor was killed, a stack needs a moment to go.
LEAVING_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Lock:
    """The right to run the stack on one `var/`, held as long as `handle` is open in any process."""

    handle: int

    @classmethod
    def take(cls, var: Path) -> "Lock":
        """Take it, or raise `LocalError` when a stack runs there. A stack whose supervisor is dead is waited for."""
        make_room(var)
        handle = os.open(_path(var), os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LEAVING_SECONDS
        while not _locked(handle):
            if supervisor(var) or time.monotonic() > deadline:
                os.close(handle)
                raise LocalError(
                    f"A stack runs on {var} already: `make stop` stops it. VAR_DIR gives another one room."
                )
            time.sleep(0.1)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        return cls(handle)


def started_at(var: Path) -> float:
    """When the stack that runs, or ran last, took the lock, in seconds since 1970."""
    return _path(var).stat().st_mtime


def is_running(var: Path) -> bool:
    """Whether anything of a stack is alive on this directory."""
    if not _path(var).exists():
        return False
    handle = os.open(_path(var), os.O_RDWR)
    try:
        return not _locked(handle)
    finally:
        os.close(handle)


def holders(var: Path) -> list[int]:
    """The ids of all processes of the stack: every one has the lock open, and no stranger has."""
    path = str(_path(var).resolve())
    if not Path("/proc/self/fd").exists():
        found = subprocess.run(["lsof", "-t", path], capture_output=True, text=True, check=False).stdout.split()
        return [int(pid) for pid in found if int(pid) != os.getpid()]
    pids = set()
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(handle) == path:
                pids.add(int(handle.parts[2]))
    return sorted(pids - {os.getpid()})


def supervisor(var: Path) -> int | None:
    """The process id of the supervisor, while it lives. A number in a file may be a stranger's by now."""
    with suppress(OSError, ValueError):
        written = int(_path(var).read_text())
        return written if written in holders(var) else None
    return None


@dataclass
class State:
    """What runs: ids of processes, how often each was started, ports, and the settings the stack was started with."""

    var: Path
    answered: int = field(default=0)
    """How many requests by signal the supervisor has answered."""
    refusal: str = field(default="")
    """Why it did not do what the last one asked for."""
    strange_admin: bool = field(default=False)
    """Whether the user admin has another password than the settings say."""

    @property
    def path(self) -> Path:
        """The file, of mode 600: it holds settings, and so secrets."""
        return self.var / "run" / "stack.json"

    def write(self, *, settings: Settings, children: dict[str, dict[str, int | None]]) -> None:
        """Write it in one step."""
        names = setting_names(CHECKOUT / ".env.example") | PORTS.keys() | settings.made.keys() | {"VAR_DIR", "ENV_FILE"}
        environment = {name: settings.environment[name] for name in sorted(names) if name in settings.environment}
        environment |= {name: str(port) for name, port in settings.ports.items()}
        content = {
            "answered": self.answered,
            "refusal": self.refusal,
            "strange_admin": self.strange_admin,
            "children": children,
            "environment": environment,
        }
        replace_file(self.path, json.dumps(content, indent=1))

    def read(self) -> dict[str, Any]:
        """What was written last; {} when there is nothing, or nothing that can be read."""
        with suppress(FileNotFoundError, ValueError, TypeError):
            return dict(json.loads(self.path.read_text()))
        return {}

    def remove(self) -> None:
        """Forget it."""
        self.path.unlink(missing_ok=True)


def make_room(var: Path) -> None:
    """Make the directory: our own, but as root one that nobody, who runs PostgreSQL then, can pass through."""
    if not var.exists():
        var.mkdir(parents=True)
        var.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (var / "run").mkdir(mode=0o700, exist_ok=True)


def _path(var: Path) -> Path:
    return var / "run" / "lock"


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
