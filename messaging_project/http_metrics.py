"""What the web processes count of their requests: how many, how they ended, how long they took."""

import os
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from messaging_project.requests import endpoint, method

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

own = CollectorRegistry()
requests = Counter(
    "http_requests", "Requests by the route that they took.", ["method", "endpoint", "status_code"], registry=own
)
durations = Histogram(
    "http_request_duration_seconds",
    "How long requests took.",
    ["method", "endpoint"],
    buckets=BUCKETS,
    registry=own,
)


class CountRequests:
    """Counts each request under its route; no path, method or status that a stranger made up becomes a label."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Count and time a request."""
        began = time.perf_counter()
        response = self.get_response(request)
        verb, route = method(request), endpoint(request)
        requests.labels(verb, route, str(response.status_code)).inc()
        durations.labels(verb, route).observe(time.perf_counter() - began)
        return response


def of_all_web_processes() -> bytes:
    """Return what all web processes of this machine have counted, in Prometheus's text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(own)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)
