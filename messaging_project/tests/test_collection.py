"""docs/switchboard.http holds every request of the API, as the schema has it today."""

from io import StringIO

from django.core.management import call_command

from messaging_project.local.binaries import CHECKOUT

FILE = CHECKOUT / "docs" / "switchboard.http"
MEND = ".venv/bin/python manage.py http_collection > docs/switchboard.http"


def test_the_collection_is_what_the_command_prints():
    printed = StringIO()
    call_command("http_collection", stdout=printed)
    assert FILE.read_text() == printed.getvalue(), f"The schema has changed since. Mend it: {MEND}"
