"""How everything here writes its logs: one JSON object a line in production, lines for people elsewhere.

A line says what happened to which message and never what stood in it: no body, number, address or key. What libraries
and PostgreSQL say of an error quotes just these, so of an exception its type is shown and where it was raised, and of
the fields that somebody attaches to a line only those that are known to hold ids, words of ours and numbers.

Nothing here may import Django's models or prometheus-client: gunicorn's master reads it before either may be loaded.
"""

import errno
import json
import logging
import logging.config
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured

from conversations.log_context import spoken_of

logger = logging.getLogger(__name__)

FORMATS = ("auto", "json", "text")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
OURS = ("messaging_project", "webhooks", "conversations", "providers")
# The same words as in the database, the API and the metrics.
FIELDS = (
    "request_id",
    "message_id",
    "conversation_id",
    "queue",
    "task_id",
    "account",
    "attempt",
    "status",
    "error_code",
    "receipt_id",
    "subscription_id",
    "delivery_id",
    "media_id",
    "method",
    "endpoint",
    "status_code",
    "duration_ms",
)
# What these say is about code and settings, never about data.
SPEAKS_OF_CODE = (ImportError, NameError, AttributeError, ImproperlyConfigured)
SHORTEST_SECRET = 3
COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def settings_for(form: str, level: str, *, debug: bool) -> dict[str, Any]:
    """Return Django's setting LOGGING. Raises `ImproperlyConfigured` for a form or level that there is not.

    `level` is for our own lines. Libraries are held to INFO: below, some of them write payloads and keys.
    """
    if form not in FORMATS or level not in LEVELS:
        raise ImproperlyConfigured(f"LOG_FORMAT is one of {', '.join(FORMATS)}, LOG_LEVEL one of {', '.join(LEVELS)}.")
    form = ("text" if debug else "json") if form == "auto" else form
    kinds = {"json": "messaging_project.logs.JsonLines", "text": "messaging_project.logs.TextLines"}
    quiet = {"level": "WARNING"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": kinds[form]}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "INFO" if level == "DEBUG" else level},
        "loggers": {
            **{name: {"level": level} for name in OURS},
            # The handlers that Django and gunicorn bring along would write every line a second time.
            "django": {"handlers": [], "level": "INFO"},
            "gunicorn.error": {"handlers": [], "level": "INFO", "propagate": True},
            # What was refused stands in the line of its request.
            "django.request": {"level": "ERROR"},
            "django.server": quiet,
            # A task is told of when it has ended.
            "celery.worker.strategy": quiet,
            # At INFO they write query strings, or where a login came from; at DEBUG payloads and the API key.
            "python_http_client": quiet,
            "twilio": quiet,
            "aiohttp.access": quiet,
            "axes": quiet,
        },
    }


def configure(config: dict[str, Any]) -> None:
    """Let this process write its logs as LOGGING says (Django's setting LOGGING_CONFIG), its last words included."""
    logging.config.dictConfig(config)
    logging.captureWarnings(True)
    threading.excepthook = log_end_of_thread
    if not sys.stderr.isatty():  # where a person looks on, Python may say it in its own words
        sys.excepthook = log_end


def log_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log the exception that ends this process (`sys.excepthook`)."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logger.critical("the process ends", exc_info=(kind, error, trace))


def log_end_of_thread(told: threading.ExceptHookArgs) -> None:
    """Log the exception that ends a thread (`threading.excepthook`)."""
    if told.exc_value is not None:
        logger.error("a thread ended", exc_info=(told.exc_type, told.exc_value, told.exc_traceback))


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: timestamp (RFC 3339, UTC), level, logger, message, what it is about, exception."""
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": said(record),
            **fields_of(record),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = told(record.exc_info[1], record.exc_info[2])
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """Writes a record for people; in colours on a terminal or where FORCE_COLOR is set, never where NO_COLOR is."""

    def __init__(self) -> None:
        super().__init__()
        wanted = sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
        self.coloured = wanted and not os.environ.get("NO_COLOR")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it where an exception came from."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        level, fields = (
            f"{record.levelname:<7}",
            " ".join(f"{name}={value}" for name, value in fields_of(record).items()),
        )
        if self.coloured:
            level = f"\033[{COLOURS.get(record.levelname, '0')}m{level}\033[0m"
            fields = fields and f"\033[2m{fields}\033[0m"
        line = f"{time} {level} {record.name}: {said(record)}  {fields}".rstrip()
        if record.exc_info and record.exc_info[1]:
            line += "\n" + told(record.exc_info[1], record.exc_info[2])
        return line


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record is about: what was said around it, and with it."""
    around, own = spoken_of.get(), record.__dict__
    if "request" in own:  # Django's, who writes some when the request is over
        around = {"request_id": getattr(record.request, "request_id", ""), **around}  # type: ignore[attr-defined]
    values = ((name, own[name] if name in own else around.get(name)) for name in FIELDS)
    return {name: value for name, value in values if value is not None and value != ""}


