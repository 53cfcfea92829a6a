"""What the providers report later: signed as they sign, in order for each message, to loopback and nowhere else.

What becomes of a message is chosen by its recipient:

    +15005550009                accepted, sent, then `undelivered` with ErrorCode 30003 (handset unreachable)
    +15005530003 … +15005530008 the same with the ErrorCode that the last five digits name
    bounce@any.domain           processed, then a `bounce` event (550 5.1.1, no such mailbox)
    dropped@any.domain          a `dropped` event at once: SendGrid did not even try
    anything else               delivered

A caller that can't be reached is tried again for about a minute, as it may be starting anew. Steps of which the caller
was not told when the sandbox stopped are told after its next start, so a callback can come twice, as the real ones do.
"""

import asyncio
import base64
import json
import logging
import secrets
import time
from collections.abc import Coroutine, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import aiohttp
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twilio.request_validator import RequestValidator
from yarl import URL

from providers.sandbox.ledger import Entry, Ledger, now
from providers.sandbox.settings import Dials, SandboxSettings

logger = logging.getLogger(__name__)

PAUSES = (0.25, 0.5, 1, 2, 4, 8, 15, 30)
# Enough to keep a local web process busy, few enough to leave it room for its other callers.
CONNECTIONS = 32
# Twilio documents 15 s for the whole of a webhook; SendGrid's is of the same order.
ANSWER_SECONDS = 15
EVENTS_AT_ONCE = 500

UNDELIVERED = {"+15005550009": 30003} | {f"+150055{code}": code for code in range(30003, 30009)}


