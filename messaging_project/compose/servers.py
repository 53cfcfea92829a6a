"""The services that are not made from our image: PostgreSQL and Redis, as this machine's packages have them where they
are installed, else out of wheels.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from messaging_project.compose.containers import Container
from messaging_project.compose.image import SYSTEM_PATH
from messaging_project.local.binaries import valkey_program
from messaging_project.local.processes import spawn
from messaging_project.local.servers import PostgreSQL

# There is no redis-cli in a wheel. This one knows what the health check asks, and nothing else.
REDIS_CLI = f"""#!{sys.executable}
import os, redis, sys
assert sys.argv[1:] == ["ping"], "only ping"
print("PONG" if redis.Redis(password=os.environ["REDISCLI_AUTH"]).ping() else "")
"""


@dataclass
class ServerContainer(Container):
    """A server in a directory of its own. The words of its command are looked for among `programs` first."""

    programs: Path = field(default=Path())

    def enter(self, command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
        """Start a command beside its data."""
        path = f"{self.programs}:{SYSTEM_PATH}"
        return spawn(
            [shutil.which(command[0], path=path) or command[0], *command[1:]],
            environment={"PATH": path, **self.service.environment},
            directory=self.volume(next(iter(self.service.volumes.values()))),
            output=output,
        )


@dataclass
class Redis(ServerContainer):
    """Redis, or Valkey where there is none, with the command of the file."""

    def start(self) -> None:
        """Put the programs where the commands find them, and start it."""
        self.programs = self.place / "programs"
        self.programs.mkdir(exist_ok=True)
        server, cli = self.programs / "redis-server", self.programs / "redis-cli"
        if not server.exists():
            server.symlink_to(valkey_program(wheel_first=False))
        if not shutil.which("redis-cli", path=f"{self.programs}:{SYSTEM_PATH}"):
            cli.write_text(REDIS_CLI)
            cli.chmod(0o755)
        super().start()

    def __str__(self) -> str:
        return str((self.programs / "redis-server").readlink())


class InstalledPostgreSQL(PostgreSQL):
    """PostgreSQL as this machine's packages have it."""

    wheel_first = False


@dataclass
class Database(ServerContainer):
    """PostgreSQL. What the image's entry point does is done here: a cluster with this user, password and database."""

    def start(self) -> None:
        """Start it and wait until it answers."""
        given = self.service.environment
        assert {given["POSTGRES_USER"], given["POSTGRES_DB"]} == {"switchboard"}
        place = self.place / "postgres"
        self.server = InstalledPostgreSQL(place, password=given["POSTGRES_PASSWORD"], port=5432, durable=False)
        self.programs = self.server.programs
        self.server.start()
        self.process = self.server.process

    def remove(self) -> None:
        """Stop it and delete its data."""
        if self.process is not None:
            self.server.remove()

    def __str__(self) -> str:
        return str(self.programs)
