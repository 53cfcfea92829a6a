"""What the lines of a log are about: whose request, which task, which message. Who logs meanwhile need not say it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

spoken_of: ContextVar[Mapping[str, Any]] = ContextVar("spoken_of", default=MappingProxyType({}))
"""The fields that every line carries that is written here and now; see `messaging_project.logs.FIELDS`."""


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Let every line that is written meanwhile carry these fields too, as do tasks of an event loop begun meanwhile.

    One that is empty hides what an outer one says: a message that no request brought is not of the task's request.
    """
    token = spoken_of.set({**spoken_of.get(), **fields})
    try:
        yield
    finally:
        spoken_of.reset(token)
