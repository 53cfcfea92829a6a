"""Twilio and SendGrid on loopback: their wire formats, a ledger, signed callbacks, faults on demand.

Beside the providers' own paths it has those that `providers.sandbox.manual` lists.

A page of another site can ask for none of it (`providers.sandbox.guard`), and what is posted must be called
application/json. `providers.sandbox.page` says what the page for people asks for.
"""

import contextlib
import errno
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

from aiohttp import web

from providers.sandbox.callbacks import SendGridCallbacks, TwilioCallbacks, is_all_told
from providers.sandbox.courier import Courier
from providers.sandbox.faults import FAULTS, Faults
from providers.sandbox.guard import own_page_only
from providers.sandbox.inbound import InboundCallbacks, InboundDoor, own_url
from providers.sandbox.ledger import Ledger
from providers.sandbox.manual import as_page, as_text
from providers.sandbox.media import MediaHost
from providers.sandbox.page import POLICY, PageDoor, is_for_people, page
from providers.sandbox.sendgrid import SendGridDoor
from providers.sandbox.settings import DIALS, Dials, SandboxSettings
from providers.sandbox.twilio import TwilioDoor
from providers.sandbox.wishes import answer, wish

# SendGrid takes 30 MB in all.
LARGEST_REQUEST = 32 * 1024 * 1024
SECONDS_TO_FINISH = 2
WAITING_CONNECTIONS = 1024


class PortTaken(Exception):
    """Somebody else listens there."""


def make_app(settings: SandboxSettings) -> web.Application:
    """The application. It opens its ledgers when it starts and closes what it opened when it is cleaned up.

    ValueError when the private key can't be read.
    """
    dials = Dials(settings.latency_ms, settings.callback_delay_ms)
    ledger, inbound = Ledger(settings.ledger), Ledger(settings.ledger.with_suffix(".inbound.jsonl"))
    faults, courier = Faults(), Courier(settings, dials)
    twilio = TwilioCallbacks(settings, dials, ledger, courier)
    sendgrid = SendGridCallbacks(settings, dials, ledger, courier)
    people = InboundCallbacks(settings, dials, inbound, courier)
    callbacks: dict[str, TwilioCallbacks | SendGridCallbacks] = {"twilio": twilio, "sendgrid": sendgrid}

    async def life(app: web.Application) -> AsyncIterator[None]:
        ledger.open()
        inbound.open()
        await courier.open()
        sendgrid.open()
        for entry in ledger.oldest_first():
            if not is_all_told(entry):
                callbacks[entry.provider].start(entry)
        for entry in inbound.oldest_first():
            if not entry.told:
                people.start(entry)
        yield
        await courier.close()
        inbound.close()
        ledger.close()

    app = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[own_page_only])
    app.cleanup_ctx.append(life)
    app.add_routes(TwilioDoor(settings, dials, ledger, inbound, faults, twilio).routes())
    app.add_routes(SendGridDoor(settings, dials, ledger, faults, sendgrid).routes())
    app.add_routes(InboundDoor(inbound, people).routes())
    app.add_routes(MediaHost(inbound).routes())
    app.add_routes(PageDoor(settings, ledger, inbound).routes())
    app.add_routes(Desk(dials, ledger, faults).routes())
    return app


