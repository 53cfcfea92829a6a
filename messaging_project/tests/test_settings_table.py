"""docs/settings.md, and the places that show a default beside the code: .env.example and docker-compose.yml."""

import re
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command

from messaging_project.settings import env
from messaging_project.settings_table import EXAMPLE, as_written, sections

MEND = ".venv/bin/python manage.py settings_table > docs/settings.md"
ENTRIES = [entry for _, entries in sections(EXAMPLE.read_text()) for entry in entries]
SHOWN = {name: value for entry in ENTRIES for name, value in entry.examples.items() if value}
# The example shows where the password stands.
NO_DEFAULTS = {"DATABASE_URL", "REDIS_URL"}
# All processes of compose together have to stay below the hundred connections that PostgreSQL takes.
OTHER_IN_COMPOSE = {"DATABASE_POOL_SIZE"}


def test_the_page_is_what_the_command_prints():
    printed = StringIO()
    call_command("settings_table", stdout=printed)
    page = settings.BASE_DIR / "docs" / "settings.md"
    assert page.read_text() == printed.getvalue(), f"The settings have changed since. Mend it: {MEND}"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: next(iter(entry.examples)))
def test_the_example_says_of_every_setting_what_it_does(entry):
    assert entry.about


def test_a_default_that_the_example_shows_is_the_codes():
    read = {name for name in SHOWN if name in env.defaults} - NO_DEFAULTS
    assert {name: SHOWN[name] for name in read} == {name: as_written(env.defaults[name]) for name in read}


def test_a_default_in_compose_is_the_codes():
    text = (settings.BASE_DIR / "docker-compose.yml").read_text()
    there = dict(re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", text))
    read = {name for name in there if name in env.defaults} - OTHER_IN_COMPOSE
    assert read
    assert {name: there[name] for name in read} == {name: as_written(env.defaults[name]) for name in read}
