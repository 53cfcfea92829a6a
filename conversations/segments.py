"""How many segments a text is sent and billed in. Pure functions.

A text that the GSM 7-bit alphabet can write (3GPP TS 23.038, 6.2.1) has 160 septets in one segment and 153 in each of
several; characters of its extension table take two septets. Any other text is UCS-2: 70 code units of 16 bits in one
segment, 67 in each of several. Neither the two septets of an extended character nor the two code units of one beyond
the basic plane are parted between segments. As Twilio counts without its Smart Encoding, which replaces characters:
https://www.twilio.com/docs/glossary/what-sms-character-limit
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENDED = frozenset("\f^{}\\[~]|€")

Encoding = Literal["GSM-7", "UCS-2"]
# Units in one segment alone, and in each of several.
ROOM: dict[Encoding, tuple[int, int]] = {"GSM-7": (160, 153), "UCS-2": (70, 67)}


@dataclass(frozen=True, slots=True)
class Segmentation:
    """How a text is sent: `ucs2_characters` are those that GSM-7 has not, each once, in their order."""

    encoding: Encoding
    segments: int
    ucs2_characters: tuple[str, ...]


def segmentation(text: str) -> Segmentation:
    """Count the segments of a text; an empty one has one."""
    strange = tuple(dict.fromkeys(each for each in text if each not in GSM_BASIC and each not in GSM_EXTENDED))
    encoding: Encoding = "UCS-2" if strange else "GSM-7"
    units = [units_of(each, encoding) for each in text]
    alone, together = ROOM[encoding]
    return Segmentation(encoding, 1 if sum(units) <= alone else filled(units, together), strange)


def units_of(character: str, encoding: Encoding) -> int:
    """Return how many septets or 16-bit code units a character takes."""
    if encoding == "GSM-7":
        return 2 if character in GSM_EXTENDED else 1
    return 2 if ord(character) > 0xFFFF else 1


def filled(units: Sequence[int], room: int) -> int:
    """Return how many segments of this room are filled by characters of so many units, none of them parted."""
    segments, left = 1, room
    for each in units:
        if each > left:
            segments, left = segments + 1, room
        left -= each
    return segments
