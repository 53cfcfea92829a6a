"""Who carries messages in a drill: a process for each provider, in the drill's own hands, so that it can be away."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from messaging_project.local import LocalError
from messaging_project.local.processes import signal_group, wait_until
from messaging_project.local.servers import LOOPBACK, free_port

PRODUCT = "messaging_project.settings"
SANDBOX = ("manage.py", "sandbox")
POST_OFFICE = ("-m", "messaging_project.drills.post_office")
BACK_SECONDS = 30

Spawn = Callable[[str, Sequence[str], Mapping[str, str]], "subprocess.Popen[bytes]"]


class Carrier:
    """A process that plays providers. However often it is killed, its port and its ledger stay the same.

    `suffix` is what the names of its accounts end with, after that of their provider.
    """

    def __init__(self, name: str, command: Sequence[str], ledger: Path, suffix: str = "", **credentials: str) -> None:
        self.name = name
        self.command = [sys.executable, *command]
        self.ledger = ledger
        self.suffix = suffix
        self.credentials = credentials
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers, if it speaks HTTP."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self, spawn: Spawn) -> None:
        """Start it; return once it takes connections. Raises `LocalError` when it does not."""
        own = {"SANDBOX_PORT": str(self.port), "SANDBOX_LEDGER": str(self.ledger), "DJANGO_SETTINGS_MODULE": PRODUCT}
        self.process = spawn(self.name, self.command, own | self.credentials)
        if not wait_until(self._takes_connections, seconds=BACK_SECONDS):
            raise LocalError(f"The {self.name} did not start.")

    def _takes_connections(self) -> bool:
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1):
            return True
        return False

    def kill(self) -> None:
        """Kill it: from now on connections are refused."""
        assert self.process is not None
        signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
