"""JSON as RFC 8259 and the database take it."""

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser


class TooLarge(APIException):
    """The body is over the limit."""

    status_code = 413
    default_code = "too_large"
    default_detail = f"The body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024} KB."


class StrictJSONParser(BaseParser):
    """Refuses what `json` would let through: NaN, keys that stand twice, nesting without end, and more than 256 KB."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the parsed body. Raises `ParseError` (400) or `TooLarge` (413)."""
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise TooLarge
        try:
            return json.loads(body.decode(), object_pairs_hook=without_repeated_keys, parse_constant=refuse_constant)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from None


def without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of these members. Raises ValueError if a name stands twice (RFC 8259, 4: unpredictable)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name stands twice in one object")
    return members


def refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which are not JSON (RFC 8259, 6)."""
    raise ValueError(f"{name} is not JSON")
