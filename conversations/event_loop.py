"""The event loop in which a process holds its calls to providers."""

import asyncio
import atexit
import threading
from contextlib import suppress

from providers import routes

HANG_UP_SECONDS = 5

_loop: asyncio.AbstractEventLoop | None = None
_loop_lock = threading.Lock()


def event_loop() -> asyncio.AbstractEventLoop:
    """Return this process's event loop, running in a thread of its own from the first call on."""
    global _loop
    with _loop_lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_loop.run_forever, name="provider-calls", daemon=True)
            thread.start()
            atexit.register(hang_up, _loop, thread)
        return _loop


def hang_up(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Close the kept-alive connections before the process ends: aiohttp would complain when nobody can log any more.

    A fork's copy of the thread is none, and its parent's connections are not its own.
    """
    if thread.is_alive():
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(routes.close_accounts(), loop).result(HANG_UP_SECONDS)
