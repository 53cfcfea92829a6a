"""SendGrid: email through its SDK. `providers.sendgrid_events` reads its events, `providers.inbound_mail` its mail.

A message is offered by one `POST /v3/mail/send`, without any retry. By itself the SDK waits for each answer and opens a
connection at every call; on `providers.transport` its calls are awaited. Our id and attempt travel in `custom_args`,
which every event brings back.

A mail's headers may be ours but for those that SendGrid reserves (x-sg-id, x-sg-eid, Received, DKIM-Signature,
Content-Type, Content-Transfer-Encoding, To, From, Subject, Reply-To, CC, BCC): Message-ID is not one of them.

What its answers mean stands in `providers.sendgrid_errors`.

Sources: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send (headers) and
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features.
"""

import base64
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from python_http_client import Client
from sendgrid import SendGridAPIClient
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader
from sendgrid.helpers.mail import Content, CustomArg, From, Header, Mail, Personalization, ReplyTo, To
from sendgrid.helpers.mail.exceptions import ApiKeyIncludedException

from providers import inbound_mail, outbound_mail, sendgrid_errors, sendgrid_events
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
from providers.sendgrid_activity import EmailActivity
from providers.transport import Answer, Refusal, Transport, in_our_words
from providers.wire import as_provider_id, json_object, retry_after, wait_until

logger = logging.getLogger(__name__)


class _Client(Client):  # type: ignore[misc]  # the SDK is untyped
    """The SDK's client, whose calls are awaited.

    It takes `get` and `post` over as a whole: the SDK's own make an opener at every call, and write into a header
    dictionary that all of them share.
    """

    def __init__(self, transport: Transport, host: str, headers: Mapping[str, str], path: Sequence[str]) -> None:
        super().__init__(host=host, request_headers=dict(headers), version=3, url_path=list(path))
        self._transport = transport

    def _build_client(self, name: str | None = None) -> "_Client":
        path = [*self._url_path, name] if name else self._url_path
        return _Client(self._transport, self.host, self.request_headers, path)

    async def get(self, query_params: Mapping[str, object] | None = None, **_: object) -> Answer:
        """See `Transport.request`."""
        return await self._transport.request("GET", self._build_url(query_params), headers=self.request_headers)

    async def post(self, request_body: object = None, **_: object) -> Answer:
        """Post JSON. See `Transport.request`."""
        headers = {**self.request_headers, "Content-Type": "application/json"}
        body = json.dumps(request_body).encode()
        return await self._transport.request("POST", self._build_url(None), headers=headers, body=body)