class Desk:
    """The sandbox's own paths."""

    def __init__(self, dials: Dials, ledger: Ledger, faults: Faults) -> None:
        self._dials = dials
        self._at_first = asdict(dials)
        self._ledger = ledger
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """The paths that are neither a provider's nor the page's, for `web.Application.add_routes`."""
        return [
            web.get("/", self.index),
            web.get("/help", self.help),
            web.get("/controls", self.controls),
            web.get("/ledger", self.ledger),
            web.get("/faults", self.faults),
            web.post("/faults", self.order_faults),
            web.delete("/faults", self.clear_faults),
            web.post("/settings", self.turn_dials),
            web.delete("/settings", self.turn_back),
        ]

    async def index(self, request: web.Request) -> web.StreamResponse:
        """200: the page for people to a browser, `help` to everybody else."""
        return page() if is_for_people(request) else await self.help(request)

    async def help(self, request: web.Request) -> web.Response:
        """200: what there is here, to a browser as a page, to everybody else as plain text."""
        if not is_for_people(request):
            return web.Response(text=as_text(own_url(request)), headers={"Vary": "Accept"})
        return web.Response(text=as_page(own_url(request)), content_type="text/html", headers=POLICY)

    async def ledger(self, request: web.Request) -> web.Response:
        """200 `{"phone", "requests": [Entry.row()]}`, oldest first, each request in a line of its own; none for a
        `message_id` that was never accepted. `phone` is where people see the same.
        """
        wanted = request.query.get("message_id")
        entries = self._ledger.oldest_first()
        rows = [json.dumps(each.row()) for each in entries if wanted in (None, each.message_id)]
        lines = [f'{{"phone": "{own_url(request)}/", "requests": [', ",\n".join(rows), "]}\n"]
        return web.Response(text="\n".join(lines), content_type="application/json")

    async def faults(self, request: web.Request) -> web.Response:
        """200 `{"faults": [{"provider", "fault"}]}`, each provider's in the order in which they will be met."""
        return answer({"faults": self._faults.listing()})

    async def order_faults(self, request: web.Request) -> web.Response:
        """200 with all that waits now; 400 `{"detail"}` with a sentence, and nothing queued."""
        try:
            self._faults.order(await wish(request))
        except ValueError as problem:
            return answer({"detail": str(problem)}, status=400)
        return await self.faults(request)

    async def clear_faults(self, request: web.Request) -> web.Response:
        """200 `{"faults": []}`. Faults that were met already are not undone."""
        self._faults.clear()
        return await self.faults(request)

    async def turn_dials(self, request: web.Request) -> web.Response:
        """200 with `Dials.shown`; 400 `{"detail"}` with a sentence, and nothing turned."""
        try:
            self._dials.turn(await wish(request))
        except ValueError as problem:
            return answer({"detail": str(problem)}, status=400)
        return answer(self._dials.shown())

    async def turn_back(self, request: web.Request) -> web.Response:
        """200 with `Dials.shown`, now that all stand as they did at the start."""
        self._dials.turn(self._at_first)
        return answer(self._dials.shown())

    async def controls(self, request: web.Request) -> web.Response:
        """200 with everything that can be ordered and turned, and how it stands."""
        waiting = [
            {"provider": provider, "fault": fault, "count": sum(1 for _ in same)}
            for (provider, fault), same in groupby(self._faults.listing(), lambda each: tuple(each.values()))
        ]
        faults = [{"fault": name, "what": what} for name, what in FAULTS.items()]
        return answer({"faults": faults, "waiting": waiting, "dials": self._dial_rows()})

    def _dial_rows(self) -> list[dict[str, Any]]:
        now = asdict(self._dials)
        return [
            {"name": name, "value": now[name], "first": self._at_first[name], **dial._asdict()}
            for name, dial in DIALS.items()
        ]


@contextlib.asynccontextmanager
async def listening(settings: SandboxSettings, host: str, port: int) -> AsyncIterator[str]:
    """Serve while the block runs; yields the base URL. Port 0 picks a free one.

    Raises `PortTaken`, OSError when the ledger can't be opened, ValueError with a sentence when the private key or a
    line of the ledger can't be read.
    """
    app = make_app(settings)
    # Bound before the ledger is opened: a second sandbox on the same ledger stops here and repeats no callbacks.
    with bind(host, port) as sock:
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=SECONDS_TO_FINISH, handle_signals=False
        )
        await runner.setup()
        try:
            await web.SockSite(runner, sock, backlog=WAITING_CONNECTIONS).start()
            yield f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"
        finally:
            await runner.cleanup()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, IPv6 when the host has a colon. Raises `PortTaken`, OSError for any other trouble."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            raise PortTaken from None
        raise
