"""A stack that is up, as another program on this machine meets it: the tests and the drills."""

import json
import os
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from messaging_project.local import control
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.probe import local_http
from messaging_project.local.processes import alive
from messaging_project.local.runtime import State
from messaging_project.local.servers import free_port
from messaging_project.local.settings_file import PORTS, Settings, look, setting_names


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `json` is None when the body is not JSON."""

    status: int
    headers: dict[str, str]
    json: Any
    text: str


@dataclass(frozen=True)
class RunningStack:
    """A stack that is up."""

    settings: Settings

    @property
    def url(self) -> str:
        """Where its web process answers."""
        return self.settings.url

    @property
    def sandbox_url(self) -> str:
        """Where its sandbox answers."""
        return self.settings.sandbox_url

    @property
    def env(self) -> dict[str, str]:
        """The environment that its processes have, for further ones."""
        return self.settings.environment

    @property
    def logs(self) -> Path:
        """The directory of its logs, one file for each child."""
        return self.settings.var / "log"

    def get(self, path: str) -> Answer:
        """GET, as `call` does it."""
        return self.call("GET", path)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """POST, as `call` does it."""
        return self.call("POST", path, body, headers)

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Ask the web process (or any server, by a whole URL); an error status is an answer like any other."""
        url = path if path.startswith("http") else f"{self.url}{path}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310
        try:
            with local_http.open(request, timeout=15) as response:
                return _read(response)
        except urllib.error.HTTPError as response:
            return _read(response)

    def database(self) -> "psycopg.Connection[Any]":
        """A new connection, in autocommit; use it as a context manager."""
        return psycopg.connect(self.env["DATABASE_URL"], autocommit=True)

    def pids(self, name: str) -> list[int]:
        """The processes of a child, its leader first: postgres valkey sandbox web sms mms email sweep beat flower."""
        leader = State(self.settings.var).read()["children"][name]["pid"]
        return family(leader) if leader and alive(leader) else []

    def stop_workers(self) -> None:
        """Stop the workers of sms, mms and email; returns once they are gone."""
        control.stop_workers(self.settings.var)

    def start_workers(self) -> None:
        """Start those workers again."""
        control.start_workers(self.settings.var)


def family(leader: int) -> list[int]:
    """The ids of a process and of all its descendants, the leader first; PostgreSQL's backends leave its session."""
    found = [leader]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def _read(response: Any) -> Answer:
    text = response.read().decode()
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    return Answer(response.status, dict(response.headers), parsed, text)


def stack_environment(place: Path, **more: str) -> dict[str, str]:
    """The environment of a stack that shares nothing with this process, nor with a stack that is up meanwhile."""
    own = {"ENV_FILE": os.devnull, "VAR_DIR": str(place)}
    ports = {name: str(free_port()) for name in PORTS}
    chosen = {"DJANGO_SETTINGS_MODULE", *look(own).made, *setting_names(CHECKOUT / ".env.example")}
    rest = {name: value for name, value in os.environ.items() if name not in chosen}
    return {**rest, **own, **ports, **more}
