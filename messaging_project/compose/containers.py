"""A process where its container would be: with the image's files, its volumes, a /tmp and a host name of its own."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from messaging_project.compose import ComposeError
from messaging_project.compose.file import Service
from messaging_project.compose.image import SYSTEM_PATH, Image, packages_of_this_machine
from messaging_project.local.processes import signal_group, spawn, stop

# The files are mounted so that they can't be written to, as they belong to root in the image, and its user is another.
ENTER = r"""
mount --bind "$PACKAGES" "$MOUNTED"
mount -t tmpfs tmpfs /srv
mkdir -p "$WORKDIR"
mount --bind "$FILES" "$WORKDIR"
mount -o remount,bind,ro "$WORKDIR"
for volume in $VOLUMES; do
    mkdir -p "${volume#*:}"
    mount --bind "${volume%%:*}" "${volume#*:}"
done
mount --bind "$SCRATCH" /tmp
if [ "$READ_ONLY" ]; then
    mount -o remount,bind,ro /srv
    mount -o remount,bind,ro /
fi
hostname "$HOSTNAME"
cd "$WORKDIR"
exec env -i "$@"
"""


@dataclass
class Container:
    """One service's container. `start` returns at once; what it prints is in `log`."""

    service: Service
    image: Image
    place: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """The service's name, which is the container's host name as well."""
        return self.service.name

    @property
    def log(self) -> Path:
        """The file with all that it printed."""
        return self.place / "logs" / f"{self.name}.log"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of what runs in it. The account of the image has no home."""
        own = {"HOSTNAME": self.name, "HOME": "/home/switchboard"}
        return {**self.image.environment, **own, **self.service.environment}

    @property
    def runs(self) -> bool:
        """Whether its process is alive."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, or another one in its place."""
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("ab") as output:
            self.process = self.enter(self.service.command or self.image.command, output.fileno())

    def enter(self, command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
        """Start a command as it would run in this container, or in another one of the same service."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return spawn(
            [program("unshare"), "--mount", "--uts", "sh", "-euc", ENTER, "sh", *variables, *command],
            environment=self.directories(),
            directory=Path("/"),
            output=output,
        )

    def directories(self) -> dict[str, str]:
        """What is mounted where, for `ENTER`."""
        scratch = self.place / "scratch" / self.name
        scratch.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": SYSTEM_PATH,
            "PACKAGES": str(packages_of_this_machine()),
            "MOUNTED": str(self.image.mounted),
            "FILES": str(self.image.files),
            "WORKDIR": self.image.workdir,
            "VOLUMES": " ".join(f"{self.volume(name)}:{path}" for path, name in self.service.volumes.items()),
            "SCRATCH": str(scratch),
            "READ_ONLY": "yes" if self.service.read_only else "",
            "HOSTNAME": self.name,
        }

    def volume(self, name: str) -> Path:
        """The directory of a volume, which all who name it share."""
        directory = self.place / "volumes" / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def is_healthy(self) -> bool:
        """Run the health check once, as it is written."""
        if self.service.health is None or not self.runs:
            return self.runs
        return self.run(self.service.health.command, seconds=self.service.health.timeout)[0] == 0

    def run(self, command: Sequence[str], *, seconds: float) -> tuple[int, str]:
        """Run a command to its end, in a container like this one; its exit code and output. -1 when time is up."""
        process = self.enter(command, subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            stop({process: signal.SIGKILL}, seconds=1)
            return -1, ""
        return process.returncode, output.decode(errors="replace")

    def terminate(self) -> None:
        """Tell it to go."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> bool:
        """End what is left of it; whether it was still there itself."""
        assert self.process is not None
        was_there = self.runs
        signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return was_there

    def remove(self) -> None:
        """Be rid of it, however it stands."""
        if self.process is not None:
            self.kill()


def program(name: str) -> str:
    """The whole path of a program of this machine. Raises `ComposeError` without it."""
    found = shutil.which(name, path=f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}")
    if found is None:
        raise ComposeError(f"There is no `{name}` on this machine.")
    return found
