"""A request as the logs and the metrics know it: its id, the route that it took, one line when it is answered."""

import logging
import re
import time
from collections.abc import Callable
from functools import lru_cache
from uuid import uuid4

from django.conf import settings
from django.contrib.admindocs.views import simplify_regex
from django.http import HttpRequest, HttpResponse

from conversations.log_context import about

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
USABLE_ID = re.compile(r"[\x21-\x7e]{1,128}")
# Asked every few seconds, so that the line is worth its place only when they are not well; and files of our own.
SPOKEN_OF_IN_TROUBLE_ONLY = ("/live", "/startup", "/ready", "/health", "/metrics", "static")

GetResponse = Callable[[HttpRequest], HttpResponse]


class RequestIds:
    """Takes `X-Request-ID` or makes one up, echoes it, and lets every log line of the request carry it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Run the request under its id."""
        given = request.headers.get("X-Request-ID", "")
        usable = given if USABLE_ID.fullmatch(given) else uuid4().hex
        request.request_id = usable  # type: ignore[attr-defined]
        with about(request_id=usable):
            response = self.get_response(request)
        response["X-Request-ID"] = usable
        return response


class RequestLines:
    """Writes the line of each request, in the place of the server's own, which would name paths and queries: in these
    stand tokens, and whatever somebody searches for.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request, and say how."""
        began = time.perf_counter()
        response = self.get_response(request)
        route, code = endpoint(request), response.status_code
        if code >= 400 or not route.startswith(SPOKEN_OF_IN_TROUBLE_ONLY):
            took = round((time.perf_counter() - began) * 1000, 1)
            fields = {"method": method(request), "endpoint": route, "status_code": code, "duration_ms": took}
            logger.info("request answered", extra=fields)
        return response


def method(request: HttpRequest) -> str:
    """Return a request's method, "other" for one that somebody made up."""
    return request.method if request.method in METHODS else "other"


def endpoint(request: HttpRequest) -> str:
    """Return the route that a request took, such as /api/v1/messages/<message_id>/."""
    if request.resolver_match is None:
        return "static" if request.path.startswith(settings.STATIC_URL) else "unmatched"
    return route_of(request.resolver_match.route)


@lru_cache(maxsize=1_000)
def route_of(route: str) -> str:
    """Return a route as people read it."""
    return str(simplify_regex(route))
