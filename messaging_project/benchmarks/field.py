"""The stack and the yardsticks, with what a question needs to load and to look at them."""

import json
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import redis

from messaging_project.benchmarks.books import Ledger, unsent_and_doubled
from messaging_project.benchmarks.certificate import make_certificate
from messaging_project.benchmarks.ground import ground
from messaging_project.benchmarks.posting import CONNECTIONS, Volley, post, request
from messaging_project.benchmarks.processes import command_of
from messaging_project.local import LocalError
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.processes import spawn, stop, wait_until
from messaging_project.local.running import RunningStack, family
from messaging_project.local.servers import LOOPBACK, free_port
from messaging_project.progress import Progress

PRODUCT = "messaging_project.settings"
YARDSTICKS = "messaging_project.benchmarks.yardsticks"
LATENCY_MS = 100
# Callbacks have questions of their own: in the others nobody is to be called back.
NEVER_MS = 3_600_000
START_SECONDS = 60
DRAINED_SECONDS = 180
LOOK_SECONDS = 0.2
BATCH = 1_000
OUR_NUMBER, OUR_ADDRESS = "+15551234567", "ann@example.com"

# What waits for its next try is under way; what a large world has scheduled is not.
UNDER_WAY = """
SELECT EXISTS (
        SELECT FROM conversations_message WHERE status = 'pending' AND next_attempt_at < now() + interval '1 hour')
    OR EXISTS (SELECT FROM conversations_message WHERE status IN ('sending', 'uncertain'))"""
EMPTY = """
TRUNCATE conversations_conversation, conversations_message, conversations_messageevent, webhooks_receipt CASCADE"""


