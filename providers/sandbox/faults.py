"""Faults on demand: what the next send requests meet instead of a good answer."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal, get_args

from aiohttp import web

ProviderName = Literal["twilio", "sendgrid"]

FAULTS = {
    "401": "refused: the credentials are called wrong",
    "429": "refused: too many requests, with Retry-After: 1",
    "500": "refused with a 500; not accepted",
    "500_accepted": "accepted, then a 500",
    "reset": "the connection is reset before any answer; not accepted",
    "reset_accepted": "accepted, then the connection is reset without an answer",
    "hang_accepted": "accepted, then no answer until the client leaves",
    "garbage": "accepted, then a 200 whose body is no JSON",
}
ACCEPTING = frozenset({"500_accepted", "reset_accepted", "hang_accepted", "garbage"})
MOST_AT_ONCE = 100_000


class Faults:
    """Faults in waiting, first in first out for each provider. Only a request that would be accepted takes one."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[str]] = {name: deque() for name in get_args(ProviderName)}

    def take(self, provider: ProviderName) -> str | None:
        """The fault that this request meets, None for a good answer."""
        waiting = self._waiting[provider]
        return waiting.popleft() if waiting else None

    def order(self, wish: Mapping[str, Any]) -> None:
        """Queue what `POST /faults` asked for. ValueError with a sentence when it can't be understood."""
        provider, fault, count = wish.get("provider"), wish.get("fault"), wish.get("count", 1)
        if not isinstance(provider, str) or provider not in self._waiting:
            raise ValueError(f"provider must be one of: {', '.join(self._waiting)}.")
        if not isinstance(fault, str) or fault not in FAULTS:
            raise ValueError(f"fault must be one of: {', '.join(FAULTS)}.")
        if type(count) is not int or not 1 <= count <= MOST_AT_ONCE:
            raise ValueError(f"count must be a whole number from 1 to {MOST_AT_ONCE}.")
        self._waiting[provider].extend([fault] * count)

    def clear(self) -> None:
        """Take back, for both providers, what no request has met yet."""
        for waiting in self._waiting.values():
            waiting.clear()

    def listing(self) -> list[dict[str, str]]:
        """What still waits, in the order in which it will be met: `[{"provider", "fault"}]`."""
        return [{"provider": name, "fault": fault} for name, waiting in self._waiting.items() for fault in waiting]


async def lost_answer(request: web.Request, fault: str) -> web.Response:
    """Carry out the faults that look the same for both providers."""
    if fault == "hang_accepted":
        # The server cancels a handler whose client has left, and every handler when it stops.
        await asyncio.Event().wait()
    if fault == "garbage":
        return web.Response(text="<html><body>It works!</body></html>", content_type="text/html")
    _reset(request)
    return web.Response()


def _reset(request: web.Request) -> None:
    """Send RST rather than FIN, so that the client sees a reset and not a polite goodbye."""
    if request.transport is not None:
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
