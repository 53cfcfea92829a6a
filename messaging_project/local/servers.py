"""A real PostgreSQL and a real Valkey on loopback, each with a password, a directory of its own and a port.

    with PostgreSQL(directory, password="…") as database:
        psycopg.connect(database.url)

`start` returns once the server answers. Both can be started again after whatever ended them.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

import psycopg
import redis
from psycopg import sql

from messaging_project.local import LocalError
from messaging_project.local.binaries import (
    database_account,
    discard,
    postgres_programs,
    usable_directory,
    valkey_program,
)
from messaging_project.local.processes import spawn, stop

LOOPBACK = "127.0.0.1"
START_SECONDS = 60
# Nothing of the caller's environment (PGDATA, PGPORT, LD_LIBRARY_PATH …) may steer a server.
SERVER_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """What PostgreSQL and Valkey have in common: a process, and the wait until it answers."""

    name: str
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        directory: Path,
        *,
        password: str,
        port: int | None = None,
        durable: bool = True,
        output: IO[bytes] | int | None = subprocess.DEVNULL,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self.directory = directory
        self.password = password
        self.port = port or free_port()
        self.durable = durable
        self.output = output
        self.keep_open = keep_open
        self.process: subprocess.Popen[bytes] | None = None
        self.find()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it answers, with its password."""

    @abstractmethod
    def find(self) -> None:
        """Find the programs. Raises `LocalError` when there are none."""

    @abstractmethod
    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process, without waiting until it answers."""

    @abstractmethod
    def ask(self) -> None:
        """Ask the server something small. Raises what the client library raises while it does not answer yet."""

    def start(self) -> Self:
        """Start and wait until it answers. Raises `LocalError` when it does not."""
        self.launch()
        self.wait()
        return self

    def wait(self, turn: Callable[[], None] = lambda: time.sleep(0.02)) -> None:
        """Wait until the server answers; `turn` is called between two tries."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.ask()
            except (psycopg.OperationalError, redis.RedisError) as reason:
                refused = isinstance(reason, redis.AuthenticationError) or "password" in str(reason)
                if refused or time.monotonic() > deadline or self.process is None or self.process.poll() is not None:
                    raise LocalError(self.trouble(refused)) from reason
            turn()

    def trouble(self, refused: bool) -> str:
        """Say in a sentence why the server can't be used."""
        if refused:
            return f"{self.name} on port {self.port} refuses our password: its data belong to other settings than ours."
        return f"{self.name} did not start on port {self.port}: its own output says why."

    def stop(self) -> None:
        """Stop it, at the latest by force. Nothing happens when it is not running."""
        if self.process is not None:
            stop({self.process: self.stop_signal}, seconds=20)
            self.process = None

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        discard(self.directory)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class PostgreSQL(Server):
    """PostgreSQL with the superuser and database `switchboard`.

    `durable=False` leaves fsync out: faster, and fit only for data that nobody will miss.
    """

    name = "PostgreSQL"
    wheel_first = True
    stop_signal = signal.SIGINT  # "fast": ends the sessions and not merely waits for them

    def find(self) -> None:
        """Find the programs, and a place for the data that the account can use."""
        self.account = database_account()
        self.programs = postgres_programs(self.directory, self.account, wheel_first=self.wheel_first)
        self.place = usable_directory(self.directory, self.account)
        self.data = self.place / "data"

    @property
    def url(self) -> str:
        """The URL of the database `switchboard`."""
        return self.url_of("switchboard")

    def url_of(self, database: str) -> str:
        """The URL of one database on this server."""
        return f"postgres://switchboard:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start `postgres`, on a cluster made now if there is none."""
        if not self.data.exists():
            self._make_cluster()
        self._forget_stale_lock()
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",  # a socket's path is limited to 107 bytes, a checkout's is not
            "max_connections": 200,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_min_messages": "log",  # errors quote statements and rows; who causes one logs it, without them
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        self.process = spawn(
            [str(self.programs / "postgres"), "-D", str(self.data), *arguments],
            environment=SERVER_ENVIRONMENT,
            directory=Path("/"),
            output=self.output,
            account=self.account,
            death_signal=signal.SIGINT,
            keep_open=self.keep_open,
        )
        return self.process

    def ask(self) -> None:
        """Connect, and make the database if it is missing."""
        with psycopg.connect(self.url_of("postgres"), autocommit=True, connect_timeout=5) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'switchboard'").fetchone():
                connection.execute(sql.SQL("CREATE DATABASE switchboard"))

    def _make_cluster(self) -> None:
        """Run `initdb` beside the final place and move the result there, so that half a cluster is never found."""
        unfinished, secret = self.place / "unfinished", self.place / "password"
        shutil.rmtree(unfinished, ignore_errors=True)
        secret.unlink(missing_ok=True)
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.password)
        if self.account:
            os.chown(secret, self.account.user_id, self.account.group_id)
        command = [
            str(self.programs / "initdb"),
            f"--pgdata={unfinished}",
            f"--pwfile={secret}",
            "--username=switchboard",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *self._locale(),
            *([] if self.durable else ["--no-sync"]),
        ]
        try:
            self._initdb(command)
        finally:
            secret.unlink(missing_ok=True)
        unfinished.rename(self.data)

    def _initdb(self, command: list[str]) -> None:
        process = spawn(
            command,
            environment=SERVER_ENVIRONMENT,
            directory=Path("/"),
            output=subprocess.PIPE,
            account=self.account,
        )
        output, _ = process.communicate()
        if process.returncode:
            raise LocalError(f"PostgreSQL's initdb failed: {output.decode(errors='replace')[-500:].strip()}")

    def _locale(self) -> list[str]:
        """Case folding beyond ASCII, which search needs: PostgreSQL's own since 17, before that the machine's."""
        version = subprocess.run([self.programs / "initdb", "--version"], capture_output=True, text=True, check=True)
        major = int(version.stdout.split()[-1].split(".")[0]) if version.stdout.split()[-1][:1].isdigit() else 0
        if major >= 17:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C.UTF-8"]

    def _forget_stale_lock(self) -> None:
        """Remove the lock file of a server that was killed, when its process id now belongs to another program.

        PostgreSQL does it by itself when the id is free; after a restart of a container it seldom is.
        """
        lock = self.data / "postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            owner = Path("/proc") / lock.read_text().splitlines()[0] / "comm"
            if not owner.read_text().startswith("postgres"):
                lock.unlink()


class Valkey(Server):
    """Valkey (or Redis). `durable` keeps its data in an append-only file."""

    name = "Valkey"

    def find(self) -> None:
        """Find the program."""
        self.program = valkey_program()

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server with a configuration file, because `ps` shows arguments to everyone."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "requirepass": self.password,
            "appendonly": "yes" if self.durable else "no",
            "save": '""',
            "maxmemory-policy": "noeviction",  # anything else drops queued tasks in silence
            "loglevel": "warning",
        }
        configuration = self.directory / "valkey.conf"
        with open(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in settings.items())
        self.process = spawn(
            [str(self.program), str(configuration)],
            environment=SERVER_ENVIRONMENT,
            directory=self.directory,  # where it puts its data, too
            output=self.output,
            keep_open=self.keep_open,
        )
        return self.process

    def ask(self) -> None:
        """PING."""
        with redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
