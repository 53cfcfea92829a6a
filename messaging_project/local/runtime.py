"""What a running stack leaves in `var/run` for the commands that speak to it: a lock and a state file.

The lock is inherited by every child, so it is free only when the last of them is gone.
"""

import fcntl
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from messaging_project.local import LocalError
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.processes import alive
from messaging_project.local.settings_file import PORTS, Settings, setting_names

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
            supervisor = holder(var)
            if (supervisor and alive(supervisor)) or time.monotonic() > deadline:
                os.close(handle)
                raise LocalError(
                    f"A stack runs on {var} already: `make stop` stops it. VAR_DIR gives another one room."
                )
            time.sleep(0.1)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        return cls(handle)


def is_running(var: Path) -> bool:
    """Whether anything of a stack is alive on this directory."""
    if not _path(var).exists():
        return False
    handle = os.open(_path(var), os.O_RDWR)
    try:
        return not _locked(handle)
    finally:
        os.close(handle)


def holder(var: Path) -> int | None:
    """The process id of the supervisor that took the lock last."""
    with suppress(OSError, ValueError):
        return int(_path(var).read_text())
    return None


@dataclass
class State:
    """What runs: ids of processes, how often each was started, ports, and the settings the stack was started with."""

    var: Path
    answered: int = field(default=0)
    """How many requests by signal the supervisor has carried out."""

    @property
    def path(self) -> Path:
        """The file, of mode 600: it holds settings, and so secrets."""
        return self.var / "run" / "stack.json"

    def write(self, *, settings: Settings, children: dict[str, dict[str, int | None]]) -> None:
        """Write it in one step."""
        names = setting_names(CHECKOUT / ".env.example") | PORTS.keys() | settings.made | {"VAR_DIR", "ENV_FILE"}
        environment = {name: settings.environment[name] for name in sorted(names) if name in settings.environment}
        environment |= {name: str(port) for name, port in settings.ports.items()}
        content = {
            "supervisor": os.getpid(),
            "answered": self.answered,
            "children": children,
            "environment": environment,
        }
        handle, unfinished = tempfile.mkstemp(dir=self.path.parent)
        with open(handle, "w") as file:
            json.dump(content, file, indent=1)
        os.replace(unfinished, self.path)

    def read(self) -> dict[str, Any]:
        """What was written last; {} when there is nothing."""
        try:
            return dict(json.loads(self.path.read_text()))
        except FileNotFoundError:
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
