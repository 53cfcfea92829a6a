"""The command behind `make compose-by-hand`."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from messaging_project.compose import ComposeError
from messaging_project.compose.containers import program
from messaging_project.compose.file import read
from messaging_project.compose.host import Host
from messaging_project.compose.journeys import Journeys
from messaging_project.local import LocalError
from messaging_project.local.binaries import CHECKOUT

INSIDE = "--inside"


def main(arguments: Sequence[str]) -> int:
    """Run it in namespaces of its own; 0 when all went well."""
    if INSIDE not in arguments:
        return in_namespaces()
    try:
        passed = carry_out(dotenv())
    except (ComposeError, LocalError, OSError) as error:
        print(f"FAIL  {error}", flush=True)
        return 1
    print(f"{passed} passed, 0 failed")
    return 0


def in_namespaces() -> int:
    """Run this command again where nothing else listens and nobody else's files are mounted."""
    unshare = [program("unshare"), "--net", "--mount"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-current-user", "--keep-caps"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        print("No namespaces can be made here: be root, or let users make them (kernel.unprivileged_userns_clone=1).")
        return 1
    return subprocess.run([*unshare, sys.executable, "-m", "messaging_project.compose", INSIDE], check=False).returncode


def dotenv() -> dict[str, str]:
    """The .env that an operator would write who wants a sandbox for test clients, too."""
    return {
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "REDIS_PASSWORD": secrets.token_hex(24),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "PUBLIC_URL": "https://switchboard.example.com",
        "FLOWER_PASSWORD": secrets.token_urlsafe(24),
        "METRICS_TOKEN": secrets.token_urlsafe(24),
        "SANDBOX_URL": "http://sandbox:8091",
        "SANDBOX_SECRET": secrets.token_urlsafe(32),
        "SANDBOX_DELIVER_TO": "http://web:8080",
    }


def carry_out(settings: dict[str, str]) -> int:
    """Start everything and make the journeys; how many there were. Raises `ComposeError` at the first that fails."""
    services = read(CHECKOUT / "docker-compose.yml", settings, dotenv=settings, profiles=["test"])
    host, passed = Host(services), 0
    try:
        host.connect()
        start: tuple[str, Callable[[], None]] = ("everything starts in its order and is healthy", host.start)
        for what, step in [start, *Journeys(host, settings).all()]:
            began = time.monotonic()
            step()
            passed += 1
            print(f"PASS  {what} ({time.monotonic() - began:.1f} s)", flush=True)
        print(f"PostgreSQL was {host.containers['db']}, Redis {host.containers['redis']}.")
    finally:
        host.discard()
    return passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
