"""SendGrid: email through its SDK, and the events that SendGrid sends; `providers.inbound_mail` reads mail.

A message is offered by one `POST /v3/mail/send`, without any retry. The SDK opens a connection at every call; below it
lies a pool of kept-alive ones. Our id and attempt travel in `custom_args`, which every event brings back.

Attachments are linked, not fetched: their URLs are appended to the text, under "Attachments:", one a line, and to the
HTML as a list of links. So no stranger's URL is opened here, and a mail stays small.

Sources: https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/errors and
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event.
"""

import asyncio
import base64
import json
import logging
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from typing import Any

import urllib3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from python_http_client.client import Response
from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader
from sendgrid.helpers.mail import Content, CustomArg, From, Mail, MimeType, Personalization, To
from sendgrid.helpers.mail.exceptions import ApiKeyIncludedException

from providers import inbound_mail
from providers.base import (
    Accepted,
    Callback,
    CallbackPart,
    DeliveryReport,
    InboundMessage,
    OutboundMessage,
    ReportedStatus,
    Signature,
)
from providers.errors import Misconfigured, NotSent, ProviderError, Rejected, Uncertain, UnreadableCallback
from providers.pool import Call, PooledClient, kept_alive
from providers.wire import as_attempt, as_provider_id, as_uuid, json_object, retry_after, storable, wait_until

logger = logging.getLogger(__name__)

# SendGrid refuses a mail without a subject, and ours is optional.
NO_SUBJECT = "(no subject)"

_MISCONFIGURED: Mapping[str, str] = {
    "no_credentials": "No credentials: set SENDGRID_API_KEY.",
    "bad_base_url": "SENDGRID_BASE_URL is not a URL.",
}

# SendGrid's status → our outcome and a sentence of ours. Its own sentences may repeat what we sent.
_REFUSALS: Mapping[int, tuple[type[ProviderError], str]] = {
    400: (Rejected, "SendGrid found the message invalid"),
    401: (Misconfigured, "SendGrid refused the API key, or the account's credits are used up"),
    403: (Misconfigured, "SendGrid does not let this API key or account send"),
    413: (Rejected, "The message is larger than SendGrid takes"),
    429: (NotSent, "SendGrid takes no more requests at the moment"),
}
# These need no body to be believed; any other 4xx without SendGrid's list of errors may come from something in between.
_BELIEVED_WITHOUT_BODY = frozenset({401, 413, 429})

# What ended a call before its first byte was written → a short word and a sentence. The first that fits counts.
_NEVER_LEFT: Sequence[tuple[type[Exception], str, str]] = (
    (urllib3.exceptions.NameResolutionError, "dns", "SendGrid's host name could not be resolved."),
    (urllib3.exceptions.NewConnectionError, "connect", "No connection to SendGrid could be made."),
    (urllib3.exceptions.ConnectTimeoutError, "connect_timeout", "SendGrid could not be reached in time."),
    (urllib3.exceptions.SSLError, "tls", "No secure connection to SendGrid could be made."),
    (urllib3.exceptions.HTTPError, "connect", "No connection to SendGrid could be made."),
    (OSError, "connect", "No connection to SendGrid could be made."),
)

# SendGrid's word → ours. `deferred` is still on its way; a word that is missing (open, click, …) changes no status.
_STATUSES: Mapping[str, ReportedStatus | None] = {
    "processed": "sent",
    "deferred": None,
    "delivered": "delivered",
    "bounce": "undelivered",
    "dropped": "undelivered",
}

