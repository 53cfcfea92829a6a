"""The client of a drill: it posts messages and keeps every answer, and every answer that never came."""

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

OUR_NUMBER, OUR_ADDRESS = "+15551234567", "ann@example.com"
THREADS = 8
ANSWER_SECONDS = 20
KINDS = {"sms": 6, "mms": 2, "email": 3}
FAMILIAR_PERCENT, UNREACHABLE_PERCENT = 15, 3
REPEATS = 60
REPEAT_AFTER_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A request and what came of it. `status` is None when no answer came; `at` is when it began, monotonic."""

    at: float
    seconds: float
    status: int | None
    message_id: str = ""
    trouble: str = ""
    key: str = ""

    @property
    def accepted(self) -> bool:
        """Whether it was answered 2xx."""
        return self.status is not None and 200 <= self.status < 300


class Wishes:
    """What a client might send: unique bodies, mostly to somebody new. The dice decide; any number of threads ask."""

    def __init__(self, dice: random.Random, run: str) -> None:
        self.kinds = KINDS
        """How often each type is drawn, against the others."""
        self.familiar_percent, self.unreachable_percent = FAMILIAR_PERCENT, UNREACHABLE_PERCENT
        """Of a hundred messages so many go to somebody who was written to lately, or to somebody out of reach."""
        self._dice = dice
        self._run = run
        self._lock = threading.Lock()
        self._count = 0
        # Drills share a stack: to somebody of an earlier one, a bounce may have ended everything.
        self._first = dice.randrange(1_000_000, 9_000_000)
        self._lately: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def next(self, kind: str = "") -> dict[str, Any]:
        """The body of a send."""
        with self._lock:
            self._count += 1
            kind = kind or self._dice.choices([*self.kinds], [*self.kinds.values()])[0]
            wish = {"type": kind, "from": OUR_NUMBER, "to": self._recipient(kind)}
            wish["body"] = f"Drill {self._run}, message {self._count}"
        if kind == "email":
            return wish | {"from": OUR_ADDRESS, "subject": f"Drill {self._run}"}
        return wish | ({"attachments": ["https://example.com/image.jpg"]} if kind == "mms" else {})

    def _recipient(self, kind: str) -> str:
        lot, lately = self._dice.random() * 100, self._lately[kind]
        if lately and lot < self.familiar_percent:
            return self._dice.choice(lately)
        if lot > 100 - self.unreachable_percent:
            texts = f"+1500553000{self._dice.randint(3, 8)}"
            return f"bounce@of{self._first + self._count}.example.com" if kind == "email" else texts
        number = self._first + self._count
        fresh = f"bob{number}@example.com" if kind == "email" else f"+1555{number}"
        self._lately[kind] = [*lately[-19:], fresh]
        return fresh


class Client:
    """Posts to one web process and keeps the books of it."""

    def __init__(self, url: str, wishes: Wishes) -> None:
        self._address = urlsplit(url).netloc
        self.wishes = wishes
        self.posts: list[Post] = []

    @property
    def accepted(self) -> set[str]:
        """The ids that were answered 2xx."""
        return {post.message_id for post in self.posts if post.accepted}

    def send(self, wish: dict[str, Any] | None = None, key: str = "") -> Post:
        """Post one message, with an Idempotency-Key if one is given."""
        body = json.dumps(wish or self.wishes.next()).encode()
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        began = time.monotonic()
        status: int | None = None
        try:
            status, answer = self._ask(body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer = {"code": type(error).__name__}
        seconds = time.monotonic() - began
        message_id, trouble = (str(answer.get(name, "")) for name in ("id", "code"))
        post = Post(at=began, seconds=seconds, status=status, message_id=message_id, trouble=trouble, key=key)
        self.posts.append(post)
        return post

    def send_at_last(self, wish: dict[str, Any], key: str) -> Post:
        """Post one message with a key again and again until an answer comes, as a careful client does."""
        for _ in range(REPEATS):
            post = self.send(wish, key)
            if post.status is not None and post.status < 500:
                break
            time.sleep(REPEAT_AFTER_SECONDS)
        return post

    def _ask(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(self._address, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", "/api/v1/messages/send", body, headers)
            response = connection.getresponse()
            return response.status, dict(json.loads(response.read()))
        finally:
            connection.close()

    def burst(self, count: int, *, keys: list[str] | None = None, wish: dict[str, Any] | None = None) -> list[Post]:
        """Post so many at the same moment, each from a thread of its own; with `keys`, persistently."""
        posts: list[Post] = []
        gate = threading.Barrier(count)

        def one(number: int) -> None:
            body = wish or self.wishes.next()
            gate.wait()
            posts.append(self.send_at_last(body, keys[number]) if keys else self.send(body))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return posts

    @contextmanager
    def load(self, rate: float, *, kind: str = "", with_keys: bool = False) -> Iterator[None]:
        """Post `rate` messages a second while the block runs; with keys, each is repeated until it is answered."""
        stop, began, tickets = threading.Event(), time.monotonic(), iter(range(1_000_000))

        def work() -> None:
            for ticket in tickets:
                if stop.wait(max(0.0, began + ticket / rate - time.monotonic())):
                    return
                if with_keys:
                    self.send_at_last(self.wishes.next(kind), f"{began}-{ticket}")
                else:
                    self.send(self.wishes.next(kind))

        threads = [threading.Thread(target=work, name="load") for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
