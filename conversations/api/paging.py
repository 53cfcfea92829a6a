"""Pages of a list: by limit and offset, or by a cursor that stays fast at any depth."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import F, Model, Q, QuerySet
from django.db.models.expressions import OrderBy
from rest_framework.exceptions import ValidationError

MAX_OFFSET = 1_000_000
# RFC 3339, 5.6. Python reads much more as a time, weeks and a NUL at the end included.
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Row = TypeVar("Row", bound=Model)


class InvalidQuery(ValidationError):
    """A 422 for a value in the query string."""

    location = "query"


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    limit: int
    offset: int
    after: tuple[datetime | None, UUID] | None

    @classmethod
    def of(cls, query: Mapping[str, str], *, default: int = 50, most: int = 100) -> "Page":
        """Read `limit` (1 to `most`), `offset` and `cursor`. Raises `InvalidQuery`."""
        cursor = query.get("cursor")
        if cursor and "offset" in query:
            raise InvalidQuery({"cursor": ["Give a cursor or an offset, not both."]}, code="cursor_and_offset")
        return cls(
            limit=whole_number(query, "limit", default, 1, most),
            offset=whole_number(query, "offset", 0, 0, MAX_OFFSET),
            after=read_cursor(cursor) if cursor else None,
        )

    def show(
        self, noun: str, rows: QuerySet[Row], time_field: str, represent: Callable[[Row], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the page as the API answers it: the rows under their noun, newest first, and what is around them."""
        found, following = self.take(rows, time_field)
        return {
            noun: [represent(row) for row in found],
            "total": rows.count(),
            "limit": self.limit,
            "offset": self.offset,
            "next": following,
        }

    def take(self, rows: QuerySet[Row], time_field: str) -> tuple[list[Row], str | None]:
        """Return the page of `rows`, newest first by `time_field`, and the cursor of the next page, if there is one.

        Rows without a time come last.
        """
        found = self._from_cursor(rows, time_field) if self.after else self._from_offset(rows, time_field)
        page = found[: self.limit]
        more = len(found) > self.limit
        return page, write_cursor(getattr(page[-1], time_field), page[-1].pk) if more else None

    def _from_offset(self, rows: QuerySet[Row], time_field: str) -> list[Row]:
        return list(rows.order_by(*newest_first(rows, time_field))[self.offset : self.offset + self.limit + 1])

    def _from_cursor(self, rows: QuerySet[Row], time_field: str) -> list[Row]:
        """Walk the index on (time, id) from the cursor on; the planner can use it for a condition of this form."""
        assert self.after is not None
        time, row_id = self.after
        wanted = self.limit + 1
        found: list[Row] = []
        if time is not None:
            later_than = Q(**{f"{time_field}__lt": time}) | Q(id__lt=row_id)
            timed = rows.filter(Q(**{f"{time_field}__lte": time}) & later_than)
            found = list(timed.order_by(*newest_first(rows, time_field))[:wanted])
        if nullable(rows, time_field) and len(found) < wanted:
            timeless = rows.filter(**{f"{time_field}__isnull": True})
            timeless = timeless if time is not None else timeless.filter(id__lt=row_id)
            found += timeless.order_by(*newest_first(rows, time_field))[: wanted - len(found)]
        return found


def newest_first(rows: QuerySet[Row], time_field: str) -> tuple[OrderBy, OrderBy]:
    """Return the order in which an index has the rows: in any other, no index can be walked."""
    time = F(time_field).desc(nulls_last=True) if nullable(rows, time_field) else F(time_field).desc()
    return time, F("id").desc()


def nullable(rows: QuerySet[Row], field: str) -> bool:
    """Say whether a column of these rows may be empty."""
    return bool(rows.model._meta.get_field(field).null)


def whole_number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return a query value as a whole number in its range. Raises `InvalidQuery`."""
    text = query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
        return int(text)
    raise InvalidQuery({name: [f"Give a whole number from {least} to {most}."]}, code="invalid_number")


def write_cursor(time: datetime | None, row_id: UUID) -> str:
    """Return the place of a row in a list as opaque text."""
    return base64.urlsafe_b64encode(f"{time.isoformat() if time else ''}|{row_id}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[datetime | None, UUID]:
    """Return the place that a cursor names. Raises `InvalidQuery`."""
    try:
        time, row_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split("|")
        return aware(time) if time else None, UUID(row_id)
    except (ValueError, OverflowError):
        raise InvalidQuery({"cursor": ["This is not a cursor of this list."]}, code="invalid_cursor") from None


def aware(text: str) -> datetime:
    """Return an RFC 3339 time, which names its offset. Raises ValueError, also for times beyond the calendar."""
    if not MOMENT.fullmatch(text):
        raise ValueError("not RFC 3339")
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def choice(query: Mapping[str, str], name: str, choices: list[str]) -> dict[str, Any]:
    """Return a filter for a query value out of a few words, or none if it isn't given. Raises `InvalidQuery`."""
    value = query.get(name)
    if value is None:
        return {}
    if value not in choices:
        raise InvalidQuery({name: [f"Give one of: {', '.join(choices)}."]}, code="invalid_choice")
    return {name: value}


def identifier(query: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return a filter for a query value that is a UUID, or none if it isn't given. Raises `InvalidQuery`."""
    value = query.get(name)
    if value is None:
        return {}
    try:
        return {name: UUID(value)}
    except ValueError:
        raise InvalidQuery({name: ["Give a UUID."]}, code="invalid_uuid") from None


def moment(query: Mapping[str, str], name: str, lookup: str) -> dict[str, Any]:
    """Return a filter for a query value that is an RFC 3339 time, or none if it isn't given. Raises `InvalidQuery`."""
    value = query.get(name)
    if value is None:
        return {}
    try:
        # A "+" that nobody escaped in a query string arrives as a space.
        return {lookup: aware(re.sub(r" (?=\d\d:\d\d\Z)", "+", value))}
    except (ValueError, OverflowError):
        raise InvalidQuery({name: ["Give a time as 2026-01-31T12:00:00Z."]}, code="invalid_datetime") from None


def flag(query: Mapping[str, str], name: str) -> bool | None:
    """Return a query value that is true or false; None if it isn't given. Raises `InvalidQuery`."""
    value = query.get(name)
    if value not in (None, "true", "false"):
        raise InvalidQuery({name: ["Give true or false."]}, code="invalid_boolean")
    return None if value is None else value == "true"
