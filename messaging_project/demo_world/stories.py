"""The stories of `stories.toml` as values."""

import random
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from messaging_project.demo_world.people import Person

FILE = Path(__file__).with_name("stories.toml")
TURN = re.compile(
    r"(?P<side>[<>]) (?:\{(?P<after>\d+)(?P<unit>[smhd])\} ?)?(?:\((?P<fate>[a-z_]+(?::[0-9.]+)?)\) ?)?"
    r"(?:\[(?P<file>[^\]]+)\] ?)?(?P<text>.*?)(?: ?\[(?P<last_file>https:[^\]]+)\])?",
    re.DOTALL,
)
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
STREETS = ("12 Mill Lane", "7 Quay Street", "31 Orchard Row", "4 Station Road", "58 Hill Rise", "19 Linden Walk")
ITEMS = {
    "en": (
        "The Lighthouse Garden",
        "A Short History of Salt",
        "Bread for Beginners",
        "Nine Winters",
        "Atlas of Clouds",
    ),
    "es": ("El jardín del faro", "Nueve inviernos", "Pan para principiantes"),
}
DATES = {
    "en": "{:%A} {day} {:%B}",
    "de": "{day}.{month}.",
    "fr": "{day}/{month}",
    "es": "{day}/{month}",
    "ja": "{month}月{day}日",
}


@dataclass(frozen=True, slots=True)
class Business:
    """One of ours who write to people."""

    name: str
    phone: str
    email: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a story. `after` is None where the story leaves it open; `file` is a name or, of ours, a link."""

    is_ours: bool
    after: timedelta | None
    fate: str
    file: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One conversation, before anybody in particular has it."""

    business: Business
    turns: tuple[Turn, ...]
    channel: str
    language: str = "en"
    title: str = ""
    subject: str = ""
    status: str = "active"
    type: str = "direct"
    unread: bool = False


def read_stories() -> list[Story]:
    """Return all stories in their order."""
    told = tomllib.loads(FILE.read_text(encoding="utf-8"))
    businesses = {name: Business(**values) for name, values in told["businesses"].items()}
    return [
        Story(business=businesses[each.pop("from")], turns=tuple(map(read_turn, each.pop("turns"))), **each)
        for each in told["stories"]
    ]


def read_turn(line: str) -> Turn:
    """Return one turn. Raises ValueError for a line that is none."""
    found = TURN.fullmatch(line)
    if found is None:
        raise ValueError(f"No turn of a story: {line}")
    after = timedelta(**{UNITS[found["unit"]]: int(found["after"])}) if found["after"] else None
    usual = "delivered" if found["side"] == ">" else "received"
    file = found["file"] or found["last_file"] or ""
    return Turn(found["side"] == ">", after, found["fate"] or usual, file, found["text"])


def words(story: Story, person: Person, at: datetime, dice: random.Random) -> Mapping[str, str]:
    """Return what is filled into the texts of a story that ends at a time."""
    day = at + timedelta(days=dice.randint(2, 12))
    return {
        "first": person.first,
        "last": person.last,
        "name": person.name,
        "order": str(dice.randint(10_000, 99_999)),
        "euro": str(dice.choice((18, 24, 35, 42, 60, 85))),
        "street": dice.choice(STREETS),
        "hour": f"{dice.randint(8, 20)}:{dice.choice(('00', '15', '30', '45'))}",
        "date": DATES[story.language].format(day, day, day=day.day, month=day.month),
        "item": dice.choice(ITEMS.get(story.language, ITEMS["en"])),
    }
