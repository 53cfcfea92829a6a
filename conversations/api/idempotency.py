"""`Idempotency-Key`: the same request, sent again, makes nothing new."""

import json
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from django.db import transaction
from rest_framework.exceptions import APIException, ParseError
from rest_framework.request import Request

from conversations.api.paging import InvalidQuery
from conversations.models import IdempotencyKey, Message

REPLAYED = {"Idempotent-Replayed": "true"}
USABLE_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class InvalidKey(InvalidQuery):
    """A 422 for the header."""

    location = "header"


class Reused(APIException):
    """The key was used for another body."""

    status_code = 422
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used with another body. Take a new key for a new message."


class Gone(APIException):
    """The key's message was deleted."""

    status_code = 410
    default_code = "message_gone"
    default_detail = "This Idempotency-Key made a message that was deleted since."


def key_of(request: Request) -> str | None:
    """Return the request's key, None without one. Raises `InvalidKey`."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not USABLE_KEY.fullmatch(key):
        raise InvalidKey({"Idempotency-Key": ["Give 1 to 255 visible ASCII characters."]}, code="invalid_key")
    return key


def fingerprint(body: Any) -> str:
    """Return the same text for bodies that are equal as parsed JSON, whatever their spaces and order of members.

    Raises `ParseError` for one that is nested too deeply.
    """
    try:
        return sha256(json.dumps(comparable(body), sort_keys=True).encode()).hexdigest()
    except RecursionError:
        raise ParseError("The JSON is nested too deeply.") from None


def comparable(value: Any) -> Any:
    """Return a JSON value with equal numbers written alike: 1.0 is 1."""
    match value:
        case dict():
            return {name: comparable(below) for name, below in value.items()}
        case list():
            return [comparable(below) for below in value]
        case float() if value.is_integer():
            return int(value)
    return value


def made_before(client: Any, key: str, body: Any) -> Message | None:
    """Return the message that a client's key and body made, None if the key is new. Raises `Reused` or `Gone`."""
    remembered = IdempotencyKey.objects.filter(client_id=client.pk, key=key).select_related("message").first()
    if remembered is None:
        return None
    if remembered.fingerprint != fingerprint(body) or remembered.results is not None:
        raise Reused
    if remembered.message is None:
        raise Gone
    return remembered.message


def results_before(client: Any, key: str, body: Any) -> list[Any] | None:
    """Return the results of the batch that a client's key and body made, None if the key is new. Raises `Reused`."""
    kept = IdempotencyKey.objects.filter(client_id=client.pk, key=key).first()
    return None if kept is None else results_of(kept, body)


def results_of(kept: IdempotencyKey, body: Any) -> list[Any]:
    """Return the results that are kept under a key. Raises `Reused`."""
    if kept.fingerprint != fingerprint(body) or kept.results is None:
        raise Reused
    return list(kept.results)


@transaction.atomic
def make_batch_once(client: Any, key: str, body: Any, make: Callable[[], list[Any]]) -> list[Any] | None:
    """Make a batch under a client's key and keep what `make` returns; where somebody else just did, return theirs.

    Raises `Reused`.
    """
    kept, is_new = IdempotencyKey.objects.take_for_batch(client.pk, key, fingerprint(body))
    if not is_new:
        return results_of(kept, body)
    kept.results = make()
    kept.save(update_fields=["results"])
    return None


@transaction.atomic
def make_once(client: Any, key: str, body: Any, message: Message, make: Callable[[Message], object]) -> Message | None:
    """Make a message under a client's key; where somebody else just did, make nothing and return theirs.

    Raises `Reused` or `Gone`.
    """
    if not IdempotencyKey.objects.take(client.pk, key, fingerprint(body), message.pk):
        return made_before(client, key, body)
    make(message)
    return None
