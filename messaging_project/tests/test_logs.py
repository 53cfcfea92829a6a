"""What a line of a log says, and what none ever says, whoever wrote it."""

import asyncio
import gc
import io
import json
import logging
import re
import subprocess
import sys
import threading

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction

from conversations.log_context import about
from conversations.models import Message
from messaging_project import logs
from messaging_project.tests.test_settings import SOUND, start

SECRET = "+15550100999 my secret"


@pytest.fixture(params=["json", "text"])
def written(request, monkeypatch):
    """Everything that is logged, as it would be written; in both forms."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines() if request.param == "json" else logs.TextLines())
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    yield stream.getvalue
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def as_json():
    """Writes one record and returns the object that it becomes."""

    def write(message="hello", level=logging.INFO, **extra):
        record = logging.getLogger("conversations.x").makeRecord(
            "conversations.x", level, "", 1, message, (), None, extra=extra
        )
        return json.loads(logs.JsonLines().format(record))

    return write


def test_a_line_is_one_object_with_the_names_that_everything_else_uses(as_json):
    with about(request_id="r-1", message_id="m-1"):
        line = as_json(attempt=2, account="twilio")
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info", "logger": "conversations.x", "message": "hello",
        "request_id": "r-1", "message_id": "m-1", "account": "twilio", "attempt": 2,
    }  # fmt: skip


def test_a_message_that_no_request_brought_is_not_of_the_request_around_it(as_json):
    with about(request_id="r-1"), about(request_id="", message_id="m-1"):
        line = as_json()
    assert "request_id" not in line
    assert "message_id" not in as_json()


def test_what_is_no_known_field_is_not_written(as_json):
    assert SECRET not in str(as_json(body=SECRET, data={"args": SECRET}))


def fails(secret):
    raise ValueError(secret)


def fails_twice():
    body = SECRET  # it stands in a local variable, too
    try:
        fails(body)
    except ValueError as error:
        raise RuntimeError(f"can't take {body}") from error


def test_of_an_exception_its_type_is_told_and_where_it_came_from(written):
    try:
        fails_twice()
    except RuntimeError as error:
        logging.getLogger("conversations.x").exception("it broke: %s", error)
    assert SECRET not in written()
    assert "it broke: RuntimeError" in written()
    assert "in fails_twice" in written()
    assert written().index("ValueError") < written().rindex("RuntimeError")


def test_what_libraries_fill_into_their_sentences_is_named_only(written):
    try:
        fails(SECRET)
    except ValueError as error:
        logging.getLogger("django.x").error(f"Error calling x ({error}).", exc_info=True)
        context = {"name": "n", "exc": repr(error)[:20], "args": SECRET}
        logging.getLogger("celery.app.trace").error("Task %(name)s raised: %(exc)s", context, exc_info=True)
        logging.getLogger("gunicorn.error").exception("Error handling request %s %s", "GET", f"/?phone={SECRET}")
        logging.getLogger("gunicorn.error").warning(f"Invalid request from ip=1: {SECRET}")
        logging.getLogger("gunicorn.error").exception(error)
        logging.getLogger("x").warning("error connecting: %s", error)
    assert SECRET not in written()
    assert "15550100" not in written()
    assert written().count("Error handling request") == 1


@pytest.mark.parametrize("form", [logs.JsonLines, logs.TextLines])
def test_a_sentence_that_can_not_be_filled_in_prints_no_arguments(form):
    line = form().format(logging.makeLogRecord({"msg": "count %d", "args": (SECRET,)}))
    assert "count %d" in line
    assert SECRET not in line


def test_a_task_of_the_event_loop_that_nobody_waits_for_is_told_without_its_message(written):
    async def forget():
        task = asyncio.get_running_loop().create_task(raises())
        await asyncio.sleep(0)
        del task
        gc.collect()

    async def raises():
        fails(SECRET)

    asyncio.run(forget())
    assert "never retrieved" in written()
    assert SECRET not in written()


@pytest.mark.django_db
def test_what_postgresql_quotes_of_a_row_is_not_told_but_the_constraint_is(written):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE secrets (body text CONSTRAINT one_of_each UNIQUE)")
        cursor.execute("INSERT INTO secrets VALUES (%s)", [SECRET])
        try:
            with transaction.atomic():
                cursor.execute("INSERT INTO secrets VALUES (%s)", [SECRET])
        except IntegrityError as error:
            logging.getLogger("conversations.x").exception("not written: %s", error)
    assert SECRET not in written()
    assert "django.db.utils.IntegrityError: 23505 one_of_each" in written()


@pytest.mark.django_db
def test_each_line_of_a_request_that_crashes_names_the_request_and_none_the_row(client, written, monkeypatch, settings):
    settings.TRUST_LOCAL_REQUESTS, client.raise_request_exception = True, False
    broken = IntegrityError(f"Failing row contains ({SECRET})")
    monkeypatch.setattr(type(Message.objects), "accept", lambda *_, **__: (_ for _ in ()).throw(broken))
    body = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": SECRET}
    headers = {"X-Request-ID": "r-crash"}
    assert (
        client.post("/api/v1/messages/send", body, content_type="application/json", headers=headers).status_code == 500
    )
    assert "IntegrityError" in written()
    assert SECRET not in written()
    told = [line for line in written().splitlines() if re.match(r'\{"timestamp|\d{4}-', line)]
    assert len(told) > 1
    assert [line for line in told if "r-crash" not in line] == []


def test_why_there_is_no_connection_is_told(written):
    try:
        psycopg.connect("postgres://someone:a-password@127.0.0.1:9/x")
    except psycopg.OperationalError as error:
        logging.getLogger("psycopg.pool").warning("error connecting in %r: %s", "pool-1", error)
    assert "Connection refused" in written()
    assert "a-password" not in written()


def test_a_thread_that_ends_by_an_exception_says_so_in_the_log(written):
    thread = threading.Thread(target=fails, args=[SECRET])
    before, threading.excepthook = threading.excepthook, logs.log_end_of_thread
    try:
        thread.start()
        thread.join()
    finally:
        threading.excepthook = before
    assert "a thread ended" in written()
    assert SECRET not in written()


def test_a_command_that_crashes_where_nobody_looks_on_writes_a_line():
    code = f"import django; django.setup(); raise ValueError({SECRET!r})"
    environment = {**SOUND, "DJANGO_SETTINGS_MODULE": "messaging_project.settings"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    [line] = map(json.loads, ended.stderr.splitlines())
    assert (ended.returncode, line["level"], line["message"]) == (1, "critical", "the process ends")


@pytest.mark.parametrize(
    ("values", "kind"), [({}, "Json"), ({"DEBUG": "true"}, "Text"), ({"LOG_FORMAT": "text"}, "Text")]
)
def test_production_writes_json_and_developers_read_text(values, kind):
    assert start("settings.LOGGING['formatters']['line']['()']", **values).stdout.strip().endswith(f"{kind}Lines")


@pytest.mark.parametrize(("form", "level"), [("xml", "INFO"), ("json", "LOUD")])
def test_a_format_or_a_level_that_there_is_not_refuses_to_start(form, level):
    with pytest.raises(ImproperlyConfigured, match="LOG_FORMAT is one of auto, json, text, LOG_LEVEL one of"):
        logs.settings_for(form, level, debug=False)


def test_libraries_are_held_to_info_whatever_our_own_lines_are():
    config = logs.settings_for("json", "DEBUG", debug=True)
    assert config["root"]["level"] == "INFO"
    assert config["loggers"]["conversations"]["level"] == "DEBUG"


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False), ({}, False)],
)
def test_colours_show_on_a_terminal_alone_and_never_where_they_are_unwanted(variables, coloured, monkeypatch):
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    record = logging.makeLogRecord({"levelname": "ERROR", "msg": "hello"})
    assert ("\033[" in logs.TextLines().format(record)) is coloured