class SendGridAccount:
    """One SendGrid account, as `providers.base.Provider` promises.

    `base_url` is SendGrid's API or what stands in for it; `timeout` is the longest that a call may take, in seconds,
    and `connections` how many may be open: each costs a handshake of TLS, and fewer than there are calls let the rest
    wait, as part of their time to connect. Without an API key nothing is sent.

    `webhook_public_key` is the verification key that SendGrid shows for its event webhook (base64 of DER), and
    `inbound_public_key` the one of Inbound Parse, "" when it is the same. `inbound_secret` is what may stand in the URL
    of Inbound Parse, as `secret=…`, where that is not signed. Without keys and secret no callback is believed.

    `email_activity` says that the account has bought the Email Activity feed: doubts are then looked up in it.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        webhook_public_key: str,
        timeout: float,
        inbound_public_key: str = "",
        inbound_secret: str = "",
        email_activity: bool = False,
        connections: int,
        name: str = "sendgrid",
    ) -> None:
        self.name = name
        self._has_key = bool(api_key)
        self._event_key = _public_key(webhook_public_key, "SENDGRID_WEBHOOK_PUBLIC_KEY")
        self._mail_key = (
            _public_key(inbound_public_key, "SENDGRID_INBOUND_PUBLIC_KEY") if inbound_public_key else self._event_key
        )
        self._inbound_secret = inbound_secret
        self._transport = Transport(base_url, timeout, connections)
        self._sdk = SendGridAPIClient(api_key, host=base_url)
        self._sdk.client = _Client(self._transport, base_url, self._sdk.client.request_headers, [])
        self._activity = EmailActivity(self._sdk.client, name) if email_activity else None

    async def send(self, message: OutboundMessage) -> Accepted:
        """See `Provider.send`."""
        self._check_key()
        with in_our_words("SendGrid", _refused, _unforeseen):
            return _accepted(await self._sdk.send(_mail(message)))

    def _check_key(self) -> None:
        if not self._has_key:
            raise Misconfigured("No credentials: set SENDGRID_API_KEY.", code="no_credentials")

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._transport.close()

    def check_signature(self, callback: Callback) -> Signature:
        """See `Provider.check_signature`: ECDSA with SHA-256 over the timestamp and the body's bytes as they came.

        Mail without a signature may name the secret instead. The SDK's own check takes text, so mail that is not UTF-8
        could never pass it.
        """
        is_mail = _is_mail(callback)
        signature = callback.headers.get(EventWebhookHeader.SIGNATURE.lower())
        if signature is None:
            return _named_secret(callback.url, self._inbound_secret) if is_mail else Signature.MISSING
        try:
            # Piece by piece, as a mail may have 35 MB.
            signed = sha256(callback.headers[EventWebhookHeader.TIMESTAMP.lower()].encode())
            signed.update(callback.body)
            (self._mail_key if is_mail else self._event_key).verify(
                base64.b64decode(signature, validate=True), signed.digest(), ec.ECDSA(Prehashed(hashes.SHA256()))
            )
        except Exception:  # a stranger wrote all of it
            return Signature.INVALID
        return Signature.VALID

    def split(self, callback: Callback) -> Sequence[CallbackPart]:
        """See `Provider.split`. An array holds one fact for each event; multipart is one mail that came in."""
        return [inbound_mail.read_part(callback)] if _is_mail(callback) else sendgrid_events.read_parts(callback.body)

    def read_report(self, payload: Mapping[str, Any]) -> DeliveryReport:
        """See `Provider.read_report`."""
        return sendgrid_events.read_report(payload)

    def read_inbound(self, payload: Mapping[str, Any], body: bytes = b"") -> InboundMessage:
        """See `Provider.read_inbound`."""
        return inbound_mail.read_inbound(payload, body)

    def media_credentials(self, url: str) -> None:
        """See `Provider.media_credentials`: attachments come with their mail."""

    async def find(self, message: OutboundMessage, since: datetime) -> Sequence[FoundMessage] | None:
        """See `Provider.find`: what was sent under this message's id. Nothing that SendGrid shows proves an absence."""
        if self._activity is None:
            return None
        self._check_key()
        with in_our_words("SendGrid", _refused, _unforeseen):
            return await self._activity.find(message, since)

    async def ask(self, provider_message_id: str) -> None:
        """See `Provider.ask`: SendGrid sends its events for 24 hours until they are taken."""

    async def missed(self, since: datetime) -> AsyncIterator[CallbackPart]:
        """See `Provider.missed`: nothing. SendGrid comes again by itself: events for 24 hours, mail for 3 days."""
        nothing: Sequence[CallbackPart] = ()
        for part in nothing:
            yield part


def _is_mail(callback: Callback) -> bool:
    return callback.headers.get("content-type", "").lower().startswith("multipart/")


def _named_secret(url: str, secret: str) -> Signature:
    """What the `secret` in the URL's query proves."""
    named = parse_qs(url.partition("?")[2], keep_blank_values=True).get("secret")
    if named is None:
        return Signature.MISSING
    # Bytes, as text that is not ASCII can't be compared in constant time.
    expected = secret.encode("utf-8", "surrogatepass")
    right = all(hmac.compare_digest(each.encode("utf-8", "surrogatepass"), expected) for each in named)
    return Signature.VALID if secret and right else Signature.INVALID


