"""What stands in the place of an address that is not kept: the same for the same address, and it tells nobody which.

It is HMAC-SHA256 of the address in lower case, with a key that follows from SECRET_KEY, and before it some digits that
follow from that key alone: no other key can make it anew, so it has to be known which ones are still needed.
"""

from functools import lru_cache

from django.conf import settings
from django.utils.crypto import salted_hmac

REDACTED = "redacted"
PREFIX = f"{REDACTED}:"
CHARACTERS_OF_THE_KEY, CHARACTERS = 8, 24


def pseudonym(address: str) -> str:
    """Return what stands for an address, such as `redacted:0b5a…`: 32 hexadecimal digits. One stands for itself."""
    return address if address.startswith(REDACTED) else pseudonyms(address)[0]


def pseudonyms(address: str) -> list[str]:
    """Return what may stand for an address: by the key of today, and by those in SECRET_KEY_FALLBACKS."""
    return [_pseudonym(address.lower(), key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


@lru_cache
def prefix_of(key: str) -> str:
    """Return what every pseudonym by a SECRET_KEY begins with."""
    return f"{PREFIX}{_digest('conversations.pseudonyms.key', '', key)[:CHARACTERS_OF_THE_KEY]}"


@lru_cache(maxsize=10_000)
def _pseudonym(lowered: str, key: str) -> str:
    return f"{prefix_of(key)}{_digest('conversations.pseudonyms', lowered, key)[:CHARACTERS]}"


def _digest(salt: str, text: str, key: str) -> str:
    return salted_hmac(salt, text, secret=key, algorithm="sha256").hexdigest()
