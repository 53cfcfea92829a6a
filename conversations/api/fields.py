"""Request bodies and what they may hold, field by field: each refuses what it can't keep, with a code and a way out."""

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import cache, cached_property, lru_cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.utils import timezone
from rest_framework import serializers
from rest_framework.utils.serializer_helpers import BindingDict

from conversations.api.paging import aware
from providers.fetch import is_name, is_public

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
NUL = "\x00"
HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
MAX_TEXT_CHARACTERS = 1600
LONGEST_SCHEDULE = timedelta(days=366)
# More of them would make an answer much larger than its request, and take as long.
MOST_HINTS, MOST_HINT_CHARACTERS = 3, 50
MAX_METADATA_KEYS, MAX_METADATA_DEPTH, MAX_METADATA_BYTES = 50, 5, 4096


class Shape(serializers.Serializer[Any]):
    """A request body: fields that are not declared are refused, except those it says to ignore."""

    ignored: tuple[str, ...] = ()

    @cached_property
    def fields(self) -> BindingDict:
        """The fields, made once for all bodies of a kind: none keeps anything of a request."""
        return fields_of(type(self))

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated values. Raises a validation error that names every unknown field."""
        self.refuse_unknown(data, tuple(self.fields), self.ignored)
        return super().to_internal_value(data)

    @staticmethod
    def refuse_unknown(
        data: Any, known: tuple[str, ...], ignored: tuple[str, ...] = (), *, wanted: str = "a JSON object"
    ) -> None:
        """Raise a validation error for what is no object, or has members that nobody knows. `wanted` says what is."""
        if not isinstance(data, dict):
            raise serializers.ValidationError({"non_field_errors": [f"Give {wanted}."]}, code="not_an_object")
        if unknown := sorted(data.keys() - {*known, *ignored}):
            hints = {name: way_out(name[:MOST_HINT_CHARACTERS], known) for name in unknown[:MOST_HINTS]}
            errors = {name: [f"There is no such field{hints.get(name, '.')}"] for name in unknown}
            raise serializers.ValidationError(errors, code="unknown_field")


@lru_cache(1024)
def way_out(name: str, known: tuple[str, ...]) -> str:
    """Return the end of a sentence on a name that nobody knows: the one that was meant, else all there are."""
    meant = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {meant[0]}?" if meant else f": there are {', '.join(known)}."


@cache
def fields_of(shape: type[Shape]) -> BindingDict:
    """Return the fields of a body, bound to one that is nobody's."""
    nobodys = shape()
    fields = BindingDict(nobodys)
    for name, field in nobodys.get_fields().items():
        fields[name] = field
    return fields


def flattened(detail: Any, loc: tuple[str | int, ...]) -> Iterator[dict[str, Any]]:
    """Walk DRF's nested error details and yield `{"loc", "code", "msg"}` for each leaf.

    What they quote of the request is as it can be kept: with U+FFFD for NUL, which PostgreSQL's JSON does not take.
    """
    match detail:
        case dict():
            for name, below in detail.items():
                yield from flattened(below, loc if name == "non_field_errors" else (*loc, storable(name)))
        case list():
            for below in detail:
                yield from flattened(below, loc)
        case _:
            yield {"loc": list(loc), "code": detail.code, "msg": storable(str(detail))}


def storable(part: str | int) -> str | int:
    """Return a text with U+FFFD for each NUL; the place in a list is as it is."""
    return part.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(part, str) else part


def refusal(field: str, code: str, text: str) -> serializers.ValidationError:
    """Return the validation error of one field of the body."""
    return serializers.ValidationError({field: [text]}, code=code)


def check_body(message_type: str, body: str, *, has_more: bool) -> None:
    """Refuse a text that is too long, and a message without any content; with `has_more` it has other content."""
    if message_type != "email" and len(body) > MAX_TEXT_CHARACTERS:
        raise refusal("body", "too_long", f"A text has at most {MAX_TEXT_CHARACTERS:,} characters.")
    if is_blank(body) and not has_more:
        raise refusal("body", "empty_message", "Give a body or attachments.")


def check_ahead(name: str, time: datetime | None) -> None:
    """Refuse a time that is more than a year ahead."""
    if time and time > timezone.now() + LONGEST_SCHEDULE:
        raise refusal(name, "too_far_ahead", "Give a time within a year from now.")


class Text(serializers.CharField):
    """Text as it came: no number and no NUL passes for it."""

    default_error_messages = {"not_text": "Give text.", "unstorable_character": "NUL can't be kept."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **kwargs})
        # Ours says the same with a code of its own; the parser lets no lone surrogate through.
        self.validators = [each for each in self.validators if not type(each).__name__.startswith("Prohibit")]

    def to_internal_value(self, data: Any) -> str:
        """Return the text. Raises a validation error for anything else."""
        if not isinstance(data, str):
            self.fail("not_text")
        if NUL in data:
            self.fail("unstorable_character")
        return super().to_internal_value(data)


class Line(Text):
    """Text without control characters, so that nothing can break out of a header."""

    default_error_messages = {"control_character": "Control characters, line breaks included, are not allowed here."}

    def to_internal_value(self, data: Any) -> str:
        """Return the line. Raises a validation error for control characters."""
        text = super().to_internal_value(data)
        if CONTROL_CHARACTERS.search(text):
            self.fail("control_character")
        return text


