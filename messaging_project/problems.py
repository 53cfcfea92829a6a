"""Errors as `application/problem+json` (RFC 9457) for everything under /api/ and the probes.

Django's own answers (unmatched paths, refused hosts, crashes, its technical pages under DEBUG) are turned into problems
here; inside DRF views `problem_response` is the exception handler.
"""

import logging
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response

from conversations.api.fields import flattened
from conversations.models import Conversation
from messaging_project.requests import endpoint

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
COMPACT = {"separators": (",", ":")}
SPOKEN_UNDER = re.compile(r"/(api|live|startup|ready|health|dependencies|metrics)(/|$)")
RETRY_AFTER_SECONDS = 5

CODES = {
    400: "bad_request",
    401: "not_authenticated",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}

GetResponse = Callable[[HttpRequest], HttpResponse]


def problem_body(status: int, code: str, detail: str, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a problem as RFC 9457 has it, with our stable `code` and, for 422, `errors`."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}
    return body if errors is None else {**body, "errors": errors}


def problem(status: int, code: str, detail: str) -> JsonResponse:
    """Return a problem as a response."""
    body = problem_body(status, code, detail)
    response = JsonResponse(body, status=status, content_type=CONTENT_TYPE, json_dumps_params=COMPACT)
    if status == 503:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer an exception in a DRF view (setting `EXCEPTION_HANDLER`); what is not foreseen goes on to the middleware.

    A `ValidationError` becomes a 422 that names every field; its attribute `location` says where they stand, by default
    in the body.
    """
    match error:
        case Http404() | Conversation.DoesNotExist():  # the latter where another request deletes it meanwhile
            error = exceptions.NotFound()
        case PermissionDenied():
            error = exceptions.PermissionDenied()
        case exceptions.UnsupportedMediaType():
            error.detail = exceptions.ErrorDetail(f"{error.detail} Send application/json.", error.default_code)
    if not isinstance(error, exceptions.APIException):
        return None
    headers = {}
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if isinstance(error, exceptions.ValidationError):
        status, body = 422, invalid_body(error)
    else:
        status, body = error.status_code, problem_body(error.status_code, str(error.get_codes()), str(error.detail))
    return Response(body, status=status, headers=headers, content_type=CONTENT_TYPE)


def invalid_body(error: exceptions.ValidationError) -> dict[str, Any]:
    """Return the 422 for a validation error: one entry in `errors` for each thing to mend."""
    errors = list(flattened(error.detail, (getattr(error, "location", "body"),)))
    return problem_body(422, "invalid", "The request has errors; each is listed in `errors`.", errors)


class ProblemMiddleware:
    """Answers problems where Django would answer HTML."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Replace an error page by a problem of the same status."""
        if SPOKEN_UNDER.match(request.path) and "Transfer-Encoding" in request.headers:
            # WSGI has no length for it, so Django would read an empty body and the client would be told nonsense.
            return problem(411, "length_required", "Send a Content-Length instead of a Transfer-Encoding.")
        response = self.get_response(request)
        is_page = response.get("Content-Type", "").startswith("text/html")
        if response.status_code < 400 or not is_page or not SPOKEN_UNDER.match(request.path):
            return response
        status = HTTPStatus(response.status_code)
        answer = problem(status, CODES.get(status, "error"), f"{status.phrase}.")
        if "Allow" in response:
            answer["Allow"] = response["Allow"]
        return answer

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer a crash: 503 if the database is away, else 500. The traceback goes to the log and nowhere else."""
        if isinstance(error, OperationalError | InterfaceError):
            logger.error("%s: the database is away (%s)", endpoint(request), type(error).__name__)
            return problem(503, "unavailable", "The database is away. Try again in a moment.")
        if not SPOKEN_UNDER.match(request.path):
            return None
        logger.error("%s crashed", endpoint(request), exc_info=error)
        return problem(500, "internal_error", "Something went wrong here. Nothing in the request causes this.")