def said(record: logging.LogRecord) -> str:
    """Return the sentence of a record, without what libraries put into theirs that no log may hold."""
    if hasattr(record, "request") and hasattr(record, "status_code"):  # Django's, which name the path
        return HTTPStatus(record.status_code).phrase
    if record.name in SHORTENED:
        return SHORTENED[record.name](record)
    if isinstance(record.msg, BaseException):
        return named(record.msg)
    text, filled_in = str(record.msg), arguments(record)
    try:
        text = text % filled_in if filled_in else text
    except (TypeError, ValueError, KeyError):
        return text  # logging itself would print the arguments
    return without_messages(text, record.exc_info[1]) if record.exc_info and record.exc_info[1] else text


def arguments(record: logging.LogRecord) -> Any:
    """Return what is filled into a record's sentence, with exceptions named by their types."""
    given = record.args
    if isinstance(given, Mapping):  # Celery's, about a task
        error = record.exc_info[1] if record.exc_info else None
        return given if error is None else {**given, "exc": named(error)}
    return tuple(named(each) if isinstance(each, BaseException) else each for each in given or ())


def without_messages(text: str, error: BaseException) -> str:
    """Return a sentence in which somebody quoted an exception, naming its type instead."""
    for link, _ in chain(error):
        for quoted in (repr(link), str(link)):
            text = text.replace(quoted, named(link)) if len(quoted) > SHORTEST_SECRET else text
    return text


def first_line(record: logging.LogRecord) -> str:
    """Return the first line: below it asyncio prints futures with their exceptions, and gunicorn tracebacks."""
    return named(record.msg) if isinstance(record.msg, BaseException) else record.getMessage().partition("\n")[0]


def of_gunicorn(record: logging.LogRecord) -> str:
    """Return what gunicorn says, without the request that it could not read or answer."""
    for beginning in ("Invalid request", "Error handling request"):
        if str(record.msg).startswith(beginning):
            return beginning
    return first_line(record)


SHORTENED = {"asyncio": first_line, "gunicorn.error": of_gunicorn, "py.warnings": first_line}


def told(error: BaseException, trace: TracebackType | None = None) -> str:
    """Return a traceback as Python prints it, but for the messages of the exceptions. What caused it comes first."""
    parts = []
    for number, (link, joint) in enumerate(chain(error)):
        frames = traceback.format_tb(trace if number == 0 and trace is not None else link.__traceback__)
        parts.append(f"{joint}Traceback (most recent call last):\n{''.join(frames)}{named(link)}")
    return "\n".join(reversed(parts))


def chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Yield an exception, what it was raised from, and so on, each with the words that lead to it."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        before = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        yield link, "" if before is None else "\nand then, from it:\n\n"
        link = before


def named(error: BaseException) -> str:
    """Return the kind of an exception, and what can be said of it that is of no message: a table's constraint, what the
    operating system calls it, why there is no connection.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if detail := reason(error):
        return f"{name}: {detail}"
    return name


def reason(error: BaseException) -> str:
    """Return what is safe to say of an exception beyond its kind."""
    if isinstance(error.__cause__, psycopg.Error):  # Django's errors say what PostgreSQL says
        error = error.__cause__
    if isinstance(error, psycopg.Error):
        if error.diag.sqlstate is None and isinstance(error, psycopg.OperationalError):
            return in_one_line(error)  # there was no statement yet
        return " ".join(filter(None, (error.diag.sqlstate, error.diag.constraint_name)))
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(named(each) for each in error.exceptions)
    if type(error).__module__ == "builtins" and isinstance(error, OSError) and error.errno in errno.errorcode:
        return os.strerror(error.errno or 0)
    return in_one_line(error) if isinstance(error, SPEAKS_OF_CODE) else ""


def in_one_line(error: BaseException) -> str:
    """Return the message of an exception."""
    return " ".join(str(error).split())
