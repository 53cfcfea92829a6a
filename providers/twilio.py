"""Twilio: SMS and MMS through its SDK, and the callbacks that Twilio sends.

A message is offered by one `POST …/Messages.json`, without any retry, on one kept-alive asynchronous client. Our id
and attempt travel in the query of the StatusCallback URL, which Twilio's signature covers.

Codes: https://www.twilio.com/docs/api/errors (in brackets the page). After a 429 nothing was processed, so another try
is safe (20429); a POST that got a 500 may have sent (20500); about a 503 (20503) nothing is promised, so it is as
uncertain as any 5xx.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

import aiohttp
from multidict import MultiDict
from twilio.base import values
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from providers.base import (
    Accepted,
    Callback,
    CallbackPart,
    DeliveryReport,
    OutboundMessage,
    ReportedStatus,
    Signature,
)
from providers.errors import Misconfigured, NotSent, ProviderError, Rejected, Uncertain, UnreadableCallback
from providers.wire import as_attempt, as_provider_id, as_uuid, json_object, retry_after, storable

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
# Shorter than any server's: an idle connection that the other side is about to close never gets a POST.
KEEPALIVE_SECONDS = 10.0

# Twilio's code → our outcome and a sentence of ours. Twilio's own sentences contain numbers.
_REFUSALS: Mapping[int, tuple[type[ProviderError], str]] = {
    10001: (Misconfigured, "The Twilio account is not active."),
    20003: (Misconfigured, "Twilio refused the credentials, or the account is suspended."),
    20005: (Misconfigured, "The Twilio account is not active: it ran out of funds or was not activated."),
    20404: (Misconfigured, "Twilio does not know this account SID."),
    90010: (Misconfigured, "The Twilio account is suspended."),
    20429: (NotSent, "Twilio takes no more requests at the moment."),
    21611: (NotSent, "The sender's queue at Twilio is full."),
    21211: (Rejected, "The recipient is not a valid phone number."),
    21212: (Rejected, "The sender is not a valid phone number."),
    21408: (Rejected, "The Twilio account may not send to the recipient's region."),
    21602: (Rejected, "The message has neither text nor media."),
    21603: (Rejected, "The message has no sender."),
    21604: (Rejected, "The message has no recipient."),
    21606: (Rejected, "The sender is not a number of this Twilio account that can send such a message."),
    21608: (Rejected, "A trial account may only send to verified numbers."),
    21610: (Rejected, "The recipient has opted out of messages from this sender."),
    21612: (Rejected, "Twilio can't reach this recipient from this sender."),
    21614: (Rejected, "The recipient is not a mobile number."),
    21617: (Rejected, "The text is longer than 1,600 characters."),
    21620: (Rejected, "A media URL is not valid."),
}
# What the status alone says, when the body is not Twilio's or names a code that we do not know.
_REFUSED_STATUS: Mapping[int, tuple[type[ProviderError], str]] = {401: _REFUSALS[20003], 429: _REFUSALS[20429]}

# What may end a call without an answer → our outcome. The first that fits counts; what comes before the request was
# written proves that it never left.
_BROKEN_CALLS: Sequence[tuple[type[Exception], type[ProviderError], str, str]] = (
    (aiohttp.NonHttpUrlClientError, Misconfigured, "bad_base_url", "TWILIO_BASE_URL is not a web address."),
    (aiohttp.InvalidURL, Misconfigured, "bad_base_url", "TWILIO_BASE_URL is not a URL."),
    (UnicodeEncodeError, Rejected, "unencodable", "The message contains characters that UTF-8 can't carry."),
    (aiohttp.ClientConnectorDNSError, NotSent, "dns", "Twilio's host name could not be resolved."),
    (aiohttp.ClientSSLError, NotSent, "tls", "No secure connection to Twilio could be made."),
    (aiohttp.ClientConnectorError, NotSent, "connect", "No connection to Twilio could be made."),
    (aiohttp.ConnectionTimeoutError, NotSent, "connect_timeout", "Twilio could not be reached in time."),
    (TimeoutError, Uncertain, "timeout", "Twilio did not answer in time."),
    (aiohttp.ClientError, Uncertain, "connection_lost", "The connection to Twilio broke before its answer."),
    (OSError, Uncertain, "connection_lost", "The connection to Twilio broke before its answer."),
)

# Twilio's word → ours. None changes no status: still on its way, or (partially_delivered) neither arrived nor lost.
_STATUSES: Mapping[str, ReportedStatus | None] = {
    "accepted": None,
    "scheduled": None,
    "queued": None,
    "sending": None,
    "sent": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "undelivered",
    "failed": "undelivered",
    "canceled": "undelivered",
    "partially_delivered": None,
}
_INBOUND_WORDS = frozenset({"receiving", "received"})

_FAILURES: Mapping[str, str] = {
    "21610": "The recipient has opted out of messages from this sender.",
    "30001": "The sender's queue at Twilio overflowed.",
    "30002": "The Twilio account was suspended before the message was sent.",
    "30003": "The phone is unreachable: switched off or without a signal.",
    "30004": "The recipient or the carrier blocks messages from this sender.",
    "30005": "The number is unknown or no longer in use.",
    "30006": "The number is a landline, or its carrier takes no messages.",
    "30007": "The carrier or Twilio filtered the message out.",
    "30008": "The carrier did not deliver the message and gave no reason.",
    "30010": "The message costs more than the account allows.",
    "30032": "The toll-free sender is not verified.",
    "30034": "The sender is not registered for messages to the United States (A2P 10DLC).",
}


class Refusal(Exception):
    """An answer other than 2xx, as it came. The SDK's own exceptions keep neither its headers nor its body."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.text = text
        self.headers = headers


