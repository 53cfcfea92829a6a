"""The supervisor: which processes there are, in which order; it keeps them alive and stops them.

    PostgreSQL, Valkey   →   migrate, admin   →   sandbox   →   web, workers, sweeper, Flower

One thread, one loop. SIGINT and SIGTERM stop everything in the reverse order, a second one at once; SIGHUP restarts
web and workers; SIGUSR1 stops the workers of the messages until SIGUSR2.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psycopg

from messaging_project.local import LocalError
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.output import Output
from messaging_project.local.probe import needs_key, trouble
from messaging_project.local.processes import signal_group, spawn, stop
from messaging_project.local.runtime import Lock, State
from messaging_project.local.servers import PostgreSQL, Server, Valkey
from messaging_project.local.settings_file import Settings, look, prepare

CHANNELS = ("sms", "mms", "email")
SERVERS = ("postgres", "valkey")
SANDBOXES = ("sandbox", "test-sandbox")
STOP_SECONDS = 25
LONGEST_PAUSE = 1.0
STEADY_AFTER_SECONDS = 10
COMPLAIN_AFTER_SECONDS = 30
PYTHON = (sys.executable, "-m")
MAKE_A_KEY = "  .venv/bin/python manage.py create_api_key NAME"
FIRST_CURL = """curl -X POST {url}/api/v1/messages/send -H 'Content-Type: application/json' \\
  -d '{{"from":"+15551234567","to":"+15559876543","type":"sms","body":"Test before worker"}}'"""


class Stopped(Exception):
    """Somebody asked the stack to stop."""


class Child:
    """One process of the stack: how it is started, and what became of it so far."""

    def __init__(
        self, name: str, launch: Callable[[int], subprocess.Popen[bytes]], stop_signal: signal.Signals
    ) -> None:
        self.name = name
        self.launch = launch
        self.stop_signal = stop_signal
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = True
        self.failures = 0
        self.started_at = self.due_at = 0.0

    @property
    def runs(self) -> bool:
        """Whether its process is alive."""
        return self.process is not None and self.process.poll() is None

    def start(self, output: Output) -> None:
        """Start it now."""
        pipe = output.open(self.name)
        try:
            self.process = self.launch(pipe)
        finally:
            os.close(pipe)
        self.started_at = time.monotonic()

    def bury(self) -> str:
        """End what its dead leader left behind, and say how that one ended.

        It is due again at once, or after a pause that grows while it keeps dying young.
        """
        assert self.process is not None
        signal_group(self.process.pid, signal.SIGKILL)
        code = self.process.returncode
        steady = time.monotonic() - self.started_at > STEADY_AFTER_SECONDS
        self.failures = 0 if steady else self.failures + 1
        pause = min(LONGEST_PAUSE, 0.25 * 2 ** (self.failures - 1)) if self.failures > 1 else 0.0
        self.due_at = time.monotonic() + pause
        self.process = None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


class Stack:
    """Everything that `make run` runs."""

    def __init__(
        self, settings: Settings, output: Output, lock: Lock, listener: socket.socket, *, durable: bool
    ) -> None:
        self.settings = settings
        self.output = output
        self.lock = lock
        self.listener = listener
        self.durable = durable
        self.state = State(settings.var)
        self.requests: list[signal.Signals] = []
        self.stops = 0
        self.announced = self.state_is_old = False
        self.look_at = self.complain_at = 0.0
        self.children: list[Child] = []

    def run(self) -> int:
        """Run until somebody asks to stop. Returns the exit code: 0 unless the stack could not start."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self.note)
        try:
            self.start()
            while True:
                self.turn()
                self.answer_requests()
                self.revive()
                self.announce()
        except Stopped:
            return 0
        except (LocalError, OSError) as error:
            self.output.say(f"error: {error}")
            return 1
        finally:
            self.stop_everything()

    def start(self) -> None:
        """Start everything in its order."""
        for child, server in self.make_servers():
            self.children.append(child)
            child.start(self.output)
            self.write_state()
            server.wait(self.turn)
        self.finish("migrate", "manage.py", "migrate", "--no-input", "-v", "1")
        self.forget_heartbeats()
        keep = [] if "ADMIN_PASSWORD" in self.settings.given else ["--keep-password"]
        self.state.strange_admin = self.finish("admin", "manage.py", "ensure_admin", *keep, fine=(0, 3)) == 3
        for name, command in self.commands().items():
            self.children.append(Child(name, self.launcher(name, command), signal.SIGTERM))
        self.revive()

    def make_servers(self) -> Iterable[tuple[Child, Server]]:
        """The servers that nobody gave us a URL for."""
        made, ports, var = self.settings.made, self.settings.ports, self.settings.var
        kinds: dict[str, tuple[type[PostgreSQL] | type[Valkey], str]] = {
            "postgres": (PostgreSQL, "DATABASE_URL"),
            "valkey": (Valkey, "REDIS_URL"),
        }
        for name, (kind, url) in kinds.items():
            if url in self.settings.given:
                continue
            prefix = name.upper()
            server = kind(
                var / name,
                password=made[f"LOCAL_{prefix}_PASSWORD"],
                port=ports[f"{prefix}_PORT"],
                durable=self.durable,
                keep_open=(self.lock.handle,),
            )
            yield Child(name, self.server_launcher(server), kind.stop_signal), server

    def commands(self) -> dict[str, list[str]]:
        """The command of each of our own processes, in the order in which they start."""
        web, flower = self.listener.fileno(), self.settings.ports["FLOWER_PORT"]
        celery = [*PYTHON, "celery", "-A", "messaging_project"]
        worker = [*celery, "worker", "-P", "threads", "--without-gossip", "--without-mingle"]
        sandbox = [sys.executable, "manage.py", "sandbox"]
        gunicorn = [
            *PYTHON,
            "gunicorn",
            "messaging_project.wsgi",
            "-c",
            "python:messaging_project.web",
            "--bind",
            f"fd://{web}",
        ]
        return {
            **({"sandbox": sandbox} if self.settings.uses_sandbox else {}),
            **({"test-sandbox": [*sandbox, "--test"]} if self.settings.has_test_sandbox else {}),
            "web": gunicorn,
            **{name: [*worker, "-Q", name, "-n", f"{name}@%h", "-c", "4", "-E", "-l", "INFO"] for name in CHANNELS},
            "events": [*worker, "-Q", "events", "-n", "events@%h", "-c", "2", "-l", "WARNING"],
            "sweep": [*worker, "-Q", "sweep", "-n", "sweep@%h", "-c", "5", "-l", "WARNING"],
            # Apart from the sweeper: a worker does not notice when the beat that it carries (-B) dies.
            "beat": [*PYTHON, "celery", "-q", "-A", "messaging_project", "beat", "-l", "WARNING"],
            "flower": [
                *celery,
                "flower",
                "--address=127.0.0.1",
                f"--port={flower}",
                "--enable_events=False",
                "--read_only",
            ],
        }

    def launcher(self, name: str, command: list[str]) -> Callable[[int], subprocess.Popen[bytes]]:
        """What starts one of our own processes, with the settings of that moment."""

        def launch(output: int) -> subprocess.Popen[bytes]:
            return spawn(
                command,
                environment=self.environment_of(name),
                directory=CHECKOUT,
                output=output,
                keep_open=(self.lock.handle, *([self.listener.fileno()] if name == "web" else [])),
            )

        return launch

    def server_launcher(self, server: Server) -> Callable[[int], subprocess.Popen[bytes]]:
        """What starts a server."""

        def launch(output: int) -> subprocess.Popen[bytes]:
            server.output = output
            return server.launch()

        return launch

    def environment_of(self, name: str) -> Mapping[str, str]:
        """The environment of one of our own processes."""
        environment = {**self.settings.environment, "PYTHONUNBUFFERED": "1"}
        if self.output.coloured:  # the child itself writes into a pipe
            environment["FORCE_COLOR"] = "1"
        if name == "flower":  # not as an argument, which `ps` shows to everyone
            password = environment.pop("FLOWER_PASSWORD", "")
            environment.setdefault("FLOWER_BASIC_AUTH", f"admin:{password}")
        return environment

    def finish(self, name: str, *arguments: str, fine: tuple[int, ...] = (0,)) -> int:
        """Run a command of `manage.py` to its end; its exit code. Raises `LocalError` when that is not a fine one."""
        child = Child(name, self.launcher(name, [sys.executable, *arguments]), signal.SIGTERM)
        self.children.append(child)
        child.start(self.output)
        while child.runs:
            self.turn()
        self.output.turn(0)
        self.children.remove(child)
        assert child.process is not None
        if child.process.returncode not in fine:
            raise LocalError(f"`{' '.join(arguments)}` failed with exit code {child.process.returncode}.")
        return child.process.returncode

    def forget_heartbeats(self) -> None:
        """Those of workers that were killed look fresh for a while: /health has to speak of the ones started now."""
        with (
            suppress(psycopg.Error),
            psycopg.connect(self.settings.environment["DATABASE_URL"], connect_timeout=3) as it,
        ):
            it.execute("DELETE FROM messaging_project_heartbeat")

    def turn(self) -> None:
        """Let a moment pass. Raises `Stopped` when somebody asked for it meanwhile."""
        self.output.turn(0.1)
        if self.stops or self.output.gone or terminal_is_gone():
            raise Stopped

    def note(self, number: int, _: object) -> None:
        """Note a signal; the loop answers it."""
        if number in (signal.SIGINT, signal.SIGTERM):
            self.stops += 1
        else:
            self.requests.append(signal.Signals(number))

    def answer_requests(self) -> None:
        """Do what the signals since the last turn ask for."""
        while self.requests:
            request = self.requests.pop(0)
            self.output.say(f"{request.name}")
            self.state.refusal = ""
            try:
                self.carry_out(request)
            except (LocalError, OSError) as reason:
                self.state.refusal = str(reason)
                self.output.say(f"error: {reason}")
            self.revive()
            self.state.answered += 1
            self.write_state()

    def carry_out(self, request: signal.Signals) -> None:
        """Do what one signal asks for. Raises `LocalError` when that can't be done."""
        if request == signal.SIGHUP:
            self.take_new_settings()
            self.stop_together([child for child in self.children if child.wanted and self.is_app(child)])
            self.forget_heartbeats()
            return
        workers = [child for child in self.children if child.name in CHANNELS]
        for child in workers:
            child.wanted = request == signal.SIGUSR2
        if request == signal.SIGUSR1:
            self.stop_together(workers)

    def take_new_settings(self) -> None:
        """Read the settings again. Raises `LocalError` when they ask for more than new web processes and workers."""
        old, new = self.settings, look(os.environ)
        servers = {"DATABASE_URL", "REDIS_URL"}
        more = new.uses_sandbox > old.uses_sandbox or new.has_test_sandbox > old.has_test_sandbox
        if old.ports != new.ports or old.given & servers != new.given & servers or more:
            raise LocalError("Ports or servers have changed: `make stop`, then `make run` or `make run-bg`.")
        self.settings = prepare(os.environ)

    def is_app(self, child: Child) -> bool:
        """Whether it runs the application's code."""
        return child.name in ("web", "events", "sweep", "beat", *CHANNELS)

    def revive(self) -> None:
        """Start every child that should run and does not, once its pause is over."""
        changed = self.state_is_old
        for child in self.children:
            if child.process is not None and not child.runs:
                self.output.say(f"{child.name} ended ({child.bury()})")
            if child.wanted and child.process is None and time.monotonic() >= child.due_at:
                with suppress(OSError):  # a full disk or process table: the next turn tries again
                    child.start(self.output)
                changed = True
        if changed:
            self.write_state()

    def announce(self) -> None:
        """Say where everything is once the whole system is well, and what is missing if that takes long."""
        now = time.monotonic()
        if self.announced or now < self.look_at:
            return
        reason = trouble(self.settings.url, seconds=1)
        self.announced = not reason
        self.look_at = now + 0.5
        self.complain_at = self.complain_at or now + COMPLAIN_AFTER_SECONDS
        if self.announced:
            self.output.say(introduction(self.settings, strange_admin=self.state.strange_admin))
        elif now > self.complain_at:
            self.complain_at = now + COMPLAIN_AFTER_SECONDS
            self.output.say(f"Not everything is up yet: {reason}")

    def stop_everything(self) -> None:
        """Stop what runs: our own processes first, then the sandboxes they talk to, then the servers."""
        for child in self.children:
            child.wanted = False
        apart = (*reversed(SANDBOXES), *reversed(SERVERS))
        self.stop_together([child for child in self.children if child.name not in apart])
        for name in apart:
            self.stop_together([child for child in self.children if child.name == name])
        with suppress(OSError):
            self.state.remove()

    def stop_together(self, children: list[Child]) -> None:
        """Ask the children to stop, wait, and end what is left of their groups."""

        def turn() -> bool:
            self.output.turn(0.05)
            return self.stops < 2

        leaders = {child.process: child.stop_signal for child in children if child.process is not None}
        stop(leaders, seconds=STOP_SECONDS, turn=turn)
        for child in children:
            child.process, child.due_at, child.failures = None, 0.0, 0
        self.output.turn(0)

    def write_state(self) -> None:
        """Write down what runs, for the commands that speak to us; on a full disk, as soon as there is room."""
        children = {
            child.name: {"pid": child.process.pid if child.process else None, "failures": child.failures}
            for child in self.children
        }
        try:
            self.state.write(settings=self.settings, children=children)
            self.state_is_old = False
        except OSError:
            self.state_is_old = True


