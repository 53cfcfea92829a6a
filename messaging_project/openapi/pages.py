"""The pages that describe the API, and the way to them."""

from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

import messaging_project
from messaging_project.openapi.collection import generated_schema

# Everything comes from here. The page's library styles its elements one by one.
POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"


class SchemaView(SpectacularAPIView):
    """The schema, for whoever asks."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer it as JSON or YAML."""
        media_type = request.accepted_renderer.media_type
        name = f'inline; filename="switchboard.{request.accepted_renderer.format}"'
        return HttpResponse(schema_as(media_type), content_type=media_type, headers={"Content-Disposition": name})


@cache
def schema_as(media_type: str) -> str | bytes:
    """Return the schema in one of its media types; made once each, as that takes a while and anybody may ask."""
    [renderer] = [each() for each in SchemaView.renderer_classes if each.media_type == media_type]
    return renderer.render(generated_schema())


class DocsView(SpectacularSwaggerSplitView):
    """The schema as a page to read and to try things out on. It asks nobody but us."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    template_name = "api_docs.html"
    title = "Switchboard"

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Answer the page, or with `?script=` what fills it."""
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response["Content-Security-Policy"] = POLICY
        return response


@require_safe
def index(_: HttpRequest) -> JsonResponse:
    """Answer what this is, and where to go on."""
    links = {
        "docs": "/api/docs",
        "schema": "/api/schema",
        "messages": "/api/v1/messages",
        "conversations": "/api/v1/conversations",
        "opt_outs": "/api/v1/opt-outs",
        "subscriptions": "/api/v1/subscriptions",
        "health": "/health",
        "admin": "/admin/",
    }
    body = {"name": "Switchboard", "version": messaging_project.__version__}
    absolute = {name: f"{settings.PUBLIC_URL}{path}" for name, path in links.items()}
    return JsonResponse({**body, "links": absolute}, json_dumps_params={"separators": (",", ":")})
