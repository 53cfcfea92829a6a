"""docker-compose.yml as compose reads it: variables filled in, anchors resolved, times in seconds.

Only what our file uses is understood: https://docs.docker.com/reference/compose-file/interpolation/ and /services/.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from messaging_project.compose import ComposeError

VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")
DOCKERS_STOP_SECONDS = 10.0
HEALTHY, COMPLETED = "service_healthy", "service_completed_successfully"


@dataclass(frozen=True, slots=True)
class Health:
    """How a container is asked for its health, how long the answer may take, and when it counts as ill, in seconds."""

    command: tuple[str, ...]
    timeout: float
    patience: float


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `command` is empty where the image's own is meant; `volumes` has their names by path."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    waits_for: Mapping[str, str]
    health: Health | None
    stop_seconds: float
    restarts: bool
    volumes: Mapping[str, str]
    read_only: bool = False
    profiles: frozenset[str] = field(default_factory=frozenset)


def read(
    path: Path, variables: Mapping[str, str], *, dotenv: Mapping[str, str], profiles: Iterable[str] = ()
) -> dict[str, Service]:
    """The services by name, those of other profiles left out.

    `variables` fill the file in, `dotenv` is what stands in the `env_file`. Raises `ComposeError` with the file's own
    word for a variable that it cannot do without.
    """
    filled = fill_in(yaml.safe_load(path.read_text()), variables)
    services = {name: service(name, body, dotenv) for name, body in filled["services"].items()}
    return {name: each for name, each in services.items() if not each.profiles or each.profiles & set(profiles)}


def fill_in(value: Any, variables: Mapping[str, str]) -> Any:
    """Put variables into every string: `${A}`, `${A:-default}`, `${A:?what to do}`; `$$` is a plain dollar."""
    if isinstance(value, dict):
        return {key: fill_in(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [fill_in(each, variables) for each in value]
    if not isinstance(value, str):
        return value

    def filled(found: re.Match[str]) -> str:
        dollar, name, kind, rest = found.groups()
        if dollar:
            return dollar
        if kind == "?" and not variables.get(name):
            raise ComposeError(rest)
        return variables.get(name) or (rest if kind == "-" else "")

    return VARIABLE.sub(filled, value)


def service(name: str, body: Mapping[str, Any], dotenv: Mapping[str, str]) -> Service:
    """One service out of its part of the file."""
    waits_for = body.get("depends_on", {})
    environment = {key: str(value) for key, value in body.get("environment", {}).items()}
    return Service(
        name=name,
        image=body["image"],
        command=words(body.get("command", ())),
        environment={**(dotenv if "env_file" in body else {}), **environment},
        waits_for={other: condition["condition"] for other, condition in waits_for.items()},
        health=health(body.get("healthcheck", {"disable": True})),
        stop_seconds=seconds(body["stop_grace_period"]) if "stop_grace_period" in body else DOCKERS_STOP_SECONDS,
        restarts=body.get("restart", "no") != "no",
        volumes={path: volume for volume, path in (each.split(":")[:2] for each in body.get("volumes", ()))},
        read_only=body.get("read_only", False),
        profiles=frozenset(body.get("profiles", ())),
    )


def health(body: Mapping[str, Any]) -> Health | None:
    """A health check; None where there is none."""
    if body.get("disable"):
        return None
    kind, *command = body["test"]
    return Health(
        command=("/bin/sh", "-c", *command) if kind == "CMD-SHELL" else tuple(command),
        timeout=seconds(body["timeout"]),
        patience=seconds(body["start_period"]) + seconds(body["interval"]) * body["retries"],
    )


def words(command: str | list[str]) -> tuple[str, ...]:
    """A command as the words that are run; no shell sees it."""
    return tuple(shlex.split(command) if isinstance(command, str) else command)


def seconds(text: str) -> float:
    """A time such as `40s` or `2m`."""
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]