class Field:
    """What is measured, and what it is measured by. All of it is gone when the block of `field` ends."""

    def __init__(self, stack: RunningStack, place: Path, mail_port: int, certificate: Path) -> None:
        self.stack = stack
        self.place = place
        self.mail_port = mail_port
        self.certificate = certificate
        self.ledgers = {
            "sms": Ledger(stack.settings.var / "sandbox" / "ledger.jsonl"),
            "email": Ledger(place / "mails.jsonl"),
        }
        self.yardstick_url = f"http://{LOOPBACK}:{free_port()}"
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.cleared_at = datetime.now(UTC)
        self.is_grown = False
        """Whether a large world lies in the tables, which then stay as they are."""
        self._numbers = count(1_000_000)

    # Start and stop

    def start(self) -> None:
        """Start what is there beside the stack. Raises `LocalError`."""
        self.key = self._manage("create_api_key", "bench", "--requests-per-minute", "1000000000").strip()
        mails = {
            "SANDBOX_LEDGER": str(self.ledgers["email"].file),
            "DJANGO_SETTINGS_MODULE": "messaging_project.settings",
        }
        door = [sys.executable, "-m", "messaging_project.benchmarks.mail_door", str(self.mail_port)]
        self.spawn("mail door", [*door, str(self.certificate)], mails)
        with self.database() as connection:
            connection.execute("CREATE DATABASE yardsticks")
        self._manage("migrate", "--run-syncdb", "-v", "0", environment=self.yardstick_environment)
        self.spawn("yardsticks", self._yardstick_server(), self.yardstick_environment)
        celery = [sys.executable, "-m", "celery", "-A", f"{YARDSTICKS}.celery", "worker", "-P", "threads", "-l", "INFO"]
        celery += ["--without-gossip", "--without-mingle"]
        for name, threads in (("nothing", 4), ("naive", 64)):
            command = [*celery, "-Q", name, "-n", f"{name}@%h", "-c", str(threads)]
            self.spawn(name, command, self.yardstick_environment)
        self._await_yardsticks()

    @property
    def yardstick_environment(self) -> dict[str, str]:
        """The environment of the yardsticks' processes: a database and a broker of their own, on the same servers."""
        return {
            "DJANGO_SETTINGS_MODULE": f"{YARDSTICKS}.settings",
            "YARDSTICK_DATABASE_URL": self.stack.env["DATABASE_URL"].removesuffix("/switchboard") + "/yardsticks",
            "YARDSTICK_BROKER_URL": self.stack.env["REDIS_URL"].removesuffix("/0") + "/1",
        }

    def _yardstick_server(self) -> list[str]:
        """The command of our own web process, with another application on another port."""
        changed = {"messaging_project.wsgi": f"{YARDSTICKS}.wsgi"}
        command = command_of(self.stack.pids("web")[0])
        address = self.yardstick_url.removeprefix("http://")
        return [address if part.startswith("fd://") else changed.get(part, part) for part in command]

    def _await_yardsticks(self) -> None:
        def are_ready() -> bool:
            answers = post(self.yardstick_url, [request(self.yardstick_url, "/hello", b"{}", {})]).answers
            return (
                answers[0].is_good and self.is_ready("nothing") and self.is_ready("naive") and self.connections() >= 0
            )

        if not wait_until(are_ready, seconds=START_SECONDS, pause=0.2):
            raise LocalError(f"The yardsticks did not start: {self.last_words()}")

    def is_ready(self, name: str) -> bool:
        """Whether a worker that was started beside the stack takes tasks."""
        return " ready." in (self.place / f"{name}.log").read_text()

    def last_line_at(self, name: str) -> float:
        """When a worker that was started beside the stack last wrote to its log, in seconds since the epoch; Celery
        writes a line when a task has ended.
        """
        return (self.place / f"{name}.log").stat().st_mtime

    def last_words(self) -> str:
        """The ends of the logs of what is there beside the stack."""
        return "; ".join(f"{log.stem}: {log.read_text()[-500:].strip()}" for log in self.place.glob("*.log"))

    def spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start a process beside the stack, in its environment with changes; return its id."""
        whole = {**self.stack.env, "PYTHONUNBUFFERED": "1", **environment}
        with open(self.place / f"{name}.log", "ab") as log:
            self.children[name] = spawn(command, environment=whole, directory=CHECKOUT, output=log.fileno())
        return self.children[name].pid

    def stop(self) -> None:
        """Stop what is there beside the stack."""
        stop(dict.fromkeys(self.children.values(), signal.SIGTERM), seconds=5)

    def _manage(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        whole = {**self.stack.env, **(environment or {})}
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=CHECKOUT, env=whole, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LocalError(f"`{arguments[0]}` failed: {done.stderr[-1000:].strip()}")
        return done.stdout

    # The client

    def wishes(self, kind: str, number: int) -> list[dict[str, Any]]:
        """Return so many sends of a kind, each to somebody new."""
        recipients = [next(self._numbers) for _ in range(number)]
        if kind == "email":
            mail = {"type": "email", "from": OUR_ADDRESS, "subject": "Your order", "body": "It is on its way to you."}
            return [{**mail, "to": f"bob{each}@example.com"} for each in recipients]
        text = {"type": kind, "from": OUR_NUMBER, "body": "Your order is on its way to you."}
        return [{**text, "to": f"+1555{each}"} for each in recipients]

    def ask(
        self, path: str, bodies: Sequence[Any], *, connections: int = CONNECTIONS, rate: float | None = None
    ) -> Volley:
        """Post to the product, with a key."""
        requests = [self.request(path, body) for body in bodies]
        return post(self.stack.url, requests, connections=connections, rate=rate)

    def request(self, path: str, body: Any, method: str = "POST") -> bytes:
        """Return the bytes of a request to the product, with a key; None for no body."""
        text = b"" if body is None else json.dumps(body).encode()
        return request(self.stack.url, path, text, {"Authorization": f"Bearer {self.key}"}, method=method)

    def ask_yardstick(self, path: str, bodies: Sequence[Any], *, rate: float | None = None) -> Volley:
        """Post to a yardstick."""
        requests = [request(self.yardstick_url, path, json.dumps(body).encode(), {}) for body in bodies]
        return post(self.yardstick_url, requests, rate=rate)

    def accept_batches(self, kind: str, number: int, connections: int = 2) -> Volley:
        """Have so many messages accepted, in batches."""
        wishes = self.wishes(kind, number)
        batches = [{"messages": wishes[start : start + BATCH]} for start in range(0, number, BATCH)]
        return self.ask("/api/v1/messages/batch", batches, connections=connections)

    # What they hold

    def database(self) -> "psycopg.Connection[Any]":
        """A connection to the product's database, in autocommit; use it as a context manager."""
        return self.stack.database()

    def yardstick_database(self) -> "psycopg.Connection[Any]":
        """A connection to the yardsticks' database, in autocommit; use it as a context manager."""
        return psycopg.connect(self.yardstick_environment["YARDSTICK_DATABASE_URL"], autocommit=True)

    def yardstick_broker(self) -> "redis.Redis":
        """A client for the yardsticks' broker; use it as a context manager."""
        return redis.Redis.from_url(self.yardstick_environment["YARDSTICK_BROKER_URL"], socket_timeout=5)

    def clear(self) -> None:
        """Begin anew, with empty tables and a new page in each ledger: no run pays for an earlier one."""
        if not self.is_grown:
            with self.database() as connection:
                connection.execute(EMPTY)
        self.cleared_at = datetime.now(UTC)
        with self.yardstick_database() as connection:
            connection.execute("TRUNCATE yardsticks_conversation, yardsticks_message CASCADE")
        for ledger in self.ledgers.values():
            ledger.turn_over()

    def workers(self, kind: str) -> list[int]:
        """The processes of the product's worker for a kind of message."""
        return self.stack.pids(kind)

    def yardstick_workers(self, name: str) -> list[int]:
        """The processes of a yardstick's worker."""
        return family(self.children[name].pid)

    def await_drained(self) -> None:
        """Wait until no message is due or under way, for minutes at most: what is not sent by then counts as unsent."""
        with self.database() as connection:
            wait_until(lambda: not one(connection, UNDER_WAY), seconds=DRAINED_SECONDS, pause=LOOK_SECONDS)

    def sent_at(self) -> float:
        """When the last message was written down as sent, in seconds since 1970."""
        with self.database() as connection:
            return float(one(connection, "SELECT extract(epoch FROM max(sent_at)) FROM conversations_message"))

    def compare(self, accepted: Sequence[str]) -> dict[str, int]:
        """Return how many of the accepted messages the providers do not have, or have more than once."""
        lines = [line for ledger in self.ledgers.values() for line in ledger.read_on()]
        unsent, doubled = unsent_and_doubled(accepted, [str(line["message_id"]) for line in lines])
        return {"unsent": unsent, "doubled": doubled}

    def await_naive(self, number: int) -> None:
        """Wait until the naive design has sent so many messages, for minutes at most."""
        sent = "SELECT count(*) FROM yardsticks_message WHERE status = 'sent'"
        with self.yardstick_database() as connection:
            wait_until(lambda: one(connection, sent) >= number, seconds=DRAINED_SECONDS, pause=LOOK_SECONDS)

    def naive_sent_at(self) -> float:
        """When the naive design sent its last message, in seconds since 1970."""
        with self.yardstick_database() as connection:
            return float(one(connection, "SELECT extract(epoch FROM max(sent_at)) FROM yardsticks_message"))

    def compare_naive(self, recipients: Sequence[str]) -> dict[str, int]:
        """Return how many of its messages the provider does not have, or has more than once."""
        offered = [str(line["recipient"]) for line in self.ledgers["sms"].read_on()]
        unsent, doubled = unsent_and_doubled(recipients, offered)
        return {"unsent": unsent, "doubled": doubled}

    def connections(self) -> int:
        """How many connections to the mail provider were opened so far, -1 while it is not up."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        try:
            with urllib.request.urlopen(f"https://{LOOPBACK}:{self.mail_port}/connections", context=context) as answer:
                return int(answer.read())
        except OSError:
            return -1


def one(connection: "psycopg.Connection[Any]", query: LiteralString) -> Any:
    """Return the one value that a query answers."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def field(progress: Callable[[str, int], Progress]) -> Iterator[Field]:
    """Start everything; stop it whatever happens. Raises `LocalError` with the cause."""
    place = Path(tempfile.mkdtemp(prefix="switchboard-field-"))
    certificate, mail_port = place / "certificate.pem", free_port()
    make_certificate(certificate)
    settings = {
        "DEBUG": "false",
        "SANDBOX_LATENCY_MS": str(LATENCY_MS),
        "SANDBOX_CALLBACK_DELAY_MS": str(NEVER_MS),
        "SENDGRID_BASE_URL": f"https://{LOOPBACK}:{mail_port}",
        "SSL_CERT_FILE": str(certificate),
    }
    try:
        with ground(None, progress, **settings) as stack:
            found = Field(stack, place, mail_port, certificate)
            try:
                with progress("yardsticks", 1) as step:
                    found.start()
                    step.advance()
                yield found
            finally:
                found.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)
