"""The real stack of a drill. Servers and sandbox are in the drill's own hands, so that they can stay away for a while;
everything else runs under the supervisor of the local stack, which starts again what a drill kills.
"""

import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import redis

from messaging_project.drills.carriers import BACK_SECONDS, POST_OFFICE, PRODUCT, SANDBOX, Carrier
from messaging_project.local import LocalError, control
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.probe import trouble
from messaging_project.local.processes import signal_group, spawn, stop, wait_until
from messaging_project.local.running import Answer, RunningStack, family, stack_environment
from messaging_project.local.servers import LOOPBACK, PostgreSQL, Valkey
from messaging_project.local.settings_file import look

WORKERS = ("sms", "mms", "email", "sweep", "events")
# Times short enough for a drill; every rule between them holds as it does with the shipped ones.
SHORT_TIMES = {
    "LEASE_SECONDS": "10",
    "PROVIDER_TIMEOUT_SECONDS": "3",
    "SETTLE_SECONDS": "15",
    "SETTLE_MARGIN_SECONDS": "5",
    "SETTLE_GAP_SECONDS": "3",
    "SETTLE_DEADLINE_SECONDS": "10",
    "RETRY_BASE_SECONDS": "0.5",
    "RETRY_CEILING_SECONDS": "8",
    "BREAKER_SECONDS": "2",
    "PROBE_SECONDS": "5",
}
SHIPPED_TIMES: dict[str, str] = {}
SANDBOX_TIMES = {"SANDBOX_LATENCY_MS": "50", "SANDBOX_CALLBACK_DELAY_MS": "100"}
HEALTHY_SECONDS = 60


