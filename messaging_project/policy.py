"""What the pages of staff may load and run: our own files and nothing else, whatever gets into their HTML."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
    " frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
CRASHED = 500


class ContentSecurityPolicy:
    """Adds the policy to every answer of the admin that has none of its own, as the HTML of mails has.

    Django's page of a crash, which there is with DEBUG alone, is written with styles of its own and is left as it is.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        response = self.get_response(request)
        is_for_developers = settings.DEBUG and response.status_code == CRASHED
        if request.path.startswith(reverse("admin:index")) and not is_for_developers:
            response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
