"""The account `sandbox`, to which the messages of test clients go: one name for texts and mails alike.

What it sends is taken by the sandbox (`providers.sandbox`) in Twilio's and SendGrid's formats, so each call is passed
on to the adapter of one of the two.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from providers.base import (
    Accepted,
    Callback,
    CallbackPart,
    DeliveryReport,
    FoundMessage,
    InboundMessage,
    OutboundMessage,
    Provider,
    Signature,
)

NAME = "sandbox"


class SandboxAccount:
    """One account over two adapters; a callback is told by the door that it came to, a payload by its shape."""

    name = NAME

    def __init__(self, texts: Provider, mails: Provider) -> None:
        self._texts = texts
        self._mails = mails

    def _carrier(self, message: OutboundMessage) -> Provider:
        return self._mails if message.channel == "email" else self._texts

    def _caller(self, callback: Callback) -> Provider:
        return self._texts if callback.url.partition("?")[0].rstrip("/").endswith("/twilio") else self._mails

    def _teller(self, payload: Mapping[str, Any]) -> Provider:
        return self._texts if payload.keys() == {"params", "query"} else self._mails

    async def send(self, message: OutboundMessage) -> Accepted:
        """Offer the message once."""
        return await self._carrier(message).send(message)

    async def close(self) -> None:
        """Close the connections of both."""
        await self._texts.close()
        await self._mails.close()

    def check_signature(self, callback: Callback) -> Signature:
        """Say whether the callback comes from the sandbox."""
        return self._caller(callback).check_signature(callback)

    def split(self, callback: Callback) -> Sequence[CallbackPart]:
        """Take a callback apart. The keys are this account's own: nothing that it says can pass for what a provider
        said, and keep that from counting.
        """
        parts = self._caller(callback).split(callback)
        return [replace(part, dedupe_key=f"{NAME}:{part.dedupe_key}") for part in parts]

    def read_report(self, payload: Mapping[str, Any]) -> DeliveryReport:
        """Translate a part of kind "status"."""
        return self._teller(payload).read_report(payload)

    def read_inbound(self, payload: Mapping[str, Any], body: bytes = b"") -> InboundMessage:
        """Translate a part of kind "inbound"."""
        return self._teller(payload).read_inbound(payload, body)

    def media_credentials(self, url: str) -> tuple[str, str] | None:
        """The credentials of media at the sandbox."""
        return self._texts.media_credentials(url)

    async def find(self, message: OutboundMessage, since: datetime) -> Sequence[FoundMessage] | None:
        """What the sandbox holds of such a message."""
        return await self._carrier(message).find(message, since)

    async def ask(self, provider_message_id: str) -> DeliveryReport | None:
        """What became of a message; a mail can't be asked about."""
        is_text = provider_message_id.startswith(("SM", "MM"))
        return await (self._texts if is_text else self._mails).ask(provider_message_id)

    async def missed(self, since: datetime) -> AsyncIterator[CallbackPart]:
        """What the sandbox holds since then, as its callbacks would have told."""
        for account in (self._texts, self._mails):
            async for part in account.missed(since):
                yield replace(part, dedupe_key=f"{NAME}:{part.dedupe_key}")
