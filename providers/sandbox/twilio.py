"""Twilio's door: the Message and Media resources of its API of 2010-04-01, as its OpenAPI description and error pages
have them. `providers.sandbox.magic` lists the numbers that it refuses.
"""

import base64
import heapq
import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from email.utils import format_datetime
from itertools import dropwhile, islice
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from uuid import uuid4

from aiohttp import web
from multidict import MultiDict

from providers.sandbox.callbacks import TwilioCallbacks, twilio_stages
from providers.sandbox.faults import ACCEPTING, Faults, lost_answer
from providers.sandbox.ledger import Entry, Ledger, attempt_number, now
from providers.sandbox.magic import REFUSED
from providers.sandbox.media import media_resource, redirect_to_bytes
from providers.sandbox.settings import Dials, SandboxSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOST_CHARACTERS = 1600
MOST_MEDIA = 10
LARGEST_PAGE = 1000

ERRORS = {
    20001: (400, "Invalid date: {text}"),
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource {path} was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    21211: (400, "Invalid 'To' Phone Number: {to}"),
    21212: (400, "Invalid From Number (caller ID): {sender}"),
    21408: (400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {to}."),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21606: (400, "The From phone number {sender} is not a valid, SMS-capable inbound phone number for your account."),
    21609: (400, "The 'StatusCallback' URL is not a valid URL."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21611: (429, "The 'From' number {sender} has exceeded the maximum number of queued messages"),
    21612: (400, "Message cannot be sent with the current combination of 'To' and/or 'From' parameters"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21620: (400, "Invalid media URL(s)"),
    21623: (400, "Number of media files exceeds allowed limit"),
}
FAULTS = {"401": 20003, "429": 20429, "500": 20500, "500_accepted": 20500}

PHONE = re.compile(r"\+[1-9]\d{6,14}")
SENDER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 +\-_&]{1,11}")

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")


class TwilioError(Exception):
    """A refusal in Twilio's words: its code picks the HTTP status and the sentence."""

    def __init__(self, code: int, **names: str) -> None:
        self.code = code
        self.status, sentence = ERRORS[code]
        self.message = sentence.format(**names)

    def response(self) -> web.Response:
        """`{"code", "message", "more_info", "status"}` with its status; 20429 has `Retry-After: 1` (second)."""
        body: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }
        return web.json_response(body, status=self.status, headers={"Retry-After": "1"} if self.code == 20429 else {})


class TwilioDoor:
    """The handlers of one account."""

    def __init__(
        self,
        settings: SandboxSettings,
        dials: Dials,
        ledger: Ledger,
        inbound: Ledger,
        faults: Faults,
        callbacks: TwilioCallbacks,
    ) -> None:
        self._account_sid = settings.account_sid
        self._has_credentials = bool(settings.account_sid and settings.auth_token)
        credentials = f"{settings.account_sid}:{settings.auth_token}".encode()
        self._authorization = b"Basic " + base64.b64encode(credentials)
        self._dials = dials
        self._ledger = ledger
        self._inbound = inbound
        self._faults = faults
        self._callbacks = callbacks

    def routes(self) -> list[web.RouteDef]:
        """Create, list and fetch messages, list and fetch their media; any other call below /2010-04-01/ is a 404 in
        Twilio's words.
        """
        messages = "/2010-04-01/Accounts/{account}/Messages"
        return [
            web.post(messages + ".json", self._answering(self.create)),
            web.get(messages + ".json", self._answering(self.page)),
            web.get(messages + "/{sid}.json", self._answering(self.fetch)),
            web.get(messages + "/{sid}/Media.json", self._answering(self.media)),
            web.get(messages + "/{sid}/Media/{media}.json", self._answering(self.medium)),
            web.get(messages + "/{sid}/Media/{media}", self._answering(self.content)),
            web.route("*", "/2010-04-01/{rest:.*}", self._answering(self.nothing)),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """201 with the Message resource, `queued`, or the fault that was ordered. TwilioError for a refusal."""
        text = (await request.read()).decode(errors="replace")
        form = MultiDict(parse_qsl(text, keep_blank_values=True))
        check(form)
        fault = self._faults.take("twilio")
        if fault and fault not in ACCEPTING:
            return await self._faulty(request, fault)
        entry = new_entry(form)
        self._ledger.accept(entry)
        self._callbacks.start(entry)
        if fault:
            return await self._faulty(request, fault)
        return web.json_response(self._resource(entry, queued=True), status=201)

    async def fetch(self, request: web.Request) -> web.Response:
        """200 with the Message resource as it stands now. TwilioError 20404 for a SID that is not in the ledger."""
        return web.json_response(self._resource(self._found(request)))

    async def media(self, request: web.Request) -> web.Response:
        """200 with all media of a message in one page; a message that we sent shows none."""
        entry = self._found(request)
        rows = [media_resource(self._account_sid, entry, each) for each in entry.details.get("media", ())]
        return web.json_response({"media_list": rows, **self._paging(request, len(rows), 0, LARGEST_PAGE)})

    async def medium(self, request: web.Request) -> web.Response:
        """200 with one Media resource. TwilioError 20404 for one that the message does not have."""
        entry = self._found(request)
        return web.json_response(media_resource(self._account_sid, entry, self._found_medium(request, entry)))

    async def content(self, request: web.Request) -> web.Response:
        """307 to where the bytes of a medium are. TwilioError 20404 for one that the message does not have."""
        entry = self._found(request)
        return redirect_to_bytes(request, entry, self._found_medium(request, entry))

    async def page(self, request: web.Request) -> web.Response:
        """A page, newest first, of both directions. `PageToken` names the last message of the page before."""
        size = max(1, min(LARGEST_PAGE, attempt_number(request.query.get("PageSize")) or 50))
        number = attempt_number(request.query.get("Page")) or 0
        entries = matching((self._ledger, self._inbound), request.query)
        if before := request.query.get("PageToken", "").removeprefix("PA"):
            entries = dropwhile(lambda entry: entry.provider_message_id != before, entries)
            next(entries, None)
        page = [*islice(entries, size)]
        last = page[-1].provider_message_id if next(entries, None) else ""
        messages = [self._resource(entry) for entry in page]
        return web.json_response({"messages": messages, **self._paging(request, len(page), number, size, last)})

    async def nothing(self, request: web.Request) -> web.Response:
        """TwilioError 20404, which names the path, always."""
        raise TwilioError(20404, path=request.path)

    def _found(self, request: web.Request) -> Entry:
        sid = request.match_info["sid"]
        entry = self._ledger.find(sid) or self._inbound.find(sid)
        if entry is None or entry.provider != "twilio":
            raise TwilioError(20404, path=request.path)
        return entry

    def _found_medium(self, request: web.Request, entry: Entry) -> Mapping[str, str]:
        for medium in entry.details.get("media", ()):
            if medium["sid"] == request.match_info["media"]:
                found: Mapping[str, str] = medium
                return found
        raise TwilioError(20404, path=request.path)

    def _answering(self, handler: Handler) -> Handler:
        """What every answer has in common: credentials first, errors in Twilio's words, latency, the request's id."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                self._authenticate(request)
                response = await handler(request)
            except TwilioError as error:
                response = error.response()
            await self._dials.wait_to_answer()
            response.headers["Twilio-Request-Id"] = f"RQ{uuid4().hex}"
            return response

        return answer

    def _authenticate(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        account = request.match_info.get("account", self._account_sid)
        known = self._has_credentials and account == self._account_sid
        if not (hmac.compare_digest(given, self._authorization) and known):
            raise TwilioError(20003)

    async def _faulty(self, request: web.Request, fault: str) -> web.StreamResponse:
        if fault in FAULTS:
            raise TwilioError(FAULTS[fault])
        return await lost_answer(request, fault)

    def _resource(self, entry: Entry, queued: bool = False) -> dict[str, Any]:
        """The message as Twilio shows it: now, or as it was when it was accepted."""
        stages = (("queued", None), *twilio_stages(entry))
        status, error_code = stages[0 if queued else entry.stage]
        uri = f"/2010-04-01/Accounts/{self._account_sid}/Messages/{entry.provider_message_id}"
        return {
            "account_sid": self._account_sid,
            "api_version": "2010-04-01",
            "body": entry.details["body"],
            "date_created": format_datetime(entry.at),
            "date_sent": None if status == "queued" else format_datetime(entry.at),
            "date_updated": format_datetime(entry.at),
            "direction": "inbound" if entry.direction == "inbound" else "outbound-api",
            "error_code": error_code,
            "error_message": "Message delivery failed" if error_code else None,
            "from": entry.sender,
            "messaging_service_sid": entry.details["messaging_service_sid"] or None,
            "num_media": str(entry.details["num_media"]),
            "num_segments": str(entry.details["num_segments"]),
            "price": None,
            "price_unit": "USD",
            "sid": entry.provider_message_id,
            "status": status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": entry.recipient,
            "uri": f"{uri}.json",
        }

    def _paging(self, request: web.Request, found: int, number: int, size: int, last: str = "") -> dict[str, Any]:
        """What a page says beside its rows. `last` is the SID of its last one where another page follows."""
        asked = {name: value for name, value in request.query.items() if name not in {"Page", "PageToken", "PageSize"}}

        def uri(of_page: int, **token: str) -> str:
            return f"{request.path}?{urlencode({**asked, 'PageSize': size, 'Page': of_page, **token})}"

        return {
            "first_page_uri": uri(0),
            "next_page_uri": uri(number + 1, PageToken=f"PA{last}") if last else None,
            "previous_page_uri": None,
            "page": number,
            "page_size": size,
            "start": number * size,
            "end": number * size + max(found - 1, 0),
            "uri": request.path_qs,
        }


def check(form: MultiDict[str]) -> None:
    """Raise what Twilio would refuse the request for."""
    to, sender, media = form.get("To", ""), form.get("From", ""), form.getall("MediaUrl", [])
    body, callback = form.get("Body", ""), form.get("StatusCallback", "")
    from_service = form.get("MessagingServiceSid", "").startswith("MG")
    refusals = (
        (21604, not to),
        (21603, not sender and not from_service),
        (21602, not body and not media),
        (21211, not PHONE.fullmatch(to)),
        (21212, bool(sender) and not SENDER.fullmatch(sender)),
        (21617, len(body) > MOST_CHARACTERS),
        (21623, len(media) > MOST_MEDIA),
        (21620, not all(is_url(url) for url in media)),
        (21609, bool(callback) and not is_url(callback)),
        *((REFUSED.get(each, 0), each in REFUSED) for each in (("to", to), ("from", sender))),
    )
    for code, applies in refusals:
        if applies:
            raise TwilioError(code, to=to, sender=sender)


def is_url(text: str) -> bool:
    """Whether it is http(s) with a host, in at most 4000 characters; no name is looked up."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and len(text) <= 4000
    except ValueError:
        return False


def new_entry(form: MultiDict[str]) -> Entry:
    """What the ledger keeps of an accepted request. `m` and `a` in the callback's query are the caller's own ids."""
    media, body, callback = form.getall("MediaUrl", []), form.get("Body", ""), form.get("StatusCallback", "")
    query = parse_qs(urlsplit(callback).query)
    return Entry(
        message_id=query.get("m", [None])[0],
        attempt=attempt_number(query.get("a", [None])[0]),
        provider="twilio",
        provider_message_id=f"{'MM' if media else 'SM'}{uuid4().hex}",
        sender=form.get("From", ""),
        recipient=form["To"],
        at=now(),
        details={
            "body": body,
            "status_callback": callback,
            "messaging_service_sid": form.get("MessagingServiceSid", ""),
            "num_media": len(media),
            "num_segments": segments(body),
            "media_urls": media,
        },
    )


def segments(body: str) -> int:
    """How many SMS carry the text, split as Twilio does without smart encoding: no character is torn in two."""
    gsm = GSM_BASIC | GSM_EXTENSION
    if gsm.issuperset(body):
        sizes, single, part = [2 if character in GSM_EXTENSION else 1 for character in body], 160, 153
    else:
        sizes, single, part = [2 if character > "\uffff" else 1 for character in body], 70, 67
    if sum(sizes) <= single:
        return 1
    count, used = 1, 0
    for size in sizes:
        count, used = (count + 1, size) if used + size > part else (count, used + size)
    return count


def matching(ledgers: Iterable[Ledger], query: Mapping[str, str]) -> Iterator[Entry]:
    """Newest first, those that the list's filters let through."""
    sender = query.get("From")
    newest_first = (ledger.newest_first(query.get("To")) for ledger in ledgers)
    for entry in heapq.merge(*newest_first, key=lambda entry: entry.at, reverse=True):
        if entry.provider == "twilio" and sender in (None, entry.sender) and was_sent_when_asked(entry, query):
            yield entry


def was_sent_when_asked(entry: Entry, query: Mapping[str, str]) -> bool:
    """Whether DateSent lies where the filters say. A message that is still queued has none, so no filter finds it."""
    sent = entry.at.date()
    on, before, after = (query.get(name) for name in ("DateSent", "DateSent<", "DateSent>"))
    return not (on or before or after) or (
        entry.stage > 0
        and (not on or sent == day(on))
        and (not before or sent <= day(before))
        and (not after or sent >= day(after))
    )


def day(text: str) -> date:
    """The day in UTC of a date or a time as the SDK writes them; Twilio looks at the day alone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise TwilioError(20001, text=text) from None
    return moment.astimezone(UTC).date() if moment.tzinfo else moment.date()
