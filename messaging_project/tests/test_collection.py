"""The schema has every endpoint, and docs/switchboard.http every request of the schema."""

from io import StringIO

from django.core.management import call_command
from django.urls import get_resolver

from messaging_project.local.binaries import CHECKOUT
from messaging_project.openapi.operations import OPERATIONS
from webhooks.views import SendGridView, TwilioView

FILE = CHECKOUT / "docs" / "switchboard.http"
MEND = ".venv/bin/python manage.py http_collection > docs/switchboard.http"
METHODS = ("get", "post", "put", "patch", "delete")
DOORS = {(TwilioView, "POST"), (SendGridView, "POST")}


def endpoints(patterns, before=""):
    """The view class and method of everything under /api/v1/."""
    for pattern in patterns:
        path = before + str(pattern.pattern).lstrip("^")
        if hasattr(pattern, "url_patterns"):
            yield from endpoints(pattern.url_patterns, path)
        elif path.startswith("api/v1/") and hasattr(pattern.callback, "view_class"):
            view = pattern.callback.view_class
            yield from ((view, method.upper()) for method in METHODS if hasattr(view, method))


def test_every_endpoint_is_in_the_schema_but_the_doors_of_providers():
    assert set(endpoints(get_resolver().url_patterns)) - set(OPERATIONS) == DOORS


def test_the_collection_is_what_the_command_prints():
    printed = StringIO()
    call_command("http_collection", stdout=printed)
    assert FILE.read_text() == printed.getvalue(), f"The schema has changed since. Mend it: {MEND}"
