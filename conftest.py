"""Real servers for the whole suite: PostgreSQL and Valkey, started before Django reads its settings.

Those at `DATABASE_URL` and `REDIS_URL` are taken where the environment names them; otherwise embedded ones run in a
temporary directory on free ports, so that a stack that is up meanwhile is not in the way. No other setting of the
developer's, be it in the environment, in `.env` or in `var/`, reaches a test. Without a server there is no run.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import django
import pytest

from messaging_project.local import LocalError
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.servers import PostgreSQL, Server, Valkey
from messaging_project.local.settings_file import setting_names, signing_keys

SERVER_URLS = ("DATABASE_URL", "REDIS_URL")
ASKS_FOR_HELP = {"-h", "--help", "-V", "--version"} & set(sys.argv)
# With `-n` this process runs no test itself: each of those that do has servers of its own.
HANDS_OUT = (
    any(each.startswith(("-n", "--numprocesses")) for each in sys.argv) and "PYTEST_XDIST_WORKER" not in os.environ
)

place = Path(tempfile.mkdtemp(prefix="switchboard-tests-"))
place.chmod(0o711)  # as root, PostgreSQL runs as nobody, who has to pass through
running: list[Server] = []


def start_servers() -> None:
    """Start what the environment does not name, and name it there."""
    try:
        if not os.environ.get("DATABASE_URL"):
            running.append(PostgreSQL(place / "postgres", password="test-database", durable=False).start())
            os.environ["DATABASE_URL"] = running[-1].url
        if not os.environ.get("REDIS_URL"):
            running.append(Valkey(place / "valkey", password="test-broker", durable=False).start())
            os.environ["REDIS_URL"] = running[-1].url
    except LocalError as error:
        raise SystemExit(f"The tests need a real PostgreSQL and a real Redis. {error}") from None


def stop_servers() -> None:
    """Stop what was started and delete its data."""
    while running:
        running.pop().remove()
    shutil.rmtree(place, ignore_errors=True)


def choose_settings() -> None:
    """Set what every test can rely on; whatever else is a setting keeps its default."""
    for name in setting_names(CHECKOUT / ".env.example") - set(SERVER_URLS):
        os.environ.pop(name, None)
    public_key, private_key = signing_keys()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "messaging_project.settings",
        "ENV_FILE": os.devnull,
        "VAR_DIR": str(place),
        "DEBUG": "true",
        "SECRET_KEY": "only-for-tests-only-for-tests-only-for-tests",
        "PUBLIC_URL": "http://127.0.0.1:8080",
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "test-auth-token",
        "TWILIO_BASE_URL": "http://127.0.0.1:9",
        "SENDGRID_API_KEY": "SG.test",
        "SENDGRID_BASE_URL": "http://127.0.0.1:9",
        "SENDGRID_WEBHOOK_PUBLIC_KEY": public_key,
        "SANDBOX_SENDGRID_PRIVATE_KEY": private_key,
    }


@pytest.fixture(scope="session")
def given_urls() -> dict[str, str]:
    """The URLs of the servers that we were given; those we started ourselves are not in it."""
    return {name: os.environ[name] for name in SERVER_URLS if SERVERS_WERE_GIVEN[name]}


if "messaging_project.settings" in sys.modules:
    raise SystemExit("The settings were read before the test servers are up: unset DJANGO_SETTINGS_MODULE.")
SERVERS_WERE_GIVEN = {name: bool(os.environ.get(name)) for name in SERVER_URLS}
atexit.register(stop_servers)
choose_settings()
if not (ASKS_FOR_HELP or HANDS_OUT):
    start_servers()
django.setup()
if HANDS_OUT:  # those that run the tests read the settings when their own servers are up
    del os.environ["DJANGO_SETTINGS_MODULE"]
    os.environ["PYTHONHASHSEED"] = "0"  # they have to agree on the order of what is parametrised with a set


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let the tests reach the servers that they were given, wherever those are."""
    hosts = [urlsplit(os.environ[name]).hostname for name in SERVER_URLS if SERVERS_WERE_GIVEN[name]]
    config.option.allow_hosts = ",".join([config.option.allow_hosts, *filter(None, hosts)])


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in this same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process have all that share the stack or the browser, which are dear, and begin with them.

    But for those that empty the tables: like the others they go to whoever is free, in pytest-django's order, which has
    them after all that need the rows that migrations wrote.
    """
    for item in items:
        if {"stack", "browser"} & set(item.fixturenames) and not empties_tables(item):
            item.add_marker(pytest.mark.xdist_group("stack"))


def empties_tables(item: pytest.Item) -> bool:
    """Say whether Django deletes all rows when this test is over."""
    mark = item.get_closest_marker("django_db")
    return "transactional_db" in item.fixturenames or bool(mark and mark.kwargs.get("transaction"))


def pytest_unconfigure() -> None:
    """Leave nothing behind, whatever became of the run."""
    stop_servers()