def is_loopback(url: str) -> bool:
    """Whether the URL is http(s) to this machine, as far as its text says; no name is looked up."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme in {"http", "https"} and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False


def twilio_stages(entry: Entry) -> tuple[tuple[str, int | None], ...]:
    """The statuses of a message in their order, each with its error code. The initial `queued` is not among them."""
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


def _is_for(to: Mapping[str, Any], name: str) -> bool:
    return str(to["email"]).lower().startswith(f"{name}@")


class Courier:
    """Carries callbacks out, and again after a pause while the caller can't be reached."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the connection pool; inside the running loop, before anything is delivered."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS, sock_read=ANSWER_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Cancel what is under way, wait until it has ended, close the connections. What was cut off stays untold."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine in the background until it ends or the courier closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def deliver(self, url: str, body: bytes, headers: Mapping[str, str], *, insist: bool) -> None:
        """Post once, and again while nobody listens there; with `insist`, also after a 5xx or no answer in time."""
        for pause in (*PAUSES, None):
            outcome, again = await self._post(url, body, headers, insist)
            if outcome == "" or not again or pause is None:
                break
            await asyncio.sleep(pause)
        if outcome:
            logger.warning("callback given up: %s", outcome)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str], insist: bool) -> tuple[str, bool]:
        """("", …) for a 2xx, else what happened, and whether to try again."""
        try:
            # Sent byte for byte as it was signed; a redirect could lead off this machine, so none is followed.
            target = URL(url, encoded=True)
            async with self._session.post(target, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                outcome = "" if answer.status < 300 else f"the caller answered {answer.status}"
                return outcome, insist and answer.status >= 500
        except aiohttp.SocketTimeoutError:
            return f"no answer within {ANSWER_SECONDS} s", insist
        except aiohttp.ClientConnectionError as problem:
            return f"no connection ({type(problem).__name__})", True
        except (aiohttp.ClientError, ValueError) as problem:
            return type(problem).__name__, insist


class TwilioCallbacks:
    """Status callbacks, form-encoded, to the StatusCallback of each message."""

    def __init__(self, settings: SandboxSettings, dials: Dials, ledger: Ledger, courier: Courier) -> None:
        self._account_sid = settings.account_sid
        self._validator = RequestValidator(settings.auth_token)
        self._dials = dials
        self._ledger = ledger
        self._courier = courier

    def start(self, entry: Entry) -> None:
        """Report the entry's remaining statuses in the background, each after `callback_delay` seconds more."""
        self._courier.start(self._report(entry))

    async def _report(self, entry: Entry) -> None:
        # A fragment on the URL is for Twilio alone: it is neither called nor signed.
        url = str(entry.details["status_callback"]).partition("#")[0]
        if url and not is_loopback(url):
            logger.warning("callbacks of %s dropped: their target is not on loopback", entry.provider_message_id)
            url = ""
        for status, error_code in twilio_stages(entry)[entry.stage :]:
            await asyncio.sleep(self._dials.callback_delay)
            entry.stage += 1
            if url:
                await self._tell(entry, url, status, error_code)
            self._ledger.tell(entry)

    async def _tell(self, entry: Entry, url: str, status: str, error_code: int | None) -> None:
        form = self._form(entry, status, error_code)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "User-Agent": "TwilioProxy/1.1",
            "I-Twilio-Idempotency-Token": str(uuid4()),
            "X-Twilio-Signature": self._validator.compute_signature(url, form),
        }
        await self._courier.deliver(url, urlencode(form).encode(), headers, insist=False)

    def _form(self, entry: Entry, status: str, error_code: int | None) -> dict[str, str]:
        form = {
            "AccountSid": self._account_sid,
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


class SendGridCallbacks:
    """Events, as signed JSON arrays, to the one webhook of the account.

    While a request is under way, further events gather into the next array. One request at a time keeps them in order.
    """

    def __init__(self, settings: SandboxSettings, dials: Dials, ledger: Ledger, courier: Courier) -> None:
        self._url = f"{settings.public_url}/api/v1/webhooks/sendgrid"
        self._key = private_key(settings.sendgrid_private_key) if settings.sendgrid_private_key else None
        self._dials = dials
        self._ledger = ledger
        self._courier = courier
        self._waiting: asyncio.Queue[tuple[Entry, list[dict[str, Any]]]] = asyncio.Queue()

    def open(self) -> None:
        """Start sending, once the courier is open. Logs a warning with the reason when all events will be dropped."""
        if self._why_dropped():
            logger.warning("SendGrid's events will be dropped: %s", self._why_dropped())
        self._courier.start(self._run())

    def start(self, entry: Entry) -> None:
        """Report the entry's next stage in `callback_delay` seconds, and so on to its last. It must have one left."""
        asyncio.get_running_loop().call_later(self._dials.callback_delay, self._next_stage, entry)

    def _why_dropped(self) -> str:
        if not is_loopback(self._url):
            return "PUBLIC_URL is not on loopback"
        return "" if self._key else "SANDBOX_SENDGRID_PRIVATE_KEY is not set"

    def _next_stage(self, entry: Entry) -> None:
        stages = sendgrid_stages(entry)
        events = [{**event, "timestamp": int(time.time())} for event in stages[entry.stage]]
        entry.stage += 1
        self._waiting.put_nowait((entry, events))
        if entry.stage < len(stages):
            self.start(entry)

    async def _run(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and len(batch) < EVENTS_AT_ONCE:
                batch.append(self._waiting.get_nowait())
            if not self._why_dropped():
                await self._tell([event for _, events in batch for event in events])
            for entry, _ in batch:
                self._ledger.tell(entry)

    async def _tell(self, events: list[dict[str, Any]]) -> None:
        # Line ends as SendGrid writes them: whoever parses and rewrites before checking finds the signature wrong.
        body = b"[" + b",\r\n".join(json.dumps(event, separators=(",", ":")).encode() for event in events) + b"]\r\n"
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json;charset=utf-8",
            "User-Agent": "SendGrid Event API",
            "X-Twilio-Email-Event-Webhook-Signature": self._sign(timestamp.encode() + body),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }
        await self._courier.deliver(self._url, body, headers, insist=True)

    def _sign(self, signed: bytes) -> str:
        assert self._key is not None
        return base64.b64encode(self._key.sign(signed, ec.ECDSA(hashes.SHA256()))).decode()


def private_key(text: str) -> ec.EllipticCurvePrivateKey:
    """The key in base64 of PKCS8 DER. ValueError with a sentence when it is something else."""
    try:
        key = serialization.load_der_private_key(base64.b64decode(text, validate=True), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("SANDBOX_SENDGRID_PRIVATE_KEY must be the base64 of a PKCS8 DER key on the curve P-256.")
    return key
