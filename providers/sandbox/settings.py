"""What the sandbox is told at its start, and what can be dialled while it runs."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """Credentials as the real providers would know them. An empty one opens no door: every call to it is a 401.

    `sendgrid_private_key` is base64 of a PKCS8 DER on P-256; empty, no SendGrid event is sent. `public_url` is where
    SendGrid's events go; Twilio's go where each request says.
    """

    account_sid: str
    auth_token: str
    api_key: str
    sendgrid_private_key: str
    public_url: str
    ledger: Path
    latency_ms: int
    callback_delay_ms: int


@dataclass(slots=True)
class Dials:
    """How long an answer takes, and how long before each callback. Milliseconds."""

    latency_ms: int
    callback_delay_ms: int

    async def wait_to_answer(self) -> None:
        """Sleep `latency_ms` milliseconds, as dialled when the wait begins."""
        await asyncio.sleep(self.latency_ms / 1000)

    @property
    def callback_delay(self) -> float:
        """In seconds."""
        return self.callback_delay_ms / 1000

    def turn(self, wish: Mapping[str, Any]) -> None:
        """Set what `POST /settings` names. ValueError with a sentence, and nothing turned, when it can't be."""
        for name, value in wish.items():
            if name not in self.__slots__:
                raise ValueError(f"There is no setting {name!r}; there are: {', '.join(self.__slots__)}.")
            if type(value) is not int or not 0 <= value <= LONGEST_MS:
                raise ValueError(f"{name} must be a whole number from 0 to {LONGEST_MS}.")
        for name, value in wish.items():
            setattr(self, name, value)
