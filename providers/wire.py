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
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

# Deeper than any callback of either provider; json.dumps and PostgreSQL go much deeper, but not without end.
DEEPEST = 20

# What jsonb (and text) of PostgreSQL can't hold: NUL, and half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Python's own codecs, no charset of any mail; the first two take quadratic time.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
# What mail programs write → the codec of Python for what they mean: names that it does not know, and charsets that are
# written with the larger set of the same family (as https://encoding.spec.whatwg.org/#names-and-labels reads them).
_CODECS = {
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "ms-kanji": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc-jp",
    "windows-874": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gb-2312-80": "gb18030",
    "x-gbk": "gb18030",
    "gbk": "gb18030",
    "cp936": "gb18030",
    "windows-936": "gb18030",
    "euc-kr": "cp949",
    "ks-c-5601": "cp949",
    "ks-c-5601-1987": "cp949",
    "ks-c-5601-1989": "cp949",
    "windows-949": "cp949",
    "x-windows-949": "cp949",
    "korean": "cp949",
    "x-big5": "big5hkscs",
    "big5": "big5hkscs",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "unicode-1-1-utf-8": "utf-8",
    "unicode-1-1-utf-7": "utf-7",
    "x-unicode-2-0-utf-7": "utf-7",
}
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
    name = charset.strip().lower().replace("_", "-")[:40]
    try:
        codec = codecs.lookup(_CODECS.get(name, name)).name
        # Where it can't be read, UTF-7 is a wrong label.
        text = raw.decode("utf-8" if codec in _NO_CHARSETS else codec, "strict" if codec == "utf-7" else "replace")
    except (LookupError, ValueError):
        text = raw.decode("utf-8", "replace")
    # By themselves, since a regex takes 8 bytes for each NUL.
    return _UNSTORABLE.sub("\ufffd", text.replace("\0", "\ufffd"))


def one_line(text: str) -> str:
    """The text fit for a header or a name: control characters and line ends are spaces, none at its ends."""
    return _CONTROLS.sub(" ", _UNSTORABLE.sub("\ufffd", text)).strip()


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


def is_loopback(url: str) -> bool:
    """Whether the URL is http(s) to this machine, as far as its text says; no name is looked up."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme in {"http", "https"} and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False
