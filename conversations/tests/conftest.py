"""Messages and providers for the tests of the domain."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from django.db import connection, connections

from conversations.event_loop import event_loop
from conversations.models import Message
from conversations.models.claim import Offer
from providers import breaker, routes
from providers.tests.conftest import sandbox  # noqa: F401

LEASE = timedelta(seconds=60)


def in_threads(count, work):
    """Run `work` as often as `count` says, all at once, each with a database connection of its own."""

    def closing(number):
        try:
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(closing, range(count)))


def offer(channel="sms", lease=LEASE, **more):
    """The terms on which a worker claims while all accounts run."""
    return Offer(routes.names_for(channel), {}, lease, **more)


def claim(channel="sms", limit=1):
    """Take due messages as a worker does."""
    return Message.objects.claim(channel, offer(channel), limit=limit)


def another_connection():
    """A connection to the same database that is not of the pool: that could be the very same. Use it with `with`."""
    given = connection.settings_dict
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    return psycopg.connect(**{name: given[theirs] for name, theirs in names.items()}, autocommit=True)


def somebody_waits_for_a_lock():
    """Whether a statement on the server is blocked by another right now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]


@pytest.fixture(autouse=True)
def a_new_process():
    """What a process remembers of accounts does not outlive a test, as the rows do not."""
    breaker.forget()


@pytest.fixture
def accept():
    """Accept an SMS between two fixed numbers; keyword arguments replace or add values."""

    def accepted(conversation_type="direct", **values):
        usual = {"sender": "+15551234567", "recipient": "+15559876543", "type": "sms", "body": "Hello"}
        values = {**usual, "provider": "twilio", **values}
        message = Message(direction="outbound", status="pending", **values)
        return Message.objects.accept(message, conversation_type=conversation_type)

    return accepted


@pytest.fixture
def providers(sandbox, settings):  # noqa: F811
    """The accounts of both providers, led to a sandbox."""
    settings.TWILIO_BASE_URL = settings.SENDGRID_BASE_URL = sandbox.url
    settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = sandbox.account_sid, sandbox.auth_token
    settings.SENDGRID_API_KEY = sandbox.api_key
    routes.forget_accounts()
    yield sandbox
    forget_accounts()


def forget_accounts():
    """Close the accounts' connections; the next call opens others, by the settings as they are then."""
    for name in routes.account_names():
        asyncio.run_coroutine_threadsafe(routes.account_named(name).close(), event_loop()).result(5)
    routes.forget_accounts()