class KeptAliveHttpClient(AsyncHttpClient):  # type: ignore[misc]  # the SDK is untyped
    """The SDK's transport on one aiohttp session, made inside the loop that uses it first and kept for that loop.

    `limit` is how many connections may be open at once (aiohttp's own default is 100). A call ends after `timeout`
    seconds in all; waiting for a connection, resolving, connecting and TLS may take at most half of it, or 5 s.
    """

    def __init__(self, timeout: float, limit: int) -> None:
        super().__init__(logger, True, timeout)
        self._limit = limit
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limit, keepalive_timeout=KEEPALIVE_SECONDS),
            # The ceiling rounds timeouts up to whole seconds; the lease has no second to give away.
            timeout=aiohttp.ClientTimeout(
                total=self.timeout,
                connect=min(CONNECT_SECONDS, self.timeout / 2),
                ceil_threshold=self.timeout + 1,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

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
        """One request, never redirected and never repeated. Raises `Refusal` for any answer but 2xx."""
        if self._session is None:
            self._session = self._open()
        sent_headers = dict(headers or {})
        if auth:
            sent_headers["Authorization"] = aiohttp.encode_basic_auth(*auth)
        async with self._session.request(
            method,
            uri,
            params=params,
            data=urlencode(data, doseq=True) if data else None,
            headers=sent_headers,
            allow_redirects=False,
        ) as answer:
            text = (await answer.read()).decode("utf-8", "replace")
            if not 200 <= answer.status < 300:
                raise Refusal(answer.status, text, answer.headers)
            return Response(answer.status, text, answer.headers)

    async def close(self) -> None:
        """Close the session; the next request would open another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class TwilioAccount:
    """One Twilio account, as `providers.base.Provider` promises.

    `callback_url` is where status callbacks go, None for none; `base_url` is Twilio's API or what stands in for it;
    `timeout` is the longest that a call may take, in seconds. Without credentials nothing is sent or believed.
    """

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        base_url: str,
        callback_url: str | None,
        timeout: float,
        connections: int = 256,
        name: str = "twilio",
    ) -> None:
        self.name = name
        self._callback_url = callback_url
        self._has_credentials = bool(account_sid and auth_token)
        self._validator = RequestValidator(auth_token)
        self._http = KeptAliveHttpClient(timeout, connections)
        # The environment is the SDK's second source of credentials, and of a region that would override base_url.
        client = Client(account_sid, auth_token, http_client=self._http, environment={"TWILIO_EDGE": ""})
        client.api.base_url = base_url
        self._messages = client.messages

    async def send(self, message: OutboundMessage) -> Accepted:
        """See `Provider.send`."""
        if not self._has_credentials:
            raise Misconfigured(
                "No credentials: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN.",
                code="no_credentials",
            )
        try:
            created = await self._messages.create_async(
                to=message.recipient,
                from_=message.sender,
                body=message.body or values.unset,
                media_url=list(message.attachments) or values.unset,
                status_callback=self._status_callback(message),
            )
            return _accepted(created.sid, created.num_segments)
        except Refusal as refusal:
            raise _refused(refusal) from None
        except ProviderError:
            raise
        except Exception as error:  # whatever it is, the caller gets an outcome
            raise _broken(error, message) from None

    def _status_callback(self, message: OutboundMessage) -> Any:
        if self._callback_url is None:
            return values.unset
        return f"{self._callback_url}?m={message.message_id}&a={message.attempt}"

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._http.close()

    def check_signature(self, callback: Callback) -> Signature:
        """See `Provider.check_signature`; the rule is https://www.twilio.com/docs/usage/security (HMAC-SHA1)."""
        signature = callback.headers.get("x-twilio-signature")
        if signature is None:
            return Signature.MISSING
        try:
            # An empty token would make a signature that anybody can compute.
            valid = self._has_credentials and self._validator.validate(
                callback.url, MultiDict(_form(callback.body)), signature
            )
        except Exception:  # a stranger wrote all of it
            return Signature.INVALID
        return Signature.VALID if valid else Signature.INVALID

    def split(self, callback: Callback) -> Sequence[CallbackPart]:
        """See `Provider.split`. A callback of Twilio is one fact: a status, or a message that came in."""
        form, query = _form(callback.body), parse_qsl(callback.url.partition("?")[2], keep_blank_values=True)
        payload = {"params": storable(_grouped(form)), "query": storable(_grouped(query))}
        told = json.dumps([sorted(query), sorted(form)]).encode()
        return [CallbackPart(dedupe_key=f"twilio:{sha256(told).hexdigest()}", kind=_kind(payload), payload=payload)]

    def read_report(self, payload: Mapping[str, Any]) -> DeliveryReport:
        """See `Provider.read_report`."""
        params, query = payload["params"], payload["query"]
        word = _one(params, "MessageStatus", "SmsStatus")
        status = _STATUSES.get(word)
        code, sentence = _failure(word, _one(params, "ErrorCode")) if status == "undelivered" else ("", "")
        return DeliveryReport(
            provider_message_id=as_provider_id(_one(params, "MessageSid", "SmsSid")),
            status=status,
            provider_status=word,
            message_id=as_uuid(_one(query, "m")),
            attempt=as_attempt(_one(query, "a")),
            error_code=code,
            error_message=sentence,
        )


def _accepted(sid: object, segments: object) -> Accepted:
    """What Twilio's 201 says; without a SID it is no acceptance. "0" segments means that Twilio does not know yet."""
    provider_message_id = as_provider_id(sid)
    if not provider_message_id:
        raise Uncertain("Twilio's answer could not be read.", code="unreadable_answer")
    return Accepted(provider_message_id=provider_message_id, segments=as_attempt(segments))


def _refused(refusal: Refusal) -> ProviderError:
    """An answer other than 2xx in our words: only a 4xx that speaks Twilio's language is a refusal."""
    code, by_status = _code(refusal.text), _REFUSED_STATUS.get(refusal.status)
    said = str(code or refusal.status)
    if not 400 <= refusal.status < 500 or not (code or by_status):
        return Uncertain(f"Twilio's answer had status {refusal.status}.", code=said)
    unlisted = (Rejected, f"Twilio refused the message (code {code}).")
    outcome, sentence = _REFUSALS.get(code) or by_status or unlisted
    if outcome is NotSent:
        return NotSent(sentence, code=said, retry_after=retry_after(refusal.headers))
    return outcome(sentence, code=said)


def _code(text: str) -> int:
    """Twilio's error code in an answer, 0 when it is neither in Twilio's form nor in that of RFC 9457."""
    body = json_object(text)
    code = body.get("code")
    return code if isinstance(code, int) and ("message" in body or "title" in body) else 0


def _broken(error: Exception, message: OutboundMessage) -> ProviderError:
    """A call without an answer, or with one that the SDK could not read, in our words."""
    for kind, outcome, code, sentence in _BROKEN_CALLS:
        if isinstance(error, kind):
            return outcome(sentence, code=code)
    if isinstance(error, ValueError):
        return Uncertain("Twilio's answer could not be read.", code="unreadable_answer")
    logger.error(
        "Twilio call for message %s, attempt %s, ended with an unexpected %s",
        message.message_id,
        message.attempt,
        type(error).__name__,
    )
    return Uncertain("The call to Twilio ended in an unexpected way.", code="unexpected")


def _form(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Name → value, or → all its values where a name is repeated."""
    fields = MultiDict(pairs)
    return {name: found[0] if len(found := fields.getall(name)) == 1 else found for name in fields}


def _one(fields: Mapping[str, Any], *names: str) -> str:
    """The first value of the first of these names that has one, else ""."""
    found = next((fields[name] for name in names if fields.get(name)), "")
    return str(found[0] if isinstance(found, list) else found)


def _kind(payload: Mapping[str, Any]) -> Literal["status", "inbound"]:
    """Told apart by what arrives: a status names a message and a word of sending, a message has From and To."""
    params = payload["params"]
    word = _one(params, "MessageStatus", "SmsStatus")
    if word and word not in _INBOUND_WORDS:
        if _one(params, "MessageSid", "SmsSid") or as_uuid(_one(payload["query"], "m")):
            return "status"
        raise UnreadableCallback("A status without MessageSid.")
    if _one(params, "From") and _one(params, "To"):
        return "inbound"
    raise UnreadableCallback("Neither a status (MessageSid, MessageStatus) nor a message (From, To).")


def _failure(word: str, code: str) -> tuple[str, str]:
    """Why it did not arrive: Twilio's code, where it gave one, and a sentence."""
    if code.isascii() and code.isdigit() and len(code) <= 6 and int(code):
        return code, _FAILURES.get(code, f"Twilio could not deliver the message (code {code}).")
    if word == "canceled":
        return word, "The message was canceled at Twilio."
    return word, "Twilio could not deliver the message and gave no reason."