# Enhanced status codes of RFC 3463, as bounces carry them, and why SendGrid itself dropped a mail.
_FAILURES: Mapping[str, str] = {
    "5.1.1": "The mailbox does not exist.",
    "5.1.2": "The domain of the recipient takes no mail.",
    "5.2.1": "The mailbox is disabled.",
    "5.2.2": "The mailbox is full.",
    "5.2.3": "The message is too large for the mailbox.",
    "5.3.4": "The message is too large for the receiving server.",
    "5.4.1": "The receiving server could not be reached.",
    "5.7.1": "The receiving server refused the message by policy.",
    "5.7.26": "The receiving server could not authenticate the sender's domain.",
}
_DROPS: Mapping[str, str] = {
    "Bounced Address": "SendGrid did not try: an earlier mail to this recipient bounced.",
    "Unsubscribed Address": "SendGrid did not try: the recipient has unsubscribed.",
    "Spam Reporting Address": "SendGrid did not try: the recipient reported an earlier mail as spam.",
    "Invalid": "SendGrid did not try: the recipient's address is invalid.",
    "Spam Content (if Spam Checker app is enabled)": "SendGrid did not try: the content looks like spam.",
    "Recipient List over Package Quota": "SendGrid did not try: the account's quota is used up.",
}

# What an event is known by. Not sg_event_id: it may change when SendGrid sends the event again.
_IDENTITY = ("email", "event", "timestamp", "sg_message_id", "reason", "response", "url")


