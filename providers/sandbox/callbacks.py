"""What the providers report later: signed as they sign, in order for each message unless dialled otherwise.

What becomes of a message is chosen by its recipient: `providers.sandbox.magic` lists those that it does not reach.

A caller that can't be reached is tried again for about a minute, as it may be starting anew. Steps of which the caller
was not told when the sandbox stopped are told after its next start, so a callback can come twice, as the real ones do.
"""

import asyncio
import base64
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twilio.request_validator import RequestValidator

from providers.sandbox.courier import HELD_BACK_SECONDS, LIKE_SENDGRID, Courier, like_twilio
from providers.sandbox.ledger import Entry, Ledger, now
from providers.sandbox.magic import UNDELIVERED, Mailbox, is_magic
from providers.sandbox.settings import Dials, SandboxSettings

logger = logging.getLogger(__name__)

EVENTS_AT_ONCE = 500
TWILIO_PATH = "/api/v1/webhooks/twilio"
SENDGRID_PATH = "/api/v1/webhooks/sendgrid"


def twilio_stages(entry: Entry) -> tuple[tuple[str, int | None], ...]:
    """The statuses of a message in their order, each with its error code. The initial `queued` is not among them."""
    if entry.direction == "inbound":
        return (("received", None),)
    code = UNDELIVERED.get(entry.recipient)
    return (("sent", None), ("undelivered", code) if code else ("delivered", None))


def sendgrid_stages(entry: Entry) -> list[list[dict[str, Any]]]:
    """The events of a mail, one for each recipient in each stage."""
    first = [_event(entry, to, "dropped" if _is_for(to, "dropped") else "processed") for to in entry.details["to"]]
    tried = [to for to in entry.details["to"] if not _is_for(to, "dropped")]
    second = [_event(entry, to, "bounce" if _is_for(to, "bounce") else "delivered") for to in tried]
    return [first, second] if second else [first]


def is_all_told(entry: Entry) -> bool:
    """Whether no callback is left to make for the entry."""
    return entry.told >= len(twilio_stages(entry) if entry.provider == "twilio" else sendgrid_stages(entry))


EVENT_DETAILS: dict[str, dict[str, Any]] = {
    "processed": {},
    "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
    "delivered": {"response": "250 2.0.0 OK", "ip": "127.0.0.1", "tls": 1},
    "bounce": {
        "type": "bounce",
        "bounce_classification": "Invalid Address",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist.",
        "status": "5.1.1",
        "ip": "127.0.0.1",
        "tls": 1,
    },
}


def _event(entry: Entry, to: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One event as the Event Webhook reference shows it; the caller's custom_args lie flat among its keys."""
    return {
        **to["custom_args"],
        "email": to["email"],
        "event": name,
        "sg_event_id": secrets.token_urlsafe(16),
        "sg_message_id": f"{entry.provider_message_id}.filterdrecv-sandbox-0-1",
        "smtp-id": f"<{entry.provider_message_id}@sandbox.invalid>",
        **EVENT_DETAILS[name],
    }


def _is_for(to: Mapping[str, Any], name: Mailbox) -> bool:
    return is_magic(to["email"], name)


def sign_like_twilio(auth_token: str, url: str, form: Mapping[str, str]) -> dict[str, str]:
    """The headers of a form that Twilio posts to that URL."""
    return {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "User-Agent": "TwilioProxy/1.1",
        "I-Twilio-Idempotency-Token": str(uuid4()),
        "X-Twilio-Signature": RequestValidator(auth_token).compute_signature(url, form),
    }


def sign_like_sendgrid(key: ec.EllipticCurvePrivateKey, body: bytes) -> dict[str, str]:
    """The headers that sign a body for SendGrid, made out at this moment."""
    timestamp = str(int(time.time()))
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }


