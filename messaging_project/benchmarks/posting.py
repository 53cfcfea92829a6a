"""The client: posts what was prepared over kept-alive connections, as fast as it is answered or at a steady rate.

It shares the machine with what it measures, so it writes and reads bytes and leaves all else for afterwards.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CONNECTIONS = 16
"""As many as the web processes have threads."""
ANSWER_SECONDS = 60
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came to. `at` is when it began, in seconds since 1970; `status` is None without an answer."""

    at: float
    seconds: float
    status: int | None
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether it was answered 2xx."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


UNANSWERED = Answer(at=0.0, seconds=0.0, status=None, body=b"")
"""What stands for a request that was never made."""


@dataclass(frozen=True, slots=True)
class Volley:
    """Many requests, in their order, and how long all of them took."""

    seconds: float
    answers: Sequence[Answer]

    @property
    def errors(self) -> int:
        """How many were not answered 2xx."""
        return sum(not answer.is_good for answer in self.answers)

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return (len(self.answers) - self.errors) / self.seconds

    @property
    def ids(self) -> list[str]:
        """The ids of what was accepted, one by one or as rows of batches."""
        found = [answer.json for answer in self.answers if answer.is_good]
        rows = [row["message"] for each in found for row in each.get("results", ()) if row["status"] == 201]
        return [str(each["id"]) for each in (*(each for each in found if "id" in each), *rows)]


def request(
    url: str, path: str, body: bytes, headers: Mapping[str, str], content_type: str = JSON, method: str = "POST"
) -> bytes:
    """Return the bytes of a request."""
    lines = {
        "Host": urlsplit(url).netloc,
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Connection": "keep-alive",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def post(url: str, requests: Sequence[bytes], *, connections: int = CONNECTIONS, rate: float | None = None) -> Volley:
    """Post all of them, at most so many at once; with a rate, so many a second or as many as are answered."""
    answers = [UNANSWERED] * len(requests)
    tickets = iter(range(len(requests)))
    ready = threading.Barrier(min(connections, len(requests)) + 1)
    began = 0.0

    def work() -> None:
        with Connection(url) as connection:
            ready.wait()
            for ticket in tickets:
                if rate:
                    time.sleep(max(0.0, began + ticket / rate - time.perf_counter()))
                answers[ticket] = connection.ask(requests[ticket])

    threads = [threading.Thread(target=work, name="client") for _ in range(ready.parties - 1)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    ready.wait()
    for thread in threads:
        thread.join()
    return Volley(time.perf_counter() - began, answers)


class Connection:
    """One kept-alive connection, opened again when it breaks."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.address = parts.hostname, parts.port or 80
        self.socket: socket.socket | None = None
        self.rest = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self.socket is not None:
            self.socket.close()
        self.socket, self.rest = None, b""

    def ask(self, whole: bytes) -> Answer:
        """Send a request and read its answer. Never raises for what the network or the server does."""
        at, began = time.time(), time.perf_counter()
        with suppress(OSError, ValueError, KeyError):
            if self.socket is None:
                self.socket = socket.create_connection(self.address, timeout=ANSWER_SECONDS)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(whole)
            status, body = self.read()
            return Answer(at, time.perf_counter() - began, status, body)
        self.close()
        return Answer(at, time.perf_counter() - began, None, b"")

    def read(self) -> tuple[int, bytes]:
        """Return status and body. Raises OSError when the other side hangs up, ValueError for what is no answer."""
        head, _, body = next(part for part in self.grown() if part[1])
        names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(names[b"content-length"])
        pieces, missing = [body], length - len(body)
        while missing > 0:
            pieces.append(self.more())
            missing -= len(pieces[-1])
        whole = b"".join(pieces)
        self.rest = whole[length:]
        if names.get(b"connection") == b"close":
            self.close()
        return int(head.split(b" ", 2)[1]), whole[:length]

    def grown(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yield what came so far, parted where the headers end, and read on."""
        while True:
            yield self.rest.partition(b"\r\n\r\n")
            self.rest += self.more()

    def more(self) -> bytes:
        """Return the next bytes. Raises OSError at their end."""
        assert self.socket is not None
        piece = self.socket.recv(262_144)
        if not piece:
            raise ConnectionResetError
        return piece
