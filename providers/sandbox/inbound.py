"""People who write to us: what `POST /inbound` asks for, checked, kept and carried to our doors."""

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any

from aiohttp import web

from providers.sandbox.callbacks import private_key
from providers.sandbox.courier import HELD_BACK_SECONDS, LIKE_SENDGRID, Courier, Insistence
from providers.sandbox.inbound_mail import mail_request, new_mail
from providers.sandbox.inbound_sms import new_text, text_request
from providers.sandbox.ledger import Entry, Ledger
from providers.sandbox.sendgrid import is_address
from providers.sandbox.settings import Dials, SandboxSettings
from providers.sandbox.twilio import MOST_CHARACTERS, MOST_MEDIA, SENDER
from providers.sandbox.wishes import answer, wish

logger = logging.getLogger(__name__)

ANY = {"type", "from", "to", "body", "count", "wait"}
KEYS = {
    "sms": ANY | {"opt_out_type"},
    "mms": ANY | {"opt_out_type", "attachments"},
    "email": ANY | {"subject", "html", "raw", "in_reply_to", "references", "auto_submitted", "attachments"},
}
LINES = ("from", "to", "subject", "in_reply_to", "auto_submitted", "opt_out_type")
TEXTS = (*LINES, "body", "html")
FLAGS = ("wait", "raw")
OPT_OUT_WORDS = ("STOP", "START", "HELP")
MOST_AT_ONCE = 1000
MEDIA_TYPE = re.compile(r"[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+")


class InboundCallbacks:
    """Posts what people wrote to the doors below `public_url`, each message by itself and all at the same time."""

    def __init__(self, settings: SandboxSettings, dials: Dials, inbound: Ledger, courier: Courier) -> None:
        self._settings = settings
        self._key = private_key(settings.sendgrid_private_key) if settings.sendgrid_private_key else None
        self._dials = dials
        self._inbound = inbound
        self._courier = courier

    def start(self, entry: Entry) -> "asyncio.Task[list[int | None]]":
        """Post in the background, after `callback_delay` seconds. The result is that of `Courier.deliver`."""
        return self._courier.start(self._post(entry))

    async def _post(self, entry: Entry) -> list[int | None]:
        await asyncio.sleep(self._dials.callback_delay)
        # Its own webhook is the only one of an inbound message: what overtakes it are its neighbours.
        if self._dials.reorders():
            await asyncio.sleep(HELD_BACK_SECONDS)
        entry.answers = statuses = await self._deliver(entry)
        self._inbound.catch_up(entry, 1)
        return statuses

    async def _deliver(self, entry: Entry) -> list[int | None]:
        if self._settings.target(self._settings.door("/")) is None:
            logger.warning("%s dropped: PUBLIC_URL is not on loopback", entry.provider_message_id)
            return []
        if entry.provider == "sendgrid":
            mail = mail_request(entry, self._settings, self._key)
            return await self._courier.deliver(*mail, LIKE_SENDGRID)
        # What the fragment #rc=N&rp=all would ask for on the URL of the number.
        insistence = Insistence(self._dials.inbound_retries, frozenset({"4xx", "5xx", "rt"}))
        return await self._courier.deliver(*text_request(entry, self._settings), insistence)


class InboundDoor:
    """`/inbound`: who wants to hear from somebody asks here."""

    def __init__(self, inbound: Ledger, callbacks: InboundCallbacks) -> None:
        self._inbound = inbound
        self._callbacks = callbacks

    def routes(self) -> list[web.RouteDef]:
        """Both verbs of `/inbound`, for `web.Application.add_routes`."""
        return [web.get("/inbound", self.listing), web.post("/inbound", self.write)]

    async def listing(self, request: web.Request) -> web.Response:
        """200 `{"messages": [{"type", "id", "from", "to", "at", "told"}]}`, oldest first."""
        return answer({"messages": [_row(entry) for entry in self._inbound.oldest_first()]})

    async def write(self, request: web.Request) -> web.Response:
        """201 `{"messages": [{"id"}]}` once they are kept, or with `wait` once they were posted, each with `callbacks`.

        400 `{"detail"}` with a sentence, and nothing kept.
        """
        try:
            wanted = check(await wish(request))
        except ValueError as problem:
            return answer({"detail": str(problem)}, status=400)
        entries = [new_entry(wanted, own_url(request)) for _ in range(wanted.get("count", 1))]
        for entry in entries:
            self._inbound.accept(entry)
        posts = [self._callbacks.start(entry) for entry in entries]
        rows: list[dict[str, Any]] = [{"id": entry.provider_message_id} for entry in entries]
        if wanted.get("wait"):
            # Not gathered: a caller who leaves must not take the posts along.
            await asyncio.wait(posts)
            rows = [row | {"callbacks": post.result()} for row, post in zip(rows, posts, strict=True)]
        return answer({"messages": rows}, status=201)