class SendGridAccount:
    """One SendGrid account, as `providers.base.Provider` promises.

    `base_url` is SendGrid's API or what stands in for it; `webhook_public_key` the verification key that SendGrid shows
    for its event webhook (base64 of DER); `timeout` is the longest that a call may take, in seconds, and `connections`
    how many may be under way. Without an API key nothing is sent, without the public key no callback is believed.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        webhook_public_key: str,
        timeout: float,
        connections: int = 64,
        name: str = "sendgrid",
    ) -> None:
        self.name = name
        self._timeout = timeout
        self._public_key = _public_key(webhook_public_key)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix=name)
        self._sdk = SendGridAPIClient(api_key, host=base_url)
        self._misconfigured = "" if api_key else "no_credentials"
        self._pool: urllib3.HTTPConnectionPool | None = None
        try:
            self._pool = kept_alive(base_url, timeout, connections)
            self._sdk.client = PooledClient(self._pool, base_url, self._sdk.client.request_headers, [])
        except ValueError:
            self._misconfigured = "bad_base_url"

    async def send(self, message: OutboundMessage) -> Accepted:
        """See `Provider.send`. The SDK's call runs in a thread of this account."""
        if self._misconfigured:
            raise Misconfigured(_MISCONFIGURED[self._misconfigured], code=self._misconfigured)
        call = Call()
        try:
            under_way = self._threads.submit(self._offer, message, call)
        except RuntimeError:
            raise NotSent("The connections to SendGrid were closed.", code="closed") from None
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.wrap_future(under_way)
        except TimeoutError:
            if call.give_up():
                raise NotSent("SendGrid could not be reached in time.", code="connect_timeout") from None
            raise Uncertain("SendGrid did not answer in time.", code="timeout") from None
        except asyncio.CancelledError:
            call.give_up()
            raise

    def _offer(self, message: OutboundMessage, call: Call) -> Accepted:
        call.take()
        try:
            return _accepted(self._sdk.send(_mail(message)))
        except ProviderError:
            raise
        except HTTPError as refusal:
            raise _refused(refusal) from None
        except Exception as error:  # whatever it is, the caller gets an outcome
            raise _broken(error, call, message) from None

    async def close(self) -> None:
        """See `Provider.close`. Calls under way end as they would; no new one begins."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._pool is not None:
            self._pool.close()

    def check_signature(self, callback: Callback) -> Signature:
        """See `Provider.check_signature`: ECDSA with SHA-256 over the timestamp and the body's bytes as they came.

        The SDK's own check takes text, so mail that is not UTF-8 could never pass it.
        """
        signature = callback.headers.get(EventWebhookHeader.SIGNATURE.lower())
        timestamp = callback.headers.get(EventWebhookHeader.TIMESTAMP.lower())
        if signature is None or timestamp is None:
            return Signature.MISSING
        try:
            signed = timestamp.encode() + callback.body
            self._public_key.verify(base64.b64decode(signature), signed, ec.ECDSA(hashes.SHA256()))
        except Exception:  # a stranger wrote all of it
            return Signature.INVALID
        return Signature.VALID

    def split(self, callback: Callback) -> Sequence[CallbackPart]:
        """See `Provider.split`. An array holds one fact for each event; multipart is one mail that came in."""
        if callback.headers.get("content-type", "").lower().startswith("multipart/"):
            return [inbound_mail.read_part(callback)]
        try:
            told = json.loads(callback.body)
        except (ValueError, RecursionError):
            raise UnreadableCallback("The body is not JSON.") from None
        parts = [part for event in (told if isinstance(told, list) else [told]) if (part := _event_part(event))]
        if not parts:
            raise UnreadableCallback("No event in it can be read.")
        return parts

    def read_report(self, payload: Mapping[str, Any]) -> DeliveryReport:
        """See `Provider.read_report`."""
        word = _text(payload, "event")
        status = _STATUSES.get(word)
        code, sentence = _failure(payload) if status == "undelivered" else ("", "")
        # A deferred event has an `attempt` of SendGrid's own, which hides ours.
        attempt = None if word == "deferred" else as_attempt(_text(payload, "attempt"))
        return DeliveryReport(
            provider_message_id=as_provider_id(_text(payload, "sg_message_id").partition(".")[0]),
            status=status,
            provider_status=word,
            message_id=as_uuid(payload.get("message_id")),
            attempt=attempt,
            error_code=code,
            error_message=sentence,
            occurred_at=_moment(payload.get("timestamp")),
        )

    def read_inbound(self, payload: Mapping[str, Any]) -> InboundMessage:
        """See `Provider.read_inbound`. A mail kept elsewhere is read from a payload with its bytes put back."""
        return inbound_mail.read_inbound(payload)


def _mail(message: OutboundMessage) -> Mail:
    """The mail as the SDK wants it. Raises Rejected for the one text that the SDK refuses to send."""
    mail = Mail()
    mail.from_email = _address(From(), message.sender)
    mail.subject = message.subject or NO_SUBJECT
    recipient = Personalization()
    recipient.add_to(_address(To(), message.recipient))
    recipient.add_custom_arg(CustomArg("message_id", str(message.message_id)))
    recipient.add_custom_arg(CustomArg("attempt", str(message.attempt)))
    mail.add_personalization(recipient)
    try:
        # SendGrid wants plain text before HTML, and refuses an empty value.
        mail.content = [Content(kind, value) for kind, value in _contents(message) if value]
    except ApiKeyIncludedException:
        raise Rejected("The message contains a SendGrid API key.", code="api_key_included") from None
    return mail


def _address(address: Any, value: str) -> Any:
    # Given to the constructor it would be parsed once more, as if it might carry a name.
    address.email = value
    return address


def _contents(message: OutboundMessage) -> Sequence[tuple[str, str]]:
    text, html = message.body, message.html
    if message.attachments:
        # HTML alone stays alone: a text of nothing but links would hide it from readers that prefer text.
        if text or not html:
            text = "\n\n".join(filter(None, [text, "\n".join(["Attachments:", *message.attachments])]))
        if html:
            html += _links(message.attachments)
    return [(MimeType.text, text), (MimeType.html, html)]


def _links(urls: Sequence[str]) -> str:
    items = "".join(f'<li><a href="{escape(url)}">{escape(url)}</a></li>' for url in urls)
    return f"<p>Attachments:</p><ul>{items}</ul>"


def _accepted(answer: Response) -> Accepted:
    """What SendGrid's 202 says. A 200 is not its word for accepting."""
    if answer.status_code != 202:
        raise Uncertain("SendGrid's answer could not be read.", code="unreadable_answer")
    return Accepted(provider_message_id=as_provider_id(answer.headers.get("X-Message-Id")))


