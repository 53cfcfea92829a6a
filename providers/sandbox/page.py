"""The page for people: everybody's phone and mailbox, and what its scripts ask for."""

from collections.abc import Iterator, Mapping
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any, get_args

from aiohttp import web

from providers.sandbox.ledger import Entry, Ledger
from providers.sandbox.people import Kind, People
from providers.sandbox.screen import mail_row, opened_mail, person_row, text_row
from providers.sandbox.settings import SandboxSettings
from providers.sandbox.wishes import answer

MOST_ROWS = 500
PAGE = Path(__file__).resolve().parents[2] / "templates" / "sandbox" / "page.html"
STATIC = Path(__file__).parent / "static"
# Nothing comes from elsewhere; frames are for the HTML of mails alone.
POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Vary": "Accept",
}
# The HTML of a mail may look as it likes. It runs nothing and loads nothing; its links open in a page of their own.
MAIL_POLICY = {
    "Content-Security-Policy": (
        "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-DNS-Prefetch-Control": "off",
}
MAIL_HEAD = '<!DOCTYPE html><meta name="color-scheme" content="only light"><base target="_blank">'


class PageDoor:
    """The page and its questions. It changes nothing: whoever answers posts to `/inbound`, as programs do."""

    def __init__(self, settings: SandboxSettings, outbound: Ledger, inbound: Ledger) -> None:
        self._admin = f"{settings.public_url}/admin/"
        self._ledgers = (outbound, inbound)
        self._people = People(outbound, inbound)

    def routes(self) -> list[web.AbstractRouteDef]:
        """The page's files, `/people`, `/messages` and one mail, for `web.Application.add_routes`."""
        return [
            web.static("/static", STATIC),
            web.get("/favicon.ico", self.icon),
            web.get("/people", self.people),
            web.get("/messages", self.messages),
            web.get("/messages/{id}", self.mail),
            web.get("/messages/{id}/html", self.html),
        ]

    async def icon(self, request: web.Request) -> web.FileResponse:
        """200 with the icon, where browsers look for it unasked."""
        return web.FileResponse(STATIC / "icon.svg")

    async def people(self, request: web.Request) -> web.Response:
        """200 `{"people": [person_row], "more", "ours": {"phone", "mailbox"}, "admin"}`, by last activity; `search` is
        a part of the address, `limit` is 50 unless told. `ours` has the newest 20 of our numbers and addresses, `admin`
        is where our staff answer.
        """
        limit, search = _limit(request.query), request.query.get("search", "").strip().lower()
        found = (each for each in self._people.latest_first() if search in each.address.lower())
        rows = [person_row(each) for each in islice(found, limit)]
        ours = {kind: [*islice(self._people.ours(kind), 20)] for kind in get_args(Kind)}
        return answer({"people": rows, "more": next(found, None) is not None, "ours": ours, "admin": self._admin})

    async def messages(self, request: web.Request) -> web.Response:
        """200 `{"messages": [text_row or mail_row], "more"}`, newest first, of one `phone` `with` one number of ours,
        or of one `mailbox`: those before the id in `before`, else the newest.
        """
        query = request.query
        kind: Kind = "mailbox" if "mailbox" in query else "phone"
        address = query.get(kind, "")
        person = self._people.find(kind, address)
        entries: Iterator[Entry] = reversed(person.threads.get(query.get("with", ""), []) if person else [])
        if before := query.get("before"):
            entries = dropwhile(lambda entry: entry.provider_message_id != before, entries)
            next(entries, None)
        page = [*islice(entries, _limit(query))]
        rows = [text_row(each) if kind == "phone" else mail_row(each, address) for each in page]
        return answer({"messages": rows, "more": next(entries, None) is not None})

    async def mail(self, request: web.Request) -> web.Response:
        """200 with `opened_mail`, as it came to the address in `mailbox`; 404 for what is no mail."""
        return answer(opened_mail(self._found(request), request.query.get("mailbox", "")))

    async def html(self, request: web.Request) -> web.Response:
        """200 with the HTML of a mail, for a frame; 404 for what is no mail."""
        html = str(self._found(request).details.get("html", ""))
        return web.Response(text=MAIL_HEAD + html, content_type="text/html", headers=MAIL_POLICY)

    def _found(self, request: web.Request) -> Entry:
        found = (ledger.find(request.match_info["id"]) for ledger in self._ledgers)
        entry = next(filter(None, found), None)
        if entry is None or entry.provider != "sendgrid":
            raise web.HTTPNotFound
        return entry


def page() -> web.FileResponse:
    """200 with the page itself."""
    return web.FileResponse(PAGE, headers=POLICY)


def is_for_people(request: web.Request) -> bool:
    """Whether a browser asks for a page to show, and no program."""
    return "text/html" in request.headers.get("Accept", "")


def _limit(query: Mapping[str, Any]) -> int:
    text = query.get("limit", "")
    return min(int(text), MOST_ROWS) if text.isascii() and text.isdigit() and len(text) <= 4 else 50
