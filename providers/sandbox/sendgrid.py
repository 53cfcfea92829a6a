"""SendGrid's door: `POST /v3/mail/send`, with the refusals of its "Mail Send errors" page, and `GET /v3/messages`, the
Email Activity feed, as
https://www.twilio.com/docs/sendgrid/api-reference/email-activity/filter-all-messages shows it.
"""

import hmac
import json
import re
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, Never

from aiohttp import web

from providers.sandbox.callbacks import SendGridCallbacks, sendgrid_stages
from providers.sandbox.faults import ACCEPTING, Faults, lost_answer
from providers.sandbox.ledger import Entry, Ledger, attempt_number, now
from providers.sandbox.magic import is_magic
from providers.sandbox.settings import Dials, SandboxSettings

HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#"
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
# The only query of the feed that is understood here.
UNIQUE_ARG = re.compile(r"""\(?unique_args\['([^']+)'\]="([^"]*)"\)?""")
MOST_ROWS = 1_000
ACTIVITY = {
    "processed": "processed",
    "dropped": "not_delivered",
    "delivered": "delivered",
    "bounce": "not_delivered",
}
FAULTS = {
    "401": (401, "The provided authorization grant is invalid, expired, or revoked"),
    "429": (429, "too many requests"),
    "500": (500, "Internal Server Error"),
    "500_accepted": (500, "Internal Server Error"),
}


class SendGridError(Exception):
    """A refusal in SendGrid's words."""

    def __init__(self, status: int, message: str, field: str | None = None, help_anchor: str | None = None) -> None:
        self.status = status
        self.error = {"message": message, "field": field, "help": HELP + help_anchor if help_anchor else None}

    def response(self) -> web.Response:
        """`{"errors": [{"message", "field", "help"}]}` with its status; a 429 has `Retry-After: 1` (second)."""
        headers = {"Retry-After": "1"} if self.status == 429 else {}
        return web.json_response({"errors": [self.error]}, status=self.status, headers=headers)


