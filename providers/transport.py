"""The one way by which the SDKs reach their providers: kept-alive connections on the loop that sends, no retry.

Both SDKs would rather use clients of their own, SendGrid's with a new connection for every call. What a call without an
answer proves is the same for both, so it is said here: what goes wrong before the request is written never left.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from providers.errors import Misconfigured, NotSent, ProviderError, Rejected, Uncertain

CONNECT_SECONDS = 5.0
# Shorter than any server's: an idle connection that the other side is about to close never gets a POST.
KEEPALIVE_SECONDS = 10.0

# What may end a call without an answer → our outcome, a short word and a sentence about the provider or its setting.
# The first that fits counts.
_BROKEN_CALLS: Sequence[tuple[type[Exception], type[ProviderError], str, str]] = (
    (aiohttp.InvalidURL, Misconfigured, "bad_base_url", "{setting} is no http(s) URL with a host and no user."),
    (UnicodeEncodeError, Rejected, "unencodable", "The message contains characters that UTF-8 can't carry."),
    (aiohttp.ClientConnectorDNSError, NotSent, "dns", "{provider}'s host name could not be resolved."),
    (aiohttp.ClientSSLError, NotSent, "tls", "No secure connection to {provider} could be made."),
    (aiohttp.ClientConnectorError, NotSent, "connect", "No connection to {provider} could be made."),
    (aiohttp.ConnectionTimeoutError, NotSent, "connect_timeout", "{provider} could not be reached in time."),
    (TimeoutError, Uncertain, "timeout", "{provider} did not answer in time."),
    (aiohttp.ClientError, Uncertain, "connection_lost", "The connection to {provider} broke before its answer."),
    (OSError, Uncertain, "connection_lost", "The connection to {provider} broke before its answer."),
)


class Answer(NamedTuple):
    """A provider's 2xx, as it came."""

    status: int
    text: str
    headers: Mapping[str, str]


class Refusal(Exception):
    """An answer other than 2xx, as it came. The SDKs' own exceptions keep not all of it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.status, self.text, self.headers = answer


class _Connector(aiohttp.TCPConnector):
    """Gives nobody a kept connection on which something came unasked: it would be taken for the next call's answer."""

    async def connect(self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:
        connection = await super().connect(req, traces, timeout)
        while connection.protocol is not None and connection.protocol.should_close:
            connection.close()
            connection = await super().connect(req, traces, timeout)
        return connection


class Transport:
    """One aiohttp session, made inside the loop that uses it first and kept for that loop.

    Where `base_url`, below which all requests are, is no web address, none is made. `limit` is how many connections
    may be open at once (aiohttp's own default is 100). A call ends after `timeout` seconds in all; waiting for a
    connection, resolving, connecting and TLS may take at most half of it, or 5 s.
    """

    def __init__(self, base_url: str, timeout: float, limit: int) -> None:
        self._base_url = base_url
        self._is_web_address = _is_web_address(base_url)
        self._timeout = timeout
        self._limit = limit
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Connector(limit=self._limit, keepalive_timeout=KEEPALIVE_SECONDS),
            # The ceiling rounds timeouts up to whole seconds; the lease has no second to give away.
            timeout=aiohttp.ClientTimeout(
                total=self._timeout,
                connect=min(CONNECT_SECONDS, self._timeout / 2),
                ceil_threshold=self._timeout + 1,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request, never redirected; a POST is never repeated. Raises `Refusal` for any answer but 2xx, and for
        none what `in_our_words` understands.
        """
        if not self._is_web_address:
            raise aiohttp.InvalidURL(self._base_url)
        if self._session is None:
            self._session = self._open()
        async with self._session.request(
            method, url, params=params, data=body, headers=headers, allow_redirects=False
        ) as response:
            text = (await response.read()).decode("utf-8", "replace")
            answer = Answer(response.status, text, response.headers)
            if not 200 <= answer.status < 300:
                raise Refusal(answer)
            return answer

    async def close(self) -> None:
        """Close the session; the next request would open another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _is_web_address(url: str) -> bool:
    """Whether a connection can be tried: a user in it would clash with the credentials of a call."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(host) and "@" not in parts.netloc


@contextmanager
def in_our_words(
    provider: str, refused: Callable[[Refusal], ProviderError], otherwise: Callable[[Exception], ProviderError]
) -> Iterator[None]:
    """Whatever a call ends with, its caller gets one of the outcomes.

    `provider` is its name as people write it, such as SendGrid. `refused` reads an answer other than 2xx, and
    `otherwise` decides about all that `Transport.request` is not known to end with.
    """
    try:
        yield
    except Refusal as refusal:
        raise refused(refusal) from None
    except ProviderError:
        raise
    except Exception as error:
        raise (_broken(error, provider) or otherwise(error)) from None


def _broken(error: Exception, provider: str) -> ProviderError | None:
    for kind, outcome, code, sentence in _BROKEN_CALLS:
        if isinstance(error, kind):
            return outcome(sentence.format(provider=provider, setting=f"{provider.upper()}_BASE_URL"), code=code)
    return None
