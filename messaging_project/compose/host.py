"""The Docker host, by hand: starts the services, each once what it waits for is so, and makes them anew."""

import fcntl
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from messaging_project.compose import ComposeError
from messaging_project.compose.containers import Container, program
from messaging_project.compose.file import COMPLETED, Service
from messaging_project.compose.image import build
from messaging_project.compose.servers import Database, Redis
from messaging_project.local.processes import wait_until

LONGEST_MIGRATION_SECONDS = 120.0
ONE_OFF_SECONDS = 120.0
GET_FLAGS, SET_FLAGS, IS_UP = 0x8913, 0x8914, 1


class Host:
    """Everything that is up, in a directory of its own, until `discard`."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        # Not below /tmp, where every container has a directory of its own.
        self.place = Path(tempfile.mkdtemp(prefix="switchboard-compose-", dir="/var/tmp"))
        self.place.chmod(0o711)  # as root, PostgreSQL runs as nobody, who has to pass through
        image = build(self.place)
        kinds: dict[str, type[Container]] = {"db": Database, "redis": Redis}
        self.containers = {
            name: kinds.get(name, Container)(service, image, self.place) for name, service in services.items()
        }

    def connect(self) -> None:
        """Bring loopback up, and let each service be found by its name.

        A service that listens on 127.0.0.1 alone is not reached by its name, as it would not be in compose. The
        servers are none of ours, and do listen there.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            name, flags = struct.unpack("16sh", fcntl.ioctl(any_socket, GET_FLAGS, struct.pack("16sh", b"lo", 0)))
            fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", name, flags | IS_UP))
        names = {"localhost": "127.0.0.1", "db": "127.0.0.1", "redis": "127.0.0.1"}
        for number, service in enumerate(self.containers, 2):
            names.setdefault(service, f"127.0.18.{number}")
        hosts = self.place / "hosts"
        hosts.write_text("".join(f"{address} {name}\n" for name, address in names.items()))
        subprocess.run([program("mount"), "--bind", str(hosts), "/etc/hosts"], check=True)

    def start(self, *names: str) -> None:
        """Start services, each once what it waits for is so, and wait until all of them are well. Raises
        `ComposeError`.
        """
        waiting = list(names or self.containers)
        while waiting:
            startable = [name for name in waiting if not self.unmet(name) & set(waiting)]
            if not startable:
                raise ComposeError(f"Nothing can start: {', '.join(waiting)} wait for each other.")
            for name in startable:
                for other, condition in self.containers[name].service.waits_for.items():
                    self.await_condition(other, condition)
                self.containers[name].start()
            waiting = [name for name in waiting if name not in startable]
        for name in names or self.containers:
            self.await_health(name)

    def unmet(self, name: str) -> set[str]:
        """What a service waits for."""
        return set(self.containers[name].service.waits_for)

    def await_condition(self, name: str, condition: str) -> None:
        """Wait for what another service waits for. Raises `ComposeError` when it does not come true."""
        if condition != COMPLETED:
            self.await_health(name)
            return
        process = self.containers[name].process
        assert process is not None
        try:
            code = process.wait(LONGEST_MIGRATION_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise ComposeError(f"{name} ended with {code}: {self.last_words(name)}")

    def await_health(self, name: str) -> None:
        """Wait until a service is healthy, for as long as Docker would. Raises `ComposeError`."""
        container = self.containers[name]
        if not container.service.restarts:
            self.await_condition(name, COMPLETED)
            return
        patience = container.service.health.patience if container.service.health else 0
        healthy = wait_until(lambda: not container.runs or container.is_healthy(), seconds=patience, pause=1)
        if not healthy or not container.runs:
            trouble = f"is not healthy after {patience:g} s" if container.runs else "ended"
            raise ComposeError(f"{name} {trouble}: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        """The end of what a container printed."""
        log = self.containers[name].log
        return log.read_text(errors="replace")[-1500:] if log.exists() else "it printed nothing."

    def restart(self, names: Iterable[str]) -> dict[str, float]:
        """Make services anew, all of these at a time, as after a new image was built; the seconds that each took to
        end. Raises `ComposeError` when one had to be killed, or is not well afterwards.
        """
        took = stop_together([self.containers[name] for name in names])
        self.start(*took)
        return took

    def run(self, name: str, *command: str, seconds: float = ONE_OFF_SECONDS, **environment: str) -> str:
        """Do what `docker compose run --rm -e … SERVICE COMMAND` does; what it printed. Raises `ComposeError`."""
        more = [f"{key}={value}" for key, value in environment.items()]
        code, output = self.containers[name].run(["env", *more, *command], seconds=seconds)
        if code != 0:
            raise ComposeError(f"`{' '.join(command)}` in {name} ended with {code}: {output[-1500:]}")
        return output

    def discard(self) -> None:
        """Stop everything, the servers last, and delete it."""
        servers = [self.containers[name] for name in ("redis", "db")]
        for container in [*(each for each in self.containers.values() if each not in servers), *servers]:
            container.remove()
        shutil.rmtree(self.place, ignore_errors=True)


def stop_together(containers: Sequence[Container]) -> dict[str, float]:
    """Stop containers at the same time, as Docker does; the seconds that each took. Raises `ComposeError` when one had
    to be killed.
    """
    began, took = time.monotonic(), dict[str, float]()
    for container in containers:
        container.terminate()
    while left := [each for each in containers if each.name not in took]:
        passed = time.monotonic() - began
        took |= {each.name: passed for each in left if not each.runs or passed > each.service.stop_seconds}
        time.sleep(0.05)
    killed = [container.name for container in containers if container.kill()]
    if killed:
        raise ComposeError(f"{', '.join(killed)} had to be killed, so long after SIGTERM: {took}")
    return took
