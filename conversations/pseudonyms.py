"""What stands in the place of an address that is not kept: the same for the same address, and it tells nobody which.

It is HMAC-SHA256 of the address in lower case, with a key that follows from SECRET_KEY.
"""

from functools import lru_cache

from django.conf import settings
from django.utils.crypto import salted_hmac

REDACTED = "redacted"
PREFIX = f"{REDACTED}:"
CHARACTERS = 32


def pseudonym(address: str) -> str:
    """Return what stands for an address, such as `redacted:0b5a…`: 32 hexadecimal digits. One stands for itself."""
    return address if address.startswith(REDACTED) else pseudonyms(address)[0]


def pseudonyms(address: str) -> list[str]:
    """Return what may stand for an address: by the key of today, and by those in SECRET_KEY_FALLBACKS."""
    return [_pseudonym(address.lower(), key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


@lru_cache(maxsize=10_000)
def _pseudonym(lowered: str, key: str) -> str:
    digest = salted_hmac("conversations.pseudonyms", lowered, secret=key, algorithm="sha256").hexdigest()
    return f"{PREFIX}{digest[:CHARACTERS]}"
