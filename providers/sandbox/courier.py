"""Who carries callbacks out: to loopback and nowhere else, and again after a pause where a provider comes again."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from yarl import URL

from providers.sandbox.settings import MOST_REPEATS, Dials, SandboxSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")
Trouble = Literal["ct", "rt", "4xx", "5xx", "other"]

PAUSES = (0.25, 0.5, 1, 2, 4, 8, 15, 30)
# Enough to keep a local web process busy, few enough to leave it room for its other callers.
CONNECTIONS = 32
# Twilio documents 15 s for the whole of a webhook; SendGrid's is of the same order.
ANSWER_SECONDS = 15
# How long a callback is held back that no later one overtakes.
HELD_BACK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Insistence:
    """How often a callback is repeated, and after what: "rt" (no answer in time), "4xx", "5xx".

    That nobody listens ("ct") is another matter: then every callback is tried again for about a minute.
    """

    repeats: int
    after: frozenset[str]


# SendGrid comes again for a day; the sandbox for about a minute.
LIKE_SENDGRID = Insistence(len(PAUSES), frozenset({"5xx", "rt"}))


def like_twilio(fragment: str) -> Insistence:
    """What the fragment of a webhook's URL asks of Twilio: `rc` repeats (at most 5) after what `rp` lists.

    Source: https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
    """
    overrides = dict(parse_qsl(fragment))
    count, policy = overrides.get("rc", ""), set(overrides.get("rp", "ct").split(","))
    repeats = min(int(count), MOST_REPEATS) if count.isascii() and count.isdigit() else 0
    return Insistence(repeats, frozenset({"4xx", "5xx", "rt"}) if "all" in policy else frozenset(policy))


class Courier:
    """Carries callbacks out, doubled or not at all where the dials say so."""

    def __init__(self, settings: SandboxSettings, dials: Dials) -> None:
        self._settings = settings
        self._dials = dials
        self._tasks: set[asyncio.Task[Any]] = set()

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

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run the coroutine in the background until it ends or the courier closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def deliver(
        self, url: str, body: bytes, headers: Mapping[str, str], insistence: Insistence
    ) -> list[int | None]:
        """Post, and say what the last try of each delivery was answered: a status, or None for no answer.

        [] for a callback that the dials dropped; two for a doubled one.
        """
        if self._dials.drops():
            return []
        copies = 2 if self._dials.duplicates() else 1
        return [await self._carry(url, body, headers, insistence) for _ in range(copies)]

    async def _carry(self, url: str, body: bytes, headers: Mapping[str, str], insistence: Insistence) -> int | None:
        repeats = 0
        for pause in (*PAUSES, None):
            status, trouble, sentence = await self._post(url, body, headers)
            repeats += trouble != "ct"
            again = trouble == "ct" or (trouble in insistence.after and repeats <= insistence.repeats)
            if trouble is None or not again or pause is None:
                break
            await asyncio.sleep(pause)
        if trouble is not None:
            logger.warning("callback given up: %s", sentence)
        return status

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int | None, Trouble | None, str]:
        """The status of the answer, if there was one, the trouble, None for a 2xx, and what it was in words."""
        try:
            # Sent byte for byte as it was signed; a redirect could lead off this machine, so none is followed.
            target = URL(self._settings.target(url) or "", encoded=True)
            if str(target) != url:
                signed = urlsplit(url)
                headers = {**headers, "Host": signed.netloc, "X-Forwarded-Proto": signed.scheme}
            async with self._session.post(target, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                return answer.status, _trouble(answer.status), f"the caller answered {answer.status}"
        except aiohttp.SocketTimeoutError:
            return None, "rt", f"no answer within {ANSWER_SECONDS} s"
        except aiohttp.ClientConnectionError as problem:
            return None, "ct", f"no connection ({type(problem).__name__})"
        except (aiohttp.ClientError, ValueError) as problem:
            return None, "rt", type(problem).__name__


def _trouble(status: int) -> Trouble | None:
    if status < 300:
        return None
    if status < 400:
        return "other"
    return "4xx" if status < 500 else "5xx"
