"""What stands in the place of an address that is not kept: the same for the same address, and it tells nobody which.

It is HMAC-SHA256 (RFC 2104) of the address in lower case, with a key that follows from SECRET_KEY. Python makes it, and
so does PostgreSQL (`statements.OPTED_OUT`) where it looks whether somebody opted out whose address is not kept.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

from django.conf import settings

REDACTED = "redacted"
PREFIX = f"{REDACTED}:"
CHARACTERS = 32
BLOCK = 64
"""Bytes that SHA-256 takes at once."""


def pseudonym(address: str) -> str:
    """Return what stands for an address, such as `redacted:0b5a…`: 32 hexadecimal digits. One stands for itself."""
    return address if address.startswith(REDACTED) else pseudonyms(address)[0]


def pseudonyms(address: str) -> list[str]:
    """Return what may stand for an address: by the key of today, and by those in SECRET_KEY_FALLBACKS."""
    told = address.lower().encode()
    digests = (sha256(outer + sha256(inner + told).digest()).hexdigest() for inner, outer in zip(*_pads(), strict=True))
    return [f"{PREFIX}{digest[:CHARACTERS]}" for digest in digests]


def parameters() -> dict[str, list[bytes]]:
    """Return the keys as statements take them: `inner` and `outer`, each padded as HMAC does."""
    inner, outer = _pads()
    return {"inner": inner, "outer": outer}


def _pads() -> tuple[list[bytes], list[bytes]]:
    return _padded((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=8)
def _padded(secrets: Sequence[str]) -> tuple[list[bytes], list[bytes]]:
    keys = [sha256(f"switchboard pseudonyms {secret}".encode()).digest().ljust(BLOCK, b"\0") for secret in secrets]
    return [bytes(each ^ 0x36 for each in key) for key in keys], [bytes(each ^ 0x5C for each in key) for key in keys]
