"""The border with the providers, in our words: frozen values in, frozen values out.

An adapter translates these to one SDK and back. It knows no model, no task and no request.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Literal, Protocol
from uuid import UUID

Channel = Literal["sms", "mms", "email"]
ReportedStatus = Literal["sent", "delivered", "undelivered"]
CallbackKind = Literal["status", "inbound", "unknown"]
Keyword = Literal["stop", "start", "help"]
OptOutReason = Literal["provider", "unsubscribe", "spam_report", "bounce"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundMessage:
    """One attempt to send one message.

    `sender` and `recipient` are normalised (E.164, short code, alphanumeric, or email address); `attachments`
    are https URLs. `message_id` and `attempt` travel with the call, so that every callback finds its message.

    The rest is email's, "" and () where there is none: `message_id_header` and `references` (oldest first, so the last
    is what it answers) with their angle brackets (RFC 5322 §3.6.4); `reply_to`, an address; `unsubscribe_url`, which
    takes a one-click POST (RFC 8058).
    """

    message_id: UUID
    attempt: int
    channel: Channel
    sender: str
    recipient: str
    body: str = ""
    subject: str = ""
    html: str = ""
    attachments: tuple[str, ...] = ()
    message_id_header: str = ""
    references: tuple[str, ...] = ()
    reply_to: str = ""
    unsubscribe_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The provider took the message over. `provider_message_id` is "" when its answer named none."""

    provider_message_id: str
    segments: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A request from a provider as it came: the public URL it called (query included), its raw body, its headers.

    Header names are lower case.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]


class Signature(Enum):
    """What the signature of a callback says: `INVALID` covers wrong and malformed ones alike."""

    VALID = "valid"
    MISSING = "missing"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackPart:
    """One fact in a callback (SendGrid sends many in one request).

    `dedupe_key` is the same for every repetition of the fact, at most 100 characters. `payload` is JSON-safe; with
    `body`, which is what no JSON should carry (a mail as it came, up to 35 MB), it is all that
    `Provider.read_report` or `Provider.read_inbound` needs to read the fact again later.
    """

    dedupe_key: str
    kind: CallbackKind
    payload: dict[str, Any]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What a provider says became of a message.

    `status` is None for what changes no status (a word we do not know, an opened mail, a message that is still queued
    there). `provider_status` is the provider's own word. `message_id` and `attempt` are ours, where the callback
    carried them; otherwise `provider_message_id` finds the message. `error_code` is the provider's, as text, with
    `error_message` a sentence a person understands; both "" when nothing went wrong. `opt_out` says why the recipient
    must get no more from this sender, None when nothing says so.
    """

    provider_message_id: str
    status: ReportedStatus | None
    provider_status: str
    message_id: UUID | None = None
    attempt: int | None = None
    error_code: str = ""
    error_message: str = ""
    occurred_at: datetime | None = field(default=None)
    opt_out: OptOutReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMessage:
    """What a provider's own records hold of a message: its id and text, when it was made there, what became of it."""

    provider_message_id: str
    body: str
    created_at: datetime
    report: DeliveryReport


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMedia:
    """A picture or file that came with a message: at `url`, still to be fetched, or without one here as `content`.

    `content_type` is what the other side claims, in lower case. `filename` has no folders and may be ""; `content_id`
    (RFC 2392, without angle brackets) is what HTML refers to as `cid:…`, "" for an attachment of its own.
    """

    url: str = ""
    content: bytes = b""
    content_type: str = "application/octet-stream"
    filename: str = ""
    content_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """A message that somebody sent to one of our addresses.

    `provider_message_id` is the same for every repetition of the message, up to 255 characters; "" where the provider
    gave nothing that could be one. `sender` and `recipient` are as the provider wrote them (an email address without
    its display name) and not normalised: short codes and names are possible. Text holds nothing that PostgreSQL
    refuses. `media` has at most some dozens of files, `media_left_out` counts the others.

    `recipients` are all that a mail was delivered to, `recipient` the first of them. `message_id_header`, `in_reply_to`
    and `references` (oldest first) are email's, with their angle brackets. `automatic` mail comes from a machine and
    must not be answered by one (RFC 3834). `keyword` is what the provider
    itself recognised and acted upon. `segments` is None where it was not counted, `occurred_at` where nothing says when
    it was sent.
    """

    provider_message_id: str
    channel: Channel
    sender: str
    recipient: str
    body: str = ""
    subject: str = ""
    html: str = ""
    media: tuple[InboundMedia, ...] = ()
    media_left_out: int = 0
    recipients: tuple[str, ...] = ()
    message_id_header: str = ""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    automatic: bool = False
    keyword: Keyword | None = None
    segments: int | None = None
    occurred_at: datetime | None = None


class Provider(Protocol):
    """One account with a provider. Safe to share between threads; `send` runs on one event loop for its whole life."""

    name: str

    async def send(self, message: OutboundMessage) -> Accepted:
        """Offer the message once, without any retry, within the account's call timeout.

        Raises one of the outcomes in `providers.errors`; anything it cannot explain is `Uncertain`.
        """

    async def close(self) -> None:
        """Close the connections that are kept alive."""

    def check_signature(self, callback: Callback) -> Signature:
        """Say whether the callback comes from the provider. Never raises."""

    def split(self, callback: Callback) -> Sequence[CallbackPart]:
        """Take a callback apart into facts, each of which counts once.

        Raises `UnreadableCallback` with the reason when not even one fact can be read.
        """

    def read_report(self, payload: Mapping[str, Any]) -> DeliveryReport:
        """Translate a part of kind "status" into our words."""

    def read_inbound(self, payload: Mapping[str, Any], body: bytes = b"") -> InboundMessage:
        """Translate a part of kind "inbound" into our words; the same payload always gives the same message.

        Raises `UnreadableCallback` with the reason, and nothing else, when the sender or the recipient is missing or
        the message can't be read.
        """

    def media_credentials(self, url: str) -> tuple[str, str] | None:
        """The user name and password that this account's media at `url` ask for, None for any other URL."""

    async def find(self, message: OutboundMessage, since: datetime) -> Sequence[FoundMessage] | None:
        """All that the provider's records hold from this sender to this recipient, made since then, oldest first,
        whatever it says; None where the provider keeps no records that could prove an absence. Raises `ProviderError`.
        """

    async def ask(self, provider_message_id: str) -> DeliveryReport | None:
        """What became of a message that the provider accepted; None where it can't be asked. Raises `ProviderError`."""

    def missed(self, since: datetime) -> AsyncIterator[CallbackPart]:
        """What the account holds since then, as the callbacks that should have told us would have: the same keys for
        messages that came in, and for each message that we sent the status that it has now.

        Nothing where the provider keeps no list, as it comes again by itself. Raises `ProviderError`.
        """
