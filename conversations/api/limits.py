"""How many requests a client may make.

Requests are counted in Redis by the minute of the clock, in one round trip; while Redis is away each process counts for
itself, so that a limit never fails a request and never quite disappears.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from conversations.broker import redis_server

if TYPE_CHECKING:  # it imports what the settings name, and they name this module
    from rest_framework.views import APIView

WINDOW_SECONDS = 60


class TooManyRequests(APIException):
    """The client has used its minute up."""

    status_code = 429
    default_code = "too_many_requests"

    def __init__(self, limit: int, wait: int) -> None:
        super().__init__(f"At most {limit:,} requests a minute. Try again in {wait} s.")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a client has left of its minute. `resets_at` is in seconds since 1970."""

    limit: int
    used: int
    resets_at: int

    @property
    def headers(self) -> dict[str, str]:
        """As every answer carries it."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(self.limit - self.used, 0)),
            "X-RateLimit-Reset": str(self.resets_at),
        }


class LocalCounts:
    """This process's own counts of the present window."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window = 0
        self._counts: dict[str, int] = {}

    def count(self, name: str, window: int) -> int:
        """Count one more; return how many there have been in this window."""
        with self._lock:
            if window != self._window:
                self._window, self._counts = window, {}
            self._counts[name] = self._counts.get(name, 0) + 1
            return self._counts[name]


_local = LocalCounts()


def count(name: str, limit: int) -> Allowance:
    """Count a request of the client of this name; return what it has left."""
    window = int(time.time()) // WINDOW_SECONDS

    def in_redis(server: "redis.Redis") -> int:
        key = f"requests:{name}:{window}"
        pipeline = server.pipeline(transaction=False)
        pipeline.incr(key)
        pipeline.expire(key, 2 * WINDOW_SECONDS)
        return int(pipeline.execute()[0])

    used = redis_server.ask(in_redis, 0) or _local.count(name, window)
    return Allowance(limit, used, (window + 1) * WINDOW_SECONDS)


class RateLimit(BaseThrottle):
    """Counts each request of a client; a batch is one."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Return True. Raises `TooManyRequests`."""
        client = cast(Any, request.user)
        limit = getattr(client, "requests_per_minute", None) or settings.API_REQUESTS_PER_MINUTE
        allowance = count(f"{type(client).__name__.lower()}-{client.pk}", limit)
        request._request.allowance = allowance  # type: ignore[attr-defined]
        if allowance.used > limit:
            raise TooManyRequests(limit, max(allowance.resets_at - int(time.time()), 1))
        return True


class RateLimitHeaders:
    """Says in every answer to a client what it has left."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Add the headers where the request was counted."""
        response = self.get_response(request)
        allowance: Allowance | None = getattr(request, "allowance", None)
        for name, value in (allowance.headers if allowance else {}).items():
            response[name] = value
        return response