class TwilioCallbacks:
    """Status callbacks, form-encoded, to the StatusCallback of each message."""

    def __init__(self, settings: SandboxSettings, dials: Dials, ledger: Ledger, courier: Courier) -> None:
        self._settings = settings
        self._dials = dials
        self._ledger = ledger
        self._courier = courier

    def start(self, entry: Entry) -> None:
        """Report the entry's remaining statuses in the background, each after `callback_delay` seconds more."""
        self._courier.start(self._report(entry))

    async def _report(self, entry: Entry) -> None:
        """A status that is held back goes out after the next one; the ledger is told of both then."""
        if (url := entry.details["status_callback"]) and self._settings.target(url) is None:
            logger.warning("callbacks of %s dropped: their target is not on loopback", entry.provider_message_id)
        held: tuple[str, int | None] | None = None
        for stage in twilio_stages(entry)[entry.stage :]:
            await asyncio.sleep(self._dials.callback_delay)
            entry.stage += 1
            if held is None and self._dials.reorders():
                held = stage
                continue
            await self._tell(entry, *stage)
            if held is not None:
                await self._tell(entry, *held)
                held = None
            self._ledger.catch_up(entry, entry.stage)
        if held is not None:
            await asyncio.sleep(HELD_BACK_SECONDS)
            await self._tell(entry, *held)
            self._ledger.catch_up(entry, entry.stage)

    async def _tell(self, entry: Entry, status: str, error_code: int | None) -> None:
        # A fragment on the URL is for Twilio alone: it is neither called nor signed.
        url, _, fragment = str(entry.details["status_callback"]).partition("#")
        if self._settings.target(url) is None:
            return
        form = self._form(entry, status, error_code)
        headers = sign_like_twilio(self._settings.auth_token, url, form)
        await self._courier.deliver(url, urlencode(form).encode(), headers, like_twilio(fragment))

    def _form(self, entry: Entry, status: str, error_code: int | None) -> dict[str, str]:
        form = {
            "AccountSid": self._settings.account_sid,
            "ApiVersion": "2010-04-01",
            "From": entry.sender,
            "MessageSid": entry.provider_message_id,
            "MessageStatus": status,
            "SmsSid": entry.provider_message_id,
            "SmsStatus": status,
            "To": entry.recipient,
        }
        if error_code:
            form["ErrorCode"] = str(error_code)
        if status != "sent":
            form["RawDlrDoneDate"] = now().strftime("%y%m%d%H%M")
        if service := entry.details["messaging_service_sid"]:
            form["MessagingServiceSid"] = service
        return form


@dataclass(frozen=True, slots=True)
class Step:
    """The events of one stage of a mail. Once they are out, the caller has been told of `told` stages."""

    entry: Entry
    events: list[dict[str, Any]]
    told: int


class SendGridCallbacks:
    """Events, as signed JSON arrays, to the one webhook of the account.

    While a request is under way, further events gather into the next array. One request at a time keeps them in order.
    """

    def __init__(self, settings: SandboxSettings, dials: Dials, ledger: Ledger, courier: Courier) -> None:
        self._settings = settings
        self._url = settings.door(SENDGRID_PATH)
        self._key = private_key(settings.sendgrid_private_key) if settings.sendgrid_private_key else None
        self._dials = dials
        self._ledger = ledger
        self._courier = courier
        self._waiting: asyncio.Queue[Step] = asyncio.Queue()

    def open(self) -> None:
        """Start sending, once the courier is open. Logs a warning with the reason when all events will be dropped."""
        if self._why_dropped():
            logger.warning("SendGrid's events will be dropped: %s", self._why_dropped())
        self._courier.start(self._run())

    def start(self, entry: Entry) -> None:
        """Report the entry's remaining stages, each after `callback_delay` seconds more. It must have one left."""
        self._courier.start(self._report(entry))

    def _why_dropped(self) -> str:
        if self._settings.target(self._url) is None:
            return "PUBLIC_URL is not on loopback"
        return "" if self._key else "SANDBOX_SENDGRID_PRIVATE_KEY is not set"

    async def _report(self, entry: Entry) -> None:
        """Events that are held back go out after the next ones of the same mail."""
        held: list[dict[str, Any]] = []
        for stage in sendgrid_stages(entry)[entry.stage :]:
            await asyncio.sleep(self._dials.callback_delay)
            events = [{**event, "timestamp": int(time.time())} for event in stage]
            entry.stage += 1
            if not held and self._dials.reorders():
                held = events
                continue
            self._waiting.put_nowait(Step(entry, events, entry.told if held else entry.stage))
            if held:
                self._waiting.put_nowait(Step(entry, held, entry.stage))
                held = []
        if held:
            await asyncio.sleep(HELD_BACK_SECONDS)
            self._waiting.put_nowait(Step(entry, held, entry.stage))

    async def _run(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and len(batch) < EVENTS_AT_ONCE:
                batch.append(self._waiting.get_nowait())
            if not self._why_dropped():
                await self._tell([event for step in batch for event in step.events])
            for step in batch:
                self._ledger.catch_up(step.entry, step.told)

    async def _tell(self, events: list[dict[str, Any]]) -> None:
        # Line ends as SendGrid writes them: whoever parses and rewrites before checking finds the signature wrong.
        body = b"[" + b",\r\n".join(json.dumps(event, separators=(",", ":")).encode() for event in events) + b"]\r\n"
        assert self._key is not None
        headers = {
            "Content-Type": "application/json;charset=utf-8",
            "User-Agent": "SendGrid Event API",
            **sign_like_sendgrid(self._key, body),
        }
        await self._courier.deliver(self._url, body, headers, LIKE_SENDGRID)


def private_key(text: str) -> ec.EllipticCurvePrivateKey:
    """The key in base64 of PKCS8 DER. ValueError with a sentence when it is something else."""
    try:
        key = serialization.load_der_private_key(base64.b64decode(text, validate=True), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("SANDBOX_SENDGRID_PRIVATE_KEY must be the base64 of a PKCS8 DER key on the curve P-256.")
    return key
