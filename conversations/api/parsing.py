"""JSON as RFC 8259 and the database take it."""

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class TooLarge(APIException):
    """The body is over the limit."""

    status_code = 413
    default_code = "too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit // 1024} KB.")


class StrictJSONParser(BaseParser):
    """Refuses what `json` would let through: NaN, numbers without end, half characters, keys that stand twice, nesting
    without end, and more than `limit` bytes.
    """

    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the parsed body. Raises `ParseError` (400) or `TooLarge` (413)."""
        body = stream.read(self.limit + 1)
        if len(body) > self.limit:
            raise TooLarge(self.limit)
        try:
            text = body.decode()
            if ESCAPED_SURROGATE.search(text):
                refuse_lone_surrogates(text)
            return json.loads(
                text, object_pairs_hook=without_repeated_keys, parse_constant=refuse_constant, parse_float=finite
            )
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from None


class BatchJSONParser(StrictJSONParser):
    """The same for many messages at once, up to 4 MB."""

    limit = 4 * 1024 * 1024


def without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of these members. Raises ValueError if a name stands twice (RFC 8259, 4: unpredictable)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name stands twice in one object")
    return members


def refuse_lone_surrogates(text: str) -> None:
    """Raise ValueError for half of a surrogate pair, which no encoding can carry (RFC 8259, 8.2)."""
    json.dumps(json.loads(text), ensure_ascii=False).encode()


def finite(text: str) -> float:
    """Return a number. Raises ValueError if it is too large for one (RFC 8259, 6)."""
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


def refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which are not JSON (RFC 8259, 6)."""
    raise ValueError(f"{name} is not JSON")
