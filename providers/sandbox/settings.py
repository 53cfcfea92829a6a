"""What the sandbox is told at its start, and what can be dialled while it runs."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from providers.wire import is_loopback

LONGEST_MS = 3_600_000
# As Twilio allows in the fragment of a webhook's URL.
MOST_REPEATS = 5


class Dial(NamedTuple):
    """The largest value of a dial, which is also a whole number from 0, and what it does in words."""

    largest: int
    what: str


DIALS = {
    "latency_ms": Dial(LONGEST_MS, "How long each answer of the providers takes, in milliseconds."),
    "callback_delay_ms": Dial(
        LONGEST_MS, "How long before each callback, and before we get a text or mail, in milliseconds."
    ),
    "drop_percent": Dial(100, "Of a hundred callbacks so many never come."),
    "duplicate_percent": Dial(100, "Of a hundred callbacks so many come twice."),
    "reorder_percent": Dial(100, "Of a hundred callbacks so many come after the next one of the same message."),
    "inbound_retries": Dial(MOST_REPEATS, "How often Twilio repeats a text to us that was not taken."),
    "activity_lag_ms": Dial(LONGEST_MS, "How long until SendGrid's Email Activity shows a mail, in milliseconds."),
    "activity_per_minute": Dial(1_000, "How often a minute SendGrid's Email Activity may be asked."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """Credentials as the real providers would know them. An empty one opens no door: every call to it is a 401.

    `sendgrid_private_key` is base64 of a PKCS8 DER on P-256; empty, no SendGrid event is sent. `public_url` is where
    SendGrid's events go and what people write, to the doors with `callback_query`; Twilio's statuses go where each
    request says. All of it is delivered at `deliver_to` where that is given, as a proxy before `public_url` would, and
    otherwise only on loopback. What people wrote is kept beside the ledger.
    """

    account_sid: str
    auth_token: str
    api_key: str
    sendgrid_private_key: str
    public_url: str
    ledger: Path
    latency_ms: int
    callback_delay_ms: int
    callback_query: str = ""
    deliver_to: str = ""

    def door(self, path: str) -> str:
        """The URL of one of our doors."""
        return f"{self.public_url}{path}{self.callback_query}"

    def target(self, url: str) -> str | None:
        """Where a callback to this URL is delivered; None where it must not go."""
        if self.deliver_to and url.startswith(f"{self.public_url}/"):
            return self.deliver_to + url.removeprefix(self.public_url)
        return url if is_loopback(url) else None


@dataclass(slots=True)
class Dials:
    """How long an answer takes, how long before each callback (milliseconds), and how badly callbacks travel.

    Of a hundred callbacks so many are delivered twice, never (though they count as told), or after the next one of
    the same message. `inbound_retries` is how often Twilio repeats an inbound message that was not taken.
    SendGrid's Email Activity shows a mail `activity_lag_ms` milliseconds after it was accepted, and takes
    `activity_per_minute` requests in any minute.
    """

    latency_ms: int
    callback_delay_ms: int
    duplicate_percent: int = 0
    drop_percent: int = 0
    reorder_percent: int = 0
    inbound_retries: int = 0
    activity_lag_ms: int = 0
    activity_per_minute: int = 6

    async def wait_to_answer(self) -> None:
        """Sleep `latency_ms` milliseconds, as dialled when the wait begins."""
        await asyncio.sleep(self.latency_ms / 1000)

    @property
    def callback_delay(self) -> float:
        """In seconds."""
        return self.callback_delay_ms / 1000

    def duplicates(self) -> bool:
        """Whether the next callback is delivered twice. Every question is a new throw of the dice, here and below."""
        return _falls(self.duplicate_percent)

    def drops(self) -> bool:
        """Whether the next callback is lost."""
        return _falls(self.drop_percent)

    def reorders(self) -> bool:
        """Whether the next callback is held back."""
        return _falls(self.reorder_percent)

    def shown(self) -> dict[str, int]:
        """The times of answers and callbacks, and of the others those that are not as at first."""
        dials = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, first) in dials.items() if value != first}

    def turn(self, wish: Mapping[str, Any]) -> None:
        """Set what `POST /settings` names. ValueError with a sentence, and nothing turned, when it can't be."""
        for name, value in wish.items():
            if name not in DIALS:
                raise ValueError(f"There is no setting {name!r}; there are: {', '.join(DIALS)}.")
            if type(value) is not int or not 0 <= value <= DIALS[name].largest:
                raise ValueError(f"{name} must be a whole number from 0 to {DIALS[name].largest}.")
        for name, value in wish.items():
            setattr(self, name, value)


def _falls(percent: int) -> bool:
    return random.random() * 100 < percent