def _row(entry: Entry) -> dict[str, Any]:
    row = entry.row()
    return {
        "type": entry.details["type"],
        "id": entry.provider_message_id,
        **{name: row[name] for name in ("from", "to", "at")},
        "told": bool(entry.told),
    }


def own_url(request: web.Request) -> str:
    """Where the sandbox listens, without a slash at the end. Not what the caller calls it: media are asked for under
    the name in the settings.
    """
    assert request.transport is not None
    host, port = request.transport.get_extra_info("sockname")[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def new_entry(wanted: Mapping[str, Any], origin: str) -> Entry:
    """One message as `check` let it through."""
    return new_mail(wanted) if wanted["type"] == "email" else new_text(wanted, origin)


def check(wanted: dict[str, Any]) -> dict[str, Any]:
    """The wish with `references` as a list and every key of its attachments. ValueError with a sentence otherwise."""
    channel = wanted.get("type")
    if not isinstance(channel, str) or channel not in KEYS:
        raise ValueError(f"type must be one of: {', '.join(KEYS)}.")
    if strange := sorted(wanted.keys() - KEYS[channel]):
        raise ValueError(f"{strange[0]!r} is nothing that {channel} has; it has: {', '.join(sorted(KEYS[channel]))}.")
    _check_plain(wanted)
    _check_addresses(wanted)
    if len(wanted.get("body", "")) > MOST_CHARACTERS and channel != "email":
        raise ValueError(f"body must have at most {MOST_CHARACTERS} characters.")
    if wanted.get("opt_out_type", "STOP") not in OPT_OUT_WORDS:
        raise ValueError(f"opt_out_type must be one of: {', '.join(OPT_OUT_WORDS)}.")
    attachments = wanted.get("attachments", [])
    if not isinstance(attachments, list) or (len(attachments) > MOST_MEDIA and channel == "mms"):
        raise ValueError(f"attachments must be a list, for mms of at most {MOST_MEDIA}.")
    return wanted | {"attachments": [_attachment(each) for each in attachments], "references": _references(wanted)}


def _check_plain(wanted: Mapping[str, Any]) -> None:
    for name in TEXTS:
        if not is_text(wanted.get(name, "")):
            raise ValueError(f"{name} must be text.")
    for name in LINES:
        if not wanted.get(name, "").isprintable():
            raise ValueError(f"{name} must be one line without control characters.")
    for name in FLAGS:
        if not isinstance(wanted.get(name, False), bool):
            raise ValueError(f"{name} must be true or false.")
    count = wanted.get("count", 1)
    if type(count) is not int or not 1 <= count <= MOST_AT_ONCE:
        raise ValueError(f"count must be a whole number from 1 to {MOST_AT_ONCE}.")


def _check_addresses(wanted: Mapping[str, Any]) -> None:
    for name in ("from", "to"):
        text = wanted.get(name, "")
        if wanted["type"] != "email" and not SENDER.fullmatch(text):
            raise ValueError(f"{name} must be a phone number like +15551234567, a short code or a name.")
        if wanted["type"] == "email" and not is_one_address(text):
            raise ValueError(f"{name} must be an email address like ann@example.com.")


def _references(wanted: Mapping[str, Any]) -> list[str]:
    """Message ids, given as a list or as the header has them."""
    given = wanted.get("references", [])
    ids = given.split() if isinstance(given, str) else given
    if not isinstance(ids, list) or not all(is_text(each) and each.isprintable() for each in ids):
        raise ValueError("references must be message ids, as a list or with spaces between them.")
    return ids


def _attachment(given: Any) -> dict[str, str]:
    names = ("filename", "content_type", "content_base64", "content_id")
    if not isinstance(given, dict) or not all(is_text(each) for each in given.values()) or given.keys() - set(names):
        raise ValueError(f"An attachment must be an object of texts: {', '.join(names)}.")
    attachment = {"content_type": "application/octet-stream", **given}
    attachment = {name: attachment.get(name, "") for name in names}
    if not MEDIA_TYPE.fullmatch(attachment["content_type"]):
        raise ValueError("content_type must be like image/png.")
    if not (attachment["filename"].isprintable() and attachment["content_id"].isprintable()):
        raise ValueError("filename and content_id must be without control characters.")
    try:
        base64.b64decode(attachment["content_base64"], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("content_base64 must be base64.") from None
    return attachment


def is_one_address(text: str) -> bool:
    """Whether it is an email address, alone or in angle brackets behind a name."""
    address = parseaddr(text)[1]
    return is_address(address) and address.isascii() and (text == address or text.endswith(f"<{address}>"))


def is_text(value: object) -> bool:
    """Whether it is a string that UTF-8 can say: JSON can hold half a character."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