def _mail(message: OutboundMessage) -> Mail:
    """The mail as the SDK wants it. Raises Rejected for the one text that the SDK refuses to send."""
    mail = Mail()
    mail.from_email = _address(From(), message.sender)
    mail.subject = message.subject or outbound_mail.NO_SUBJECT
    recipient = Personalization()
    recipient.add_to(_address(To(), message.recipient))
    recipient.add_custom_arg(CustomArg("message_id", str(message.message_id)))
    recipient.add_custom_arg(CustomArg("attempt", str(message.attempt)))
    mail.add_personalization(recipient)
    if message.reply_to:
        mail.reply_to = _address(ReplyTo(), message.reply_to)
    for name, value in outbound_mail.headers(message).items():
        mail.add_header(Header(name, value))
    try:
        # SendGrid wants plain text before HTML, and refuses an empty value.
        mail.content = [Content(kind, value) for kind, value in outbound_mail.contents(message) if value]
    except ApiKeyIncludedException:
        raise Rejected("The message contains a SendGrid API key.", code="api_key_included") from None
    return mail


def _address(address: Any, value: str) -> Any:
    # Given to the constructor it would be parsed once more, as if it might carry a name.
    address.email = value
    return address


def _accepted(answer: Answer) -> Accepted:
    """What SendGrid's 202 says. A 200 is not its word for accepting."""
    if answer.status != 202:
        raise Uncertain("SendGrid's answer could not be read.", code="unreadable_answer")
    return Accepted(provider_message_id=as_provider_id(answer.headers.get("X-Message-Id")))


def _refused(refusal: Refusal) -> ProviderError:
    """An answer other than 2xx in our words: only a 4xx that speaks SendGrid's language is a refusal."""
    status, errors = refusal.status, _errors(refusal.text)
    field = _field(errors)
    about = [*_names(field), *(error["message"] for error in errors)]
    if any(error.get("field") for error in errors):
        about.append(sendgrid_errors.ANY_FIELD)
    row = sendgrid_errors.refusal(status, about)
    if not 400 <= status < 500 or not (errors or (row and row.bare)):
        doubt = row.sentence if row and row.outcome is Uncertain else f"SendGrid's answer had status {status}."
        return Uncertain(doubt, code=str(status))
    sentence = row.sentence if row else f"SendGrid refused the message (status {status})."
    if row and row.outcome is NotSent:
        return NotSent(sentence, code=str(status), retry_after=_wait(refusal.headers))
    outcome = row.outcome if row else Rejected
    return outcome(f"{sentence[:-1]} (field {field})." if field else sentence, code=str(status))


def _errors(body: str) -> list[dict[str, Any]]:
    """What SendGrid complains about, [] when the body is not in its form."""
    errors = json_object(body).get("errors")
    return [each for each in errors if isinstance(each, dict) and "message" in each] if isinstance(errors, list) else []


def _field(errors: Sequence[dict[str, Any]]) -> str:
    """The name of the field that SendGrid complains about first, "" when it names none that looks like one."""
    named = [error["field"] for error in errors if isinstance(error.get("field"), str)]
    return named[0] if named and re.fullmatch(r"[a-z_]+(\.[a-z_]+|\.\d{1,4})*", named[0][:100]) else ""


def _names(field: str) -> list[str]:
    """The field and all that it is part of, without numbers: personalizations, personalizations.to, and so on."""
    parts = [part for part in field.split(".") if not part.isdigit()]
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _wait(headers: Mapping[str, str]) -> float | None:
    """SendGrid says when its rate limit opens again in X-RateLimit-Reset, in seconds since 1970."""
    reset = headers.get("X-RateLimit-Reset", "")
    if reset.isascii() and reset.isdigit() and len(reset) <= 11:
        return wait_until(float(reset))
    return retry_after(headers)


def _unforeseen(error: Exception) -> ProviderError:
    """A call that ended in no way that we know, in our words."""
    logger.error("the call to SendGrid ended with an unexpected %s", type(error).__name__)
    return Uncertain("The call to SendGrid ended in an unexpected way.", code="unexpected")


def _public_key(text: str, setting: str) -> Any:
    """The key that callbacks are checked with, None when there is none that can be read."""
    try:
        return EventWebhook(text).public_key or None
    except Exception as error:  # whatever the key's parser raises
        logger.error("%s can't be read (%s): nothing signed with it is believed", setting, type(error).__name__)
        return None
