"""What pages may load and run, who may look into our answers, and which host they are asked for."""

import logging
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse

from messaging_project.problems import problem

logger = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
    " frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Referrer-Policy, Cross-Origin-Opener-Policy, X-Frame-Options and nosniff are Django's own.
HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
WRITTEN_BY_DEBUG = frozenset({404, 500})
KEPT_BY_NOBODY = "private, no-store"

GetResponse = Callable[[HttpRequest], HttpResponse]


class KnownHosts:
    """Answers what is asked for under a host that is none of ours with a problem, before anybody reads more of it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        try:
            request.get_host()
        except DisallowedHost:  # its text names the host, which a stranger made up
            logger.warning("asked for under a host that is not in ALLOWED_HOSTS")
            sentence = "Nothing is served under this host. Its owner can name it in ALLOWED_HOSTS, or as PUBLIC_URL's."
            return problem(400, "unknown_host", sentence)
        return self.get_response(request)


class ContentSecurityPolicy:
    """Adds the policy to every page that has none of its own, as the HTML of mails has, and our other rules to all.

    What the API answers is kept by no cache. With DEBUG, Django's pages for developers are left as they are: they have
    their styles and scripts in themselves.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        response = self.get_response(request)
        headers = response.headers
        if not (settings.DEBUG and response.status_code in WRITTEN_BY_DEBUG):
            headers.setdefault("Content-Security-Policy", POLICY)
        if request.path.startswith("/api/v1/"):
            headers.setdefault("Cache-Control", KEPT_BY_NOBODY)
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        return response