class Number(serializers.IntegerField):
    """A whole number: neither text nor true passes for one."""

    default_error_messages = {"not_a_number": "Give a whole number."}

    def to_internal_value(self, data: Any) -> int:
        """Return the number. Raises a validation error for anything else."""
        if type(data) is not int:
            self.fail("not_a_number")
        return super().to_internal_value(data)


class Identifier(serializers.UUIDField):
    """A UUID as text: a number is none."""

    default_error_messages = {"invalid_uuid": "Give a UUID."}

    def to_internal_value(self, data: Any) -> UUID:
        """Return the UUID. Raises a validation error for anything else."""
        try:
            return UUID(data) if isinstance(data, str) else self.fail("invalid_uuid")
        except ValueError:
            self.fail("invalid_uuid")


class Choice(serializers.ChoiceField):
    """One of a few words; the error names them."""

    def __init__(self, choices: list[str], **kwargs: Any) -> None:
        named: dict[str, Any] = {"invalid_choice": f"Give one of: {', '.join(choices)}."}
        super().__init__(choices, error_messages=named, **kwargs)


class Flag(serializers.BooleanField):
    """true or false, and no text or number that means it."""

    default_error_messages = {"invalid": "Give true or false."}

    def to_internal_value(self, data: Any) -> bool:
        """Return the value. Raises a validation error for anything but a JSON boolean."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Moment(serializers.Field[datetime, Any, str, Any]):
    """A time with its offset (RFC 3339)."""

    default_error_messages = {
        "invalid_datetime": "Give a time with seconds and its offset, such as 2026-01-31T12:00:00Z."
    }

    def to_internal_value(self, data: Any) -> datetime:
        """Return the time in UTC. Raises a validation error for times without an offset or beyond the calendar."""
        try:
            return aware(data)
        except (TypeError, ValueError, OverflowError):
            self.fail("invalid_datetime")

    def to_representation(self, value: datetime) -> str:
        """Return the time in RFC 3339."""
        return value.isoformat()


class Attachment(Line):
    """An https URL of something to send along. Syntax and literal addresses are checked; no name is resolved."""

    default_error_messages = {
        "invalid_url": "Give an https URL of up to 2,048 characters, without user name or password.",
        "private_address": "This URL names an address that is not public.",
    }

    def to_internal_value(self, data: Any) -> str:
        """Return the URL. Raises a validation error if it can't be a public https URL."""
        text = super().to_internal_value(data)
        try:
            url = urlsplit(text)
            host, _ = url.hostname or "", url.port
        except ValueError:
            self.fail("invalid_url")
        well_formed = url.scheme == "https" and "@" not in url.netloc and (":" in host or HOST.fullmatch(host))
        if not well_formed or len(text) > 2048 or not text.isascii() or " " in text:
            self.fail("invalid_url")
        if names_private_address(host):
            self.fail("private_address")
        return text


def names_private_address(host: str) -> bool:
    """Say whether a host of a URL is this machine's own name or a literal address that is not public."""
    host = host.rstrip(".")
    return host == "localhost" or host.endswith(".localhost") or not (is_name(host) or is_public(host))


class Metadata(serializers.Field[dict[str, Any], Any, dict[str, Any], Any]):
    """A JSON object of the client's own: up to 50 keys, 5 levels and 4 KB."""

    default_error_messages = {
        "not_an_object": "Give a JSON object.",
        "too_many_keys": f"Give at most {MAX_METADATA_KEYS} keys.",
        "too_deep": f"Nest at most {MAX_METADATA_DEPTH} levels deep.",
        "too_large": f"Give at most {MAX_METADATA_BYTES:,} bytes of JSON.",
        "unstorable_character": "NUL can't be kept.",
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the object. Raises a validation error if it is too much of anything."""
        if not isinstance(data, dict):
            self.fail("not_an_object")
        if depth(data) > MAX_METADATA_DEPTH:
            self.fail("too_deep")
        if count_keys(data) > MAX_METADATA_KEYS:
            self.fail("too_many_keys")
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        if any(NUL in each for each in texts(data)):
            self.fail("unstorable_character")
        if len(text.encode()) > MAX_METADATA_BYTES:
            self.fail("too_large")
        return data

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return the object."""
        return value


def depth(value: Any) -> int:
    """Return how many levels of objects and arrays stand in each other; counting stops past the limit."""
    level, layer = 0, [value]
    while level <= MAX_METADATA_DEPTH and (layer := [each for each in layer if isinstance(each, dict | list)]):
        level += 1
        layer = [below for each in layer for below in (each.values() if isinstance(each, dict) else each)]
    return level


def count_keys(value: Any) -> int:
    """Return how many keys all objects in a value have together."""
    if isinstance(value, dict):
        return len(value) + sum(map(count_keys, value.values()))
    return sum(map(count_keys, value)) if isinstance(value, list) else 0


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a value, the names of its members included."""
    match value:
        case str():
            yield value
        case dict():
            for name, below in value.items():
                yield name
                yield from texts(below)
        case list():
            for below in value:
                yield from texts(below)


def is_blank(text: str) -> bool:
    """Say whether a reader would see nothing: only white space and invisible format characters."""
    return all(character.isspace() or unicodedata.category(character) == "Cf" for character in text)
