"""What the pages of staff may load and run: our own files and nothing else, whatever gets into their HTML."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
    " frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
WRITTEN_BY_DEBUG = frozenset({404, 500})


class ContentSecurityPolicy:
    """Adds the policy to every answer of the admin that has none of its own, as the HTML of mails has.

    With DEBUG, Django's pages for developers are left as they are: they have their styles and scripts in themselves.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        response = self.get_response(request)
        is_for_developers = settings.DEBUG and response.status_code in WRITTEN_BY_DEBUG
        if request.path.startswith(reverse("admin:index")) and not is_for_developers:
            response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
