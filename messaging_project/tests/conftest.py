"""What many tests share: the whole local stack, with the very processes that `make run` starts, and a browser."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from messaging_project.local import control
from messaging_project.local.probe import trouble
from messaging_project.local.processes import wait_until
from messaging_project.local.running import RunningStack, stack_environment
from messaging_project.local.settings_file import Settings, look
from messaging_project.tests.browser import Remote, chromium
from messaging_project.tests.log_files import ADDRESSES, found_in


@pytest.fixture(scope="session")
def stack(given_urls: dict[str, str]) -> Iterator[RunningStack]:
    """The whole stack, started when first asked for; with its own servers, or its own database on the given ones."""
    more = {
        "SANDBOX_LATENCY_MS": "10",
        "SANDBOX_CALLBACK_DELAY_MS": "50",
        "LEASE_SECONDS": "10",
        "PROVIDER_TIMEOUT_SECONDS": "4",
        "SETTLE_SECONDS": "5",
        "SETTLE_MARGIN_SECONDS": "1",
        "SETTLE_GAP_SECONDS": "1",
        # As in production. When all is over, they are searched for the addresses that the tests use.
        "LOG_FORMAT": "json",
    }
    settings = look(stack_environment(Path(os.environ["VAR_DIR"]) / "stack", **more, **own_databases(given_urls)))
    try:
        settings, supervisor = control.start_in_background(settings, throw_away=True)
        yield RunningStack(settings)
        control.stop(settings.var)
        supervisor.wait(10)
        assert not found_in(RunningStack(settings).logs, ADDRESSES), "addresses in the logs of the suite"
    finally:
        control.stop(settings.var)
        control.reset(settings.var)
        drop_own_database(given_urls, settings)


@pytest.fixture(autouse=True)
def nobody_inherits_trouble(request: pytest.FixtureRequest) -> None:
    """Begin with a stack that is well again, whatever an earlier test did to it."""
    if "stack" in request.fixturenames:
        url = request.getfixturevalue("stack").url
        assert wait_until(lambda: not trouble(url), seconds=30), trouble(url)


def own_databases(given_urls: dict[str, str]) -> dict[str, str]:
    """A new database, and another number of Redis', on the servers we were given."""
    own = {}
    if url := given_urls.get("DATABASE_URL"):
        name = f"switchboard_stack_{secrets.token_hex(4)}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        own["DATABASE_URL"] = urlsplit(url)._replace(path=f"/{name}").geturl()
    if url := given_urls.get("REDIS_URL"):
        number = int(urlsplit(url).path.strip("/") or 0)
        own["REDIS_URL"] = urlsplit(url)._replace(path=f"/{(number + 1) % 16}").geturl()
    return own


def drop_own_database(given_urls: dict[str, str], settings: Settings) -> None:
    if url := given_urls.get("DATABASE_URL"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {urlsplit(settings.environment['DATABASE_URL']).path[1:]} WITH (FORCE)")


@pytest.fixture(scope="session")
def browser() -> Iterator[Remote]:
    """Chromium, used as Playwright's Browser: `page = browser.new_page()`. Callbacks run in another thread: no ORM."""
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Remote) -> Iterator[Remote]:
    """A page of a fresh profile, closed with the test."""
    context = browser.new_context()
    yield context.new_page()
    context.close()