def terminal_is_gone() -> bool:
    """Whether the terminal that we were started from was closed: the kernel tells its shell, or make, and not us."""
    try:
        os.tcgetpgrp(0)
    except OSError as reason:
        return reason.errno == errno.EIO
    return False


def introduction(settings: Settings, *, strange_admin: bool) -> str:
    """Where everything is and what to try first. A password shows up here only when it was made just now, and holds."""
    file = settings.var / "local.env"
    shown = Path(os.path.relpath(file)) if file.is_relative_to(Path.cwd()) else file

    def password(name: str) -> str:
        if name == "ADMIN_PASSWORD" and strange_admin:
            return "user admin, password: the one it was given before; ADMIN_PASSWORD=… sets another one"
        if name in settings.generated:
            return f"user admin, password {settings.environment[name]} (shown this once; kept in {shown})"
        return f"user admin, password: {name} in {'your settings' if name in settings.given else shown}"

    flower = f"http://127.0.0.1:{settings.ports['FLOWER_PORT']}"
    first_curl = FIRST_CURL.format(url=settings.url)
    sandbox = [
        f"Phone    {settings.sandbox_url}/  text yourself and answer, without an account anywhere",
        f"Sandbox  {settings.sandbox_url}/ledger  what the providers were asked",
    ]
    lines = [
        "Everything is up.",
        f"API      {settings.url}/api/v1/messages/  all of it: {settings.url}/api/docs",
        f"Admin    {settings.url}/admin/  {password('ADMIN_PASSWORD')}",
        f"Flower   {flower}  {password('FLOWER_PASSWORD')}",
        *(sandbox if settings.uses_sandbox else []),
        *(["The API wants a key:", MAKE_A_KEY] if needs_key(settings.url) else ["Try first:", first_curl]),
    ]
    return "\n".join(lines)
