"""The kept-alive transport below SendGrid's SDK, which by itself opens a connection at every call.

It can tell, for every call that failed, whether a byte of it was written.
"""

import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import urllib3
from python_http_client import Client
from python_http_client.client import Response
from python_http_client.exceptions import HTTPError
from urllib3.connection import HTTPConnection, HTTPSConnection

CONNECT_SECONDS = 5.0
# An idle connection older than this may have been forgotten by something on the way, and would swallow a POST.
KEEPALIVE_SECONDS = 10.0

_current = threading.local()


class Call:
    """One call, shared by the thread that makes it and the loop that waits: which of them was first.

    Either the thread claims it to write the first byte, or the loop claims it to give up; never both. So a call that
    was given up in time provably never leaves, however late its thread wakes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given_up = False
        self._socket: socket.socket | None = None
        self.begun = False

    def take(self) -> None:
        """From now on, what this thread does through the pool is this call."""
        _current.call = self

    def begin(self, connected: socket.socket | None) -> None:
        """Claim the call for writing. Raises OSError when it was given up."""
        with self._lock:
            if self._given_up:
                raise OSError("given up")
            self.begun, self._socket = True, connected

    def let_go(self) -> None:
        """The connection goes back to the pool: it is no longer this call's to end."""
        with self._lock:
            self._socket = None

    def give_up(self) -> bool:
        """True when the call had not begun, so that it never will. Otherwise end it, to get the thread back."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
            return not self.begun


class _Claiming:
    """A connection that asks its call before it writes, and is not reused once it was idle for too long."""

    sock: socket.socket | None
    _last_used = 0.0

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        _current.call.begin(self.sock)
        self._last_used = time.monotonic()
        super().send(data)  # type: ignore[misc]

    @property
    def is_connected(self) -> bool:
        fresh = time.monotonic() - self._last_used < KEEPALIVE_SECONDS
        return fresh and bool(super().is_connected)  # type: ignore[misc]


class _ClaimingHTTP(_Claiming, HTTPConnection):
    pass


class _ClaimingHTTPS(_Claiming, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _ClaimingHTTP

    def _put_conn(self, conn: Any) -> None:
        _current.call.let_go()
        super()._put_conn(conn)


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _ClaimingHTTPS

    def _put_conn(self, conn: Any) -> None:
        _current.call.let_go()
        super()._put_conn(conn)


class _Answer:
    """urllib3's answer with the three methods that the SDK asks for."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer

    def getcode(self) -> int:
        return self._answer.status

    def read(self) -> bytes:
        return self._answer.data

    def info(self) -> Mapping[str, str]:
        return self._answer.headers


class PooledClient(Client):  # type: ignore[misc]  # the SDK is untyped
    """The SDK's transport on a pool of kept-alive connections. Safe to share between threads.

    It takes `get` and `post` over as a whole: the SDK's own make an opener at every call, which from Python 3.12 on
    loads all CA certificates, and write into a header dictionary that every thread shares.
    """

    def __init__(
        self, pool: urllib3.HTTPConnectionPool, host: str, headers: Mapping[str, str], path: Sequence[str]
    ) -> None:
        super().__init__(host=host, request_headers=dict(headers), version=3, url_path=list(path))
        self._pool = pool

    def _build_client(self, name: str | None = None) -> "PooledClient":
        path = [*self._url_path, name] if name else self._url_path
        return PooledClient(self._pool, self.host, self.request_headers, path)

    def get(self, query_params: Mapping[str, object] | None = None, **_: object) -> Response:
        """One GET, never redirected and never repeated. Raises the SDK's `HTTPError` for any but a 2xx."""
        return self._request("GET", self._build_url(query_params), None, self.request_headers)

    def post(self, request_body: object = None, **_: object) -> Response:
        """One POST of JSON, never redirected and never repeated. Raises the SDK's `HTTPError` for any but a 2xx."""
        headers = {**self.request_headers, "Content-Type": "application/json"}
        return self._request("POST", self._build_url(None), json.dumps(request_body).encode(), headers)

    def _request(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        answer = self._pool.urlopen(
            method,
            urllib3.util.parse_url(url).request_uri,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
        )
        if not 200 <= answer.status < 300:
            raise HTTPError(answer.status, answer.reason, answer.data, answer.headers)
        return Response(_Answer(answer))


def kept_alive(base_url: str, timeout: float, connections: int) -> urllib3.HTTPConnectionPool:
    """Kept-alive connections, one for each thread. The certificates are loaded once, not for each connection.

    Raises ValueError when `base_url` is no http(s) URL.
    """
    url = urllib3.util.parse_url(base_url)
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("not an http(s) URL")
    limits = urllib3.Timeout(connect=min(CONNECT_SECONDS, timeout / 2), read=timeout)
    if url.scheme == "https":
        context = ssl.create_default_context()
        return _SecurePool(url.host, url.port, limits, maxsize=connections, block=True, ssl_context=context)
    return _Pool(url.host, url.port, limits, maxsize=connections, block=True)