def _refused(refusal: HTTPError) -> ProviderError:
    """An answer other than 2xx in our words: only a 4xx that speaks SendGrid's language is a refusal."""
    status, errors = refusal.status_code, json_object(refusal.body).get("errors")
    known = isinstance(errors, list) and any(isinstance(error, dict) and "message" in error for error in errors)
    if not 400 <= status < 500 or not (known or status in _BELIEVED_WITHOUT_BODY):
        return Uncertain(f"SendGrid's answer had status {status}.", code=str(status))
    field = _field(errors)
    if status == 403 and field.split(".")[0] == "from":
        return Rejected("The sender is not verified at SendGrid.", code="403")
    outcome, sentence = _REFUSALS.get(status, (Rejected, f"SendGrid refused the message (status {status})"))
    if outcome is NotSent:
        return NotSent(f"{sentence}.", code=str(status), retry_after=_wait(refusal.headers))
    return outcome(f"{sentence} (field {field})." if field else f"{sentence}.", code=str(status))


def _field(errors: Any) -> str:
    """The name of the field that SendGrid complains about first, "" when it names none that looks like one."""
    named = [
        error["field"] for error in errors or () if isinstance(error, dict) and isinstance(error.get("field"), str)
    ]
    return named[0] if named and re.fullmatch(r"[a-z_]+(\.[a-z_]+|\.\d{1,4})*", named[0][:100]) else ""


def _wait(headers: Mapping[str, str]) -> float | None:
    """SendGrid says when its rate limit opens again in X-RateLimit-Reset, in seconds since 1970."""
    reset = headers.get("X-RateLimit-Reset", "")
    if reset.isascii() and reset.isdigit() and len(reset) <= 11:
        return wait_until(float(reset))
    return retry_after(headers)


def _broken(error: Exception, call: Call, message: OutboundMessage) -> ProviderError:
    """A call without an answer in our words: whether its first byte was written decides."""
    if not call.begun:
        for kind, code, sentence in _NEVER_LEFT:
            if isinstance(error, kind):
                return NotSent(sentence, code=code)
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return Uncertain("SendGrid did not answer in time.", code="timeout")
    if isinstance(error, (urllib3.exceptions.HTTPError, OSError)):
        return Uncertain("The connection to SendGrid broke before its answer.", code="connection_lost")
    logger.error(
        "SendGrid call for message %s, attempt %s, ended with an unexpected %s",
        message.message_id,
        message.attempt,
        type(error).__name__,
    )
    return Uncertain("The call to SendGrid ended in an unexpected way.", code="unexpected")


def _public_key(text: str) -> Any:
    """The key that callbacks are checked with, None when there is none that can be read."""
    try:
        return EventWebhook(text).public_key or None
    except Exception as error:  # whatever the key's parser raises
        logger.error("SENDGRID_WEBHOOK_PUBLIC_KEY can't be read (%s): no callback is believed", type(error).__name__)
        return None


def _event_part(event: object) -> CallbackPart | None:
    """One event of the array, None when it is none that can be read."""
    try:
        payload = storable(event)
    except ValueError:
        return None
    if not isinstance(payload, dict) or not _text(payload, "event"):
        return None
    identity = json.dumps([payload.get(name) for name in _IDENTITY]).encode()
    return CallbackPart(
        dedupe_key=f"sendgrid:{sha256(identity).hexdigest()}",
        kind="status" if payload["event"] in _STATUSES else "unknown",
        payload=payload,
    )


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def _failure(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Why it did not arrive: a code or SendGrid's word, and a sentence of ours, as its `reason` may name addresses."""
    word, code = _text(payload, "event"), _text(payload, "status")
    if word == "dropped":
        return word, _DROPS.get(_text(payload, "reason"), "SendGrid dropped the message without trying.")
    if re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", code):
        return code, _FAILURES.get(code, f"The receiving server refused the message (status {code}).")
    return word, "The receiving server refused the message."


def _moment(timestamp: object) -> datetime | None:
    """SendGrid's timestamp is in seconds since 1970."""
    try:
        return datetime.fromtimestamp(float(timestamp), UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return None