class DrillStack:
    """A whole stack in a temporary directory, from `start` until `discard`."""

    def __init__(self, settings: Mapping[str, str], module: str = PRODUCT) -> None:
        self.settings = settings
        self.module = module
        self.place = Path(tempfile.mkdtemp(prefix="switchboard-drill-"))
        self.place.chmod(0o711)  # as root, PostgreSQL runs as nobody, who has to pass through
        self.postgres = PostgreSQL(self.place / "postgres", password=secrets.token_hex(12), durable=True)
        self.valkey = Valkey(self.place / "valkey", password=secrets.token_hex(12), durable=False)
        ledgers = self.place / "var" / "sandbox"
        self.sandbox = Carrier("sandbox", SANDBOX, ledgers / "ledger.jsonl")
        backup = {"TWILIO_ACCOUNT_SID": f"AC{secrets.token_hex(16)}", "TWILIO_AUTH_TOKEN": secrets.token_hex(16)}
        self.backup = Carrier("backup", SANDBOX, ledgers / "backup.jsonl", "_backup", **backup)
        self.post_office = Carrier("post_office", POST_OFFICE, ledgers / "letters.jsonl")
        self.beside: list[subprocess.Popen[bytes]] = []

    @property
    def carriers(self) -> list[Carrier]:
        """Those that messages may go to: the sandbox, and who else is on a route."""
        routes = ",".join(value for name, value in self.settings.items() if name.startswith("ROUTE_")).split(",")
        others = {"twilio_backup": self.backup, "smtp": self.post_office}
        return [self.sandbox, *(carrier for account, carrier in others.items() if account in routes)]

    @property
    def logs(self) -> Path:
        """The directory of all logs."""
        return self.running.logs

    def start(self, **more: str) -> None:
        """Start everything; return once /health is 200. Raises `LocalError` with the cause."""
        self.postgres.start()
        self.valkey.start()
        given = {
            "DJANGO_SETTINGS_MODULE": self.module,
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "TWILIO_BASE_URL": self.sandbox.url,
            "SENDGRID_BASE_URL": self.sandbox.url,
            "TWILIO_BACKUP_BASE_URL": self.backup.url,
            **{name.replace("TWILIO", "TWILIO_BACKUP"): value for name, value in self.backup.credentials.items()},
            "SMTP_URL": f"smtp://{LOOPBACK}:{self.post_office.port}",
            **SANDBOX_TIMES,
            **self.settings,
            **more,
        }
        settings, _ = control.start_in_background(look(stack_environment(self.place / "var", **given)), throw_away=True)
        self.running = RunningStack(settings)
        for carrier in self.carriers:
            carrier.start(self._spawn)

    def discard(self) -> None:
        """Stop everything and delete it."""
        with suppress(LocalError):
            control.stop(self.place / "var")
        carriers = filter(None, (carrier.process for carrier in self.carriers))
        stop(dict.fromkeys((*self.beside, *carriers), signal.SIGKILL), seconds=5)
        self.valkey.stop()
        self.postgres.remove()
        shutil.rmtree(self.place, ignore_errors=True)

    def suits(self, settings: Mapping[str, str], module: str) -> bool:
        """Whether it runs with these settings and this settings module."""
        return (self.settings, self.module) == (settings, module)

    def is_well(self) -> bool:
        """Whether /health comes to be 200 in a while."""
        return wait_until(lambda: not trouble(self.running.url), seconds=HEALTHY_SECONDS, pause=0.5)

    # The sandbox

    def start_sandbox(self) -> None:
        """Start it; return once it takes connections."""
        self.sandbox.start(self._spawn)

    def tell_sandbox(self, method: str, path: str, wish: Any = None) -> Answer:
        """Ask one of the sandbox's own pages."""
        return self.running.call(method, f"{self.sandbox.url}{path}", wish)

    def kill_sandbox(self) -> None:
        """Kill it: from now on connections are refused."""
        self.sandbox.kill()

    # The servers

    def kill_valkey(self) -> None:
        """Kill Valkey; what lay in its queues is gone."""
        assert self.valkey.process is not None
        signal_group(self.valkey.process.pid, signal.SIGKILL)
        self.valkey.process.wait()

    def crash_postgres(self) -> None:
        """Kill PostgreSQL with all its backends, as when the machine goes."""
        assert self.postgres.process is not None
        for pid in family(self.postgres.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.postgres.process.wait()

    def restart_postgres(self) -> None:
        """Start it again; it recovers from its log. Its shared memory may need a moment to be free."""
        for _ in range(20):
            with suppress(LocalError):
                self.postgres.start()
                return
            time.sleep(0.2)
        raise LocalError("PostgreSQL did not come back.")

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        """The rows of a query."""
        with psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(query, parameters).fetchall()

    def execute(self, query: str, *parameters: Any) -> None:
        """Change the database behind the product's back."""
        with psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(query, parameters)

    def rings(self) -> "redis.Redis":
        """A client for the broker; use it as a context manager."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=5)

    # The processes under the supervisor

    def leader(self, name: str) -> int:
        """The process id of a child of the supervisor, once it runs."""
        if not wait_until(lambda: bool(self.running.pids(name)), seconds=BACK_SECONDS):
            raise LocalError(f"{name} does not run.")
        return self.running.pids(name)[0]

    def kill(self, name: str, dice: random.Random | None = None) -> None:
        """Kill a child with all its processes; with dice, now and then only one of the processes it forked."""
        pids = [self.leader(name), *self.running.pids(name)[1:]]
        victims = [dice.choice(pids[1:])] if dice and len(pids) > 1 and dice.random() < 0.5 else pids
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signal the leader of a child, and with SIGSTOP and SIGCONT all its processes."""
        everybody = number in (signal.SIGSTOP, signal.SIGCONT)
        leader = self.leader(name)
        for pid in family(leader) if everybody else [leader]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def replace(self, name: str) -> None:
        """Ask a child to go; return once another one stands in its place."""
        old = self.leader(name)
        os.kill(old, signal.SIGTERM)
        if not wait_until(lambda: self.running.pids(name)[:1] not in ([], [old]), seconds=BACK_SECONDS):
            raise LocalError(f"{name} was not started again.")

    # Processes beside the supervisor

    def start_beside(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """One more process with the stack's environment, such as a second sweeper."""
        process = self._spawn(name, [sys.executable, "-m", *command], {})
        self.beside.append(process)
        return process

    def stop_beside(self) -> None:
        """Stop those."""
        stop(dict.fromkeys(self.beside, signal.SIGTERM), seconds=25)
        self.beside.clear()

    def _spawn(self, name: str, command: Sequence[str], own: Mapping[str, str]) -> subprocess.Popen[bytes]:
        log = os.open(self.logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return spawn(command, environment=self.running.env | dict(own), directory=CHECKOUT, output=log)
        finally:
            os.close(log)
