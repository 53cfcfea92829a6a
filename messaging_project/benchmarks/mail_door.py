"""SendGrid with TLS, which the sandbox has no need of otherwise: `python -m …benchmarks.mail_door PORT CERTIFICATE`.

The same door with the same credentials and a ledger of its own (SANDBOX_LEDGER). `GET /connections` answers how many
connections were ever opened.
"""

import asyncio
import ssl
import sys
from weakref import WeakSet

import django
from aiohttp import web
from aiohttp.typedefs import Handler

from messaging_project.local.servers import LOOPBACK
from providers.management.commands.sandbox import sandbox_settings
from providers.sandbox.app import WAITING_CONNECTIONS, make_app


class Connections:
    """Counts connections by the requests that come through them."""

    def __init__(self) -> None:
        self.count = 0
        self._open: WeakSet[asyncio.BaseTransport] = WeakSet()

    @property
    def middleware(self) -> object:
        """What looks at each request."""

        @web.middleware
        async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.transport is not None and request.transport not in self._open:
                self._open.add(request.transport)
                self.count += 1
            return await handler(request)

        return look

    async def answer(self, request: web.Request) -> web.Response:
        """200, the number as text; asking makes it one more."""
        return web.Response(text=str(self.count))


async def serve(port: int, certificate: str) -> None:
    """Serve until the process ends."""
    app, connections = make_app(sandbox_settings()), Connections()
    app.middlewares.append(connections.middleware)  # type: ignore[arg-type]
    app.router.add_get("/connections", connections.answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port, ssl_context=context, backlog=WAITING_CONNECTIONS).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    django.setup()
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
