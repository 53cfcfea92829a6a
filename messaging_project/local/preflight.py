"""What would keep a stack from starting, found before anything is started."""

import socket
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from messaging_project.local import LocalError
from messaging_project.local.servers import LOOPBACK, free_port
from messaging_project.local.settings_file import Settings

ANSWER_SECONDS = 3
BACKLOG = 2048
# The port that an embedded server needs, and the one that a given URL means when it names none.
SERVER_PORTS = {"DATABASE_URL": ("POSTGRES_PORT", 5432), "REDIS_URL": ("VALKEY_PORT", 6379)}


def check(settings: Settings) -> socket.socket:
    """Raise `LocalError` when ports are taken or given twice, or when nothing answers where a given URL points.

    Returns the socket of the web process, which listens already: what comes while that process is away waits in it.
    """
    needed = settings.needed_ports
    for url, (name, usual_port) in SERVER_PORTS.items():
        if url in settings.given:
            del needed[name]
            check_server(url, settings.environment[url], usual_port)
    owners: dict[int, str] = {}
    for name, port in needed.items():
        if port in owners:
            raise LocalError(f"{name} and {owners[port]} are both {port}: give each a port of its own.")
        owners[port] = name
    refusals = {name: refusal for name, port in needed.items() if (refusal := why_not(name, port))}
    if refusals:
        choice = " ".join(f"{name}={port}" for name, port in others(refusals, settings.ports).items())
        advice = "These are free, to be given each time or kept in .env:"
        raise LocalError("\n".join([*refusals.values(), advice, f"  make run {choice}"]))
    return listen("WEB_PORT", needed["WEB_PORT"])


def why_not(name: str, port: int) -> str:
    """Say why a port can't be listened on, "" when it can."""
    try:
        listen(name, port).close()
    except LocalError as refusal:
        return str(refusal)
    return ""


def others(refused: Iterable[str], ports: Mapping[str, int]) -> dict[str, int]:
    """For each setting whose port was refused the next port that is free and not another setting's."""
    chosen = {name: port for name, port in ports.items() if name not in refused}
    for name in refused:
        above = (port for port in range(ports[name] + 1, 65536) if port not in chosen.values())
        chosen[name] = next((port for port in above if not why_not(name, port)), 0) or free_port()
    return {name: chosen[name] for name in refused}


def listen(name: str, port: int) -> socket.socket:
    """Listen on a port. Raises `LocalError` naming it and its setting when that can't be."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(BACKLOG)
    except OSError as reason:
        listener.close()
        raise LocalError(f"Port {port} ({name}) can't be used: {reason.strerror}.") from None
    return listener


def check_server(name: str, url: str, usual_port: int) -> None:
    """Raise `LocalError` naming setting and host, and never the password, when nothing listens there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or usual_port
    except ValueError:
        raise LocalError(f"{name} is no URL: percent-encode what is special in its password.") from None
    if not host or "%2f" in host.lower():  # a socket in the file system
        return
    try:
        socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
    except OSError as reason:
        raise LocalError(f"Nothing answers at {host}, where {name} points ({reason.strerror or reason}).") from None
