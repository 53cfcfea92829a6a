"""What would keep a stack from starting, found before anything is started."""

import socket
from urllib.parse import urlsplit

from messaging_project.local import LocalError
from messaging_project.local.servers import LOOPBACK
from messaging_project.local.settings_file import Settings

ANSWER_SECONDS = 3
BACKLOG = 2048
# The port that an embedded server needs, and the one that a given URL means when it names none.
SERVER_PORTS = {"DATABASE_URL": ("POSTGRES_PORT", 5432), "REDIS_URL": ("VALKEY_PORT", 6379)}


def check(settings: Settings) -> socket.socket:
    """Raise `LocalError` when a port is taken or given twice, or when nothing answers where a given URL points.

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
    web = listen("WEB_PORT", needed.pop("WEB_PORT"))
    try:
        for name, port in needed.items():
            listen(name, port).close()
    except LocalError:
        web.close()
        raise
    return web


def listen(name: str, port: int) -> socket.socket:
    """Listen on a port. Raises `LocalError` naming it and its setting when that can't be."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(BACKLOG)
    except OSError as reason:
        listener.close()
        raise LocalError(f"Port {port} can't be used ({reason.strerror}): choose another one, {name}=….") from None
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
