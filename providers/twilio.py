"""Twilio: SMS and MMS through its SDK. `providers.twilio_callbacks` reads its callbacks, `providers.twilio_records` its
list of messages.

A message is offered by one `POST …/Messages.json`, without any retry, on one kept-alive asynchronous client. Our id
and attempt travel in the query of the StatusCallback URL, which Twilio's signature covers. The URL's fragment is for
Twilio alone: neither called nor signed, it says how often a callback that failed is tried again, and after what
(https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).

What Twilio's codes mean stands in `providers.twilio_errors`.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from twilio.base import values
from twilio.base.exceptions import TwilioException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from providers import twilio_callbacks, twilio_records
from providers.base import (
    Accepted,
    Callback,
    CallbackPart,
    DeliveryReport,
    FoundMessage,
    InboundMessage,
    OutboundMessage,
    Signature,
)
from providers.errors import Misconfigured, NotSent, ProviderError, Rejected, Uncertain
from providers.transport import Refusal, Transport, in_our_words
from providers.twilio_callbacks import Secrets
from providers.twilio_errors import BY_CODE, BY_STATUS
from providers.wire import as_attempt, as_provider_id, json_object, retry_after

logger = logging.getLogger(__name__)

# By default Twilio tries once more, after a failed connection only. This asks for five more tries (the most there is),
# after a 4xx, a 5xx, a failed connection and a late answer alike, all within 15 s. So what we refuse comes six times.
INSIST = "#rc=5&rp=all"


class _HttpClient(AsyncHttpClient):  # type: ignore[misc]  # the SDK is untyped
    """The SDK's transport on ours."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(logger, is_async=True)
        self._transport = transport

    async def request(
        self,
        method: str,
        uri: str,
        params: dict[str, Any] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """See `Transport.request`."""
        sent_headers = dict(headers or {})
        if auth:
            sent_headers["Authorization"] = aiohttp.encode_basic_auth(*auth)
        body = urlencode(data, doseq=True).encode() if data else None
        return Response(*await self._transport.request(method, uri, headers=sent_headers, params=params, body=body))


class TwilioAccount:
    """One Twilio account, as `providers.base.Provider` promises.

    `callback_url` is where status callbacks go, None for none; `base_url` is Twilio's API or what stands in for it;
    `timeout` is the longest that a call may take, in seconds, and `connections` how many may be open. Without
    credentials nothing is sent or believed.

    Callbacks are believed when signed with `auth_token`, with `secondary_auth_token` while tokens are rotated, or with
    one of `shared_keys` (the key's id → its secret; https://www.twilio.com/docs/usage/webhooks/webhook-shared-keys).
    Those that name a subaccount have to be signed with its own token, from `subaccount_tokens` (AccountSid → token).
    """

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        base_url: str,
        callback_url: str | None,
        timeout: float,
        connections: int,
        name: str = "twilio",
        secondary_auth_token: str = "",
        subaccount_tokens: Mapping[str, str] | None = None,
        shared_keys: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._callback_url = callback_url
        self._base_url = base_url
        self._credentials = (account_sid, auth_token) if account_sid and auth_token else None
        self._secrets = Secrets(
            account_sid=account_sid,
            auth_tokens=(auth_token, secondary_auth_token) if self._credentials else (),
            subaccount_tokens=dict(subaccount_tokens or {}) if self._credentials else {},
            shared_keys=dict(shared_keys or {}) if self._credentials else {},
        )
        self._transport = Transport(base_url, timeout, connections)
        # The environment is the SDK's second source of credentials, and of a region that would override base_url.
        client = Client(
            account_sid, auth_token, http_client=_HttpClient(self._transport), environment={"TWILIO_EDGE": ""}
        )
        client.api.base_url = base_url
        self._messages = client.messages

    async def send(self, message: OutboundMessage) -> Accepted:
        """See `Provider.send`."""
        self._check_credentials()
        with self._in_our_words(f"message {message.message_id}, attempt {message.attempt},"):
            created = await self._messages.create_async(
                to=message.recipient,
                from_=message.sender,
                body=message.body or values.unset,
                media_url=list(message.attachments) or values.unset,
                status_callback=self._status_callback(message),
            )
            return _accepted(created.sid, created.num_segments)

    async def find(self, message: OutboundMessage, since: datetime) -> Sequence[FoundMessage]:
        """See `Provider.find`."""
        self._check_credentials()
        with self._in_our_words(f"the look for message {message.message_id}"):
            return await twilio_records.find(self._messages, message, since)

    async def ask(self, provider_message_id: str) -> DeliveryReport:
        """See `Provider.ask`."""
        self._check_credentials()
        with self._in_our_words(f"the question about {provider_message_id}"):
            return await twilio_records.ask(self._messages, provider_message_id)

    async def missed(self, since: datetime) -> AsyncIterator[CallbackPart]:
        """See `Provider.missed`: the messages of this account, not those of its subaccounts.

        It uses the connections of `send`, so it runs on the same event loop. Statuses come first, then what came in,
        oldest first.
        """
        self._check_credentials()
        with self._in_our_words("the list of messages"):
            async for part in twilio_records.parts(self._messages, since, self._base_url):
                yield part

    def _in_our_words(self, call: str) -> AbstractContextManager[None]:
        return in_our_words("Twilio", _refused, partial(_unread, call))

    def _check_credentials(self) -> None:
        if self._credentials is None:
            raise Misconfigured(
                f"No credentials: set {self.name.upper()}_ACCOUNT_SID and {self.name.upper()}_AUTH_TOKEN.",
                code="no_credentials",
            )

    def _status_callback(self, message: OutboundMessage) -> Any:
        if self._callback_url is None:
            return values.unset
        query = f"m={message.message_id}&a={message.attempt}"
        return f"{self._callback_url}{'&' if '?' in self._callback_url else '?'}{query}{INSIST}"

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._transport.close()

    def check_signature(self, callback: Callback) -> Signature:
        """See `Provider.check_signature`."""
        return twilio_callbacks.check_signature(callback, self._secrets)

    def split(self, callback: Callback) -> Sequence[CallbackPart]:
        """See `Provider.split`. A callback of Twilio is one fact: a status, or a message that came in."""
        return [twilio_callbacks.read_part(callback)]

    def read_report(self, payload: Mapping[str, Any]) -> DeliveryReport:
        """See `Provider.read_report`."""
        return twilio_callbacks.read_report(payload)

    def read_inbound(self, payload: Mapping[str, Any], body: bytes = b"") -> InboundMessage:
        """See `Provider.read_inbound`. Media stays at Twilio, behind its URL."""
        return twilio_callbacks.read_inbound(payload)

    def media_credentials(self, url: str) -> tuple[str, str] | None:
        """See `Provider.media_credentials`: its own, where scheme, host and port are those of the base URL."""
        origin = _origin(url)
        return self._credentials if origin is not None and origin == _origin(self._base_url) else None


def _origin(url: str) -> tuple[str, str, int] | None:
    """(scheme, host, port), None for what is no web address or may be read as another host by somebody else."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return None
    if not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port


def _accepted(sid: object, segments: object) -> Accepted:
    """What Twilio's 201 says; without a SID it is no acceptance. "0" segments means that Twilio does not know yet."""
    provider_message_id = as_provider_id(sid)
    if not provider_message_id:
        raise Uncertain("Twilio's answer could not be read.", code="unreadable_answer")
    return Accepted(provider_message_id=provider_message_id, segments=as_attempt(segments))


def _refused(refusal: Refusal) -> ProviderError:
    """An answer other than 2xx in our words: only a 4xx that speaks Twilio's language is a refusal."""
    code = _code(refusal.text)
    said, row = str(code or refusal.status), BY_CODE.get(code) or BY_STATUS.get(refusal.status)
    if not 400 <= refusal.status < 500 or not (code or row):
        doubt = row.sentence if row and row.outcome is Uncertain else f"Twilio's answer had status {refusal.status}."
        return Uncertain(doubt, code=said)
    if row is None:
        return Rejected(f"Twilio refused the request (code {code}).", code=said)
    if row.outcome is NotSent:
        return NotSent(row.sentence, code=said, retry_after=retry_after(refusal.headers))
    if row.outcome is Rejected:
        return Rejected(row.sentence, code=said, opted_out=row.opted_out)
    return row.outcome(row.sentence, code=said)


def _code(text: str) -> int:
    """Twilio's error code in an answer, 0 when it is neither in Twilio's form nor in that of RFC 9457."""
    body = json_object(text)
    code = body.get("code")
    return code if isinstance(code, int) and ("message" in body or "title" in body) else 0


def _unread(about: str, error: Exception) -> ProviderError:
    """A call whose answer the SDK could not read, or that ended in no way that we know. `about` is for the log."""
    if isinstance(error, (ValueError, TwilioException)):
        return Uncertain("Twilio's answer could not be read.", code="unreadable_answer")
    logger.error("Twilio call for %s ended with an unexpected %s", about, type(error).__name__)
    return Uncertain("The call to Twilio ended in an unexpected way.", code="unexpected")