class SendGridDoor:
    """The handler of one account."""

    def __init__(
        self, settings: SandboxSettings, dials: Dials, ledger: Ledger, faults: Faults, callbacks: SendGridCallbacks
    ) -> None:
        self._has_credentials = bool(settings.api_key)
        self._authorization = f"Bearer {settings.api_key}".encode()
        self._dials = dials
        self._ledger = ledger
        self._faults = faults
        self._callbacks = callbacks
        self._activity_asked: deque[float] = deque()

    def routes(self) -> list[web.RouteDef]:
        """`POST /v3/mail/send` and `GET /v3/messages`, the only calls of the API that are served."""
        return [web.post("/v3/mail/send", self.answer), web.get("/v3/messages", self.activity)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """202 with X-Message-Id and no body, a refusal, or the fault that was ordered. Credentials come first."""
        return await self._served(request, self._send)

    async def activity(self, request: web.Request) -> web.StreamResponse:
        """200 `{"messages": [row]}`, newest first, or a refusal; 429 past the limit. `query` is
        `unique_args['name']="value"`, or absent for all mails; `limit` is 10 unless told.
        """
        return await self._served(request, self._list)

    async def _served(
        self, request: web.Request, serve: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            self._authenticate(request)
            response = await serve(request)
        except SendGridError as error:
            response = error.response()
        await self._dials.wait_to_answer()
        return response

    def _authenticate(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        if not (hmac.compare_digest(given, self._authorization) and self._has_credentials):
            raise SendGridError(*FAULTS["401"])

    async def _send(self, request: web.Request) -> web.StreamResponse:
        mail = read(await request.read())
        check(mail)
        fault = self._faults.take("sendgrid")
        if fault and fault not in ACCEPTING:
            return await self._faulty(request, fault)
        entry = new_entry(mail)
        self._ledger.accept(entry)
        self._callbacks.start(entry)
        if fault:
            return await self._faulty(request, fault)
        return web.Response(status=202, headers={"X-Message-Id": entry.provider_message_id})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self._count_activity()
        name, value = read_query(request.query.get("query", ""))
        rows = (
            activity_row(entry, latest_event(entry, to["email"]))
            for entry in self._shown()
            for to in entry.details["to"]
            if not name or to["custom_args"].get(name) == value
        )
        return web.json_response({"messages": list(islice(rows, read_limit(request.query.get("limit", "10"))))})

    def _count_activity(self) -> None:
        """Raise the 429 of a request too many."""
        moment = time.monotonic()
        while self._activity_asked and moment - self._activity_asked[0] >= 60:
            self._activity_asked.popleft()
        if len(self._activity_asked) >= self._dials.activity_per_minute:
            raise SendGridError(*FAULTS["429"])
        self._activity_asked.append(moment)

    def _shown(self) -> Iterator[Entry]:
        latest = now() - timedelta(milliseconds=self._dials.activity_lag_ms)
        return (each for each in self._ledger.newest_first() if each.provider == "sendgrid" and each.at <= latest)

    async def _faulty(self, request: web.Request, fault: str) -> web.StreamResponse:
        if fault in FAULTS:
            raise SendGridError(*FAULTS[fault])
        return await lost_answer(request, fault)


def read(body: bytes) -> dict[str, Any]:
    """The mail, a JSON object. SendGrid calls everything else a bad request without saying more."""
    try:
        mail = json.loads(body)
    except (ValueError, RecursionError):
        mail = None
    if not isinstance(mail, dict):
        raise SendGridError(400, "Bad Request")
    return mail


def check(mail: dict[str, Any]) -> None:
    """Raise what SendGrid would refuse the mail for."""
    personalizations = mail.get("personalizations")
    if not personalizations or not is_list_of_objects(personalizations):
        refuse(
            "The personalizations field is required and must have at least one personalization.",
            "personalizations",
            "-Personalizations-Errors",
        )
    for index, personalization in enumerate(personalizations):
        check_recipients(personalization, f"personalizations.{index}")
    check_sender(mail.get("from"))
    check_content(mail)
    if not mail.get("subject") and not all(each.get("subject") for each in personalizations) and not is_template(mail):
        refuse(
            "The subject is required. You can get around this requirement if you use a template with a subject defined"
            " or if every personalization has a subject defined.",
            "subject",
            "message.subject",
        )


def check_recipients(personalization: dict[str, Any], field: str) -> None:
    """400 for a missing `to`, a bad address in to, cc or bcc, custom_args that are no object. `field` is its path."""
    anchor = "message.personalizations.to"
    if not personalization.get("to") or not is_list_of_objects(personalization["to"]):
        refuse(
            "The to array is required for all personalization objects, and must have at least one email object with a"
            " valid email address.",
            f"{field}.to",
            anchor,
        )
    for kind in ("to", "cc", "bcc"):
        recipients = personalization.get(kind) or []
        for index, recipient in enumerate(recipients if isinstance(recipients, list) else [recipients]):
            if not isinstance(recipient, dict) or not is_address(recipient.get("email")):
                refuse("Does not contain a valid address.", f"{field}.{kind}.{index}.email", anchor)
    if not isinstance(personalization.get("custom_args", {}), dict):
        refuse("The custom_args must be an object.", f"{field}.custom_args", "message.personalizations.custom_args")


def check_sender(sender: Any) -> None:
    """400 for a sender that is missing or no address, 403 for `unverified@` any domain; both as SendGridError."""
    if not isinstance(sender, dict) or not sender.get("email"):
        refuse(
            "The from object must be provided for every email send. It is an object that requires the email parameter,"
            ' but may also contain a name parameter.  e.g. {"email" : "example@example.com"}  or'
            ' {"email" : "example@example.com", "name" : "Example Recipient"}.',
            "from.email",
            "message.from",
        )
    if not is_address(sender["email"]):
        refuse("The from email does not contain a valid address.", "from.email", "message.from")
    if is_magic(sender["email"], "unverified"):
        raise SendGridError(
            403,
            "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is"
            " resolved. Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the"
            " Sender Identity requirements",
            "from",
        )


def check_content(mail: dict[str, Any]) -> None:
    """400 for an empty value, text/plain anywhere but first, and a mail with neither content nor template."""
    content = mail.get("content")
    if not content and is_template(mail):
        return
    if not content or not is_list_of_objects(content):
        refuse(
            "Unless a valid template_id is provided, the content parameter is required. There must be at least one"
            " defined content block. We typically suggest both text/plain and text/html blocks are included, but only"
            " one block is required.",
            "content",
            "message.content",
        )
    for index, block in enumerate(content):
        if not isinstance(block.get("value"), str) or not block["value"]:
            refuse(
                "The content value must be a string at least one character in length.",
                f"content.{index}.value",
                "message.content.value",
            )
    types = [block.get("type") for block in content]
    if "text/plain" in types[1:]:
        refuse("If present, text/plain must be the first content block.", "content", "message.content.type")


def refuse(message: str, field: str, help_anchor: str) -> Never:
    """Raise the SendGridError of a 400. `field` is a dotted path, `help_anchor` what follows the # of `HELP`."""
    raise SendGridError(400, message, field, help_anchor)


def is_template(mail: dict[str, Any]) -> bool:
    """Whether a template_id is given, which may stand for subject and content; no template is looked up."""
    return bool(mail.get("template_id"))


def is_address(text: Any) -> bool:
    """Whether it is text like local@domain.tld without white space; RFC 5322 asks for more."""
    return isinstance(text, str) and ADDRESS.fullmatch(text) is not None


def is_list_of_objects(value: Any) -> bool:
    """Whether it is a JSON array of nothing but objects; an empty one is."""
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def new_entry(mail: dict[str, Any]) -> Entry:
    """What the ledger keeps of an accepted mail: one entry, named after its first recipient, for all of them."""
    to = [recipient for each in mail["personalizations"] for recipient in recipients(each, mail.get("custom_args"))]
    args = to[0]["custom_args"]
    return Entry(
        message_id=args.get("message_id"),
        attempt=attempt_number(args.get("attempt")),
        provider="sendgrid",
        provider_message_id=secrets.token_urlsafe(16),
        sender=mail["from"]["email"],
        recipient=to[0]["email"],
        at=now(),
        details={"to": to, "subject": str(mail.get("subject") or ""), **letter(mail)},
    )


def letter(mail: dict[str, Any]) -> dict[str, Any]:
    """What its reader sees of a mail: `{"name", "reply_to", "headers", "text", "html"}`; what is missing is empty."""
    content = {str(each.get("type")): each["value"] for each in mail.get("content") or []}
    reply_to, headers = mail.get("reply_to"), mail.get("headers")
    return {
        "name": str(mail["from"].get("name") or ""),
        "reply_to": str(reply_to.get("email") or "") if isinstance(reply_to, dict) else "",
        "headers": {name: str(value) for name, value in headers.items()} if isinstance(headers, dict) else {},
        "text": content.get("text/plain", ""),
        "html": content.get("text/html", ""),
    }


def read_query(query: str) -> tuple[str, str]:
    """The name and value of the one unique argument that is asked for, both "" without a query; or SendGrid's 400."""
    if not query:
        return "", ""
    asked = UNIQUE_ARG.fullmatch(query)
    if asked is None:
        raise SendGridError(400, f"invalid syntax: '{query}' is not a known field")
    return asked[1], asked[2]


def read_limit(text: str) -> int:
    """How many rows are asked for, from 1 to 1000; or SendGrid's 400."""
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_ROWS):
        raise SendGridError(400, f"limit must be from 1 to {MOST_ROWS}")
    return int(text)


def latest_event(entry: Entry, email: str) -> dict[str, Any]:
    """The newest event of a recipient; a mail counts as processed before its first event is out, too."""
    stages = sendgrid_stages(entry)[: max(entry.stage, 1)]
    return [event for stage in stages for event in stage if event["email"] == email][-1]


def activity_row(entry: Entry, event: dict[str, Any]) -> dict[str, Any]:
    """One row of the feed. Its time is that of acceptance, in whole seconds: the ledger keeps none of the events."""
    return {
        "from_email": entry.sender,
        "msg_id": event["sg_message_id"],
        "subject": entry.details.get("subject", ""),
        "to_email": event["email"],
        "status": ACTIVITY[event["event"]],
        "opens_count": 0,
        "clicks_count": 0,
        "last_event_time": entry.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def recipients(personalization: dict[str, Any], custom_args: Any) -> list[dict[str, Any]]:
    """Everybody who gets this copy, with its custom_args as text, which win over those of the whole mail."""
    named = {**(custom_args if isinstance(custom_args, dict) else {}), **personalization.get("custom_args", {})}
    args = {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}
    everybody = [each for kind in ("to", "cc", "bcc") for each in personalization.get(kind) or []]
    return [{"email": each["email"], "custom_args": args} for each in everybody]
