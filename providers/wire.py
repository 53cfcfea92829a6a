"""What comes over the wire from a provider, read so that nothing in it can hurt: waits, JSON, text for the database.

Both adapters use it; it knows neither of them. Everything here takes what strangers wrote and none of it raises,
except `storable`, which says so.
"""

import codecs
import json
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

# Deeper than any callback of either provider; json.dumps and PostgreSQL go much deeper, but not without end.
DEEPEST = 20

# What jsonb (and text) of PostgreSQL can't hold: NUL, and half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Python's own codecs, no charset of any mail; the first two take quadratic time.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
_PROVIDER_ID = re.compile(r"[\x21-\x7e]{1,255}")


def storable(value: Any, depth: int = DEEPEST) -> Any:
    """The same JSON value, with what PostgreSQL refuses replaced: U+FFFD for a character, text for NaN and infinity.

    Raises ValueError for a value nested deeper than `depth`.
    """
    if depth < 0:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_UNSTORABLE.sub("\ufffd", str(name)): storable(item, depth - 1) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item, depth - 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def as_text(raw: bytes, charset: str = "utf-8") -> str:
    """The text in these bytes, fit for the database. A charset that is none is taken for UTF-8."""
    try:
        known = codecs.lookup(charset[:40]).name not in _NO_CHARSETS
        text = raw.decode(charset if known else "utf-8", "replace")
    except (LookupError, ValueError):
        text = raw.decode("utf-8", "replace")
    return _UNSTORABLE.sub("\ufffd", text)


def json_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object in an answer, or {} when it holds anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The wait in seconds that `Retry-After` asks for (RFC 9110 §10.2.3: seconds or a date), None for no wish."""
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        moment = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return wait_until((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def wait_until(epoch: float) -> float:
    """Seconds from now until a moment given in seconds since 1970, 0 when it has passed."""
    return max(0.0, epoch - time.time())


def as_uuid(value: object) -> UUID | None:
    """The UUID that a callback brought back, None for anything else."""
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def as_provider_id(value: object) -> str:
    """An id that a provider gave: up to 255 visible ASCII characters, "" for anything else."""
    return value if isinstance(value, str) and _PROVIDER_ID.fullmatch(value) else ""


def as_attempt(value: object) -> int | None:
    """The number of an attempt (1, 2, …) that a callback brought back as text, None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 6:
        return int(value) or None
    return None
