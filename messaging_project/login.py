"""The login of staff: who is counted as whom by django-axes, and what somebody reads who failed too often."""

from datetime import timedelta
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

LONGEST_NAME = 150


def name_of(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """Return the name that an attempt is counted under: no longer than any user's is, as no column holds it."""
    shown = (credentials or {}).get("username") or request.POST.get("username", "")
    return str(shown).replace("\0", "")[:LONGEST_NAME]


def address_of(request: HttpRequest) -> str | None:
    """Return where the connection comes from. X-Forwarded-For says whatever somebody wrote into it."""
    return request.META.get("REMOTE_ADDR") or None


def locked_out(request: HttpRequest, response: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """Answer 429 with a page that says when to come again."""
    attempts = AccessAttempt.objects.filter(username=name_of(request, credentials), ip_address=address_of(request))
    last = attempts.order_by("-attempt_time").values_list("attempt_time", flat=True).first() or timezone.now()
    until = last + timedelta(minutes=settings.LOGIN_LOCK_MINUTES)
    wait = until - timezone.now()
    context = {
        **admin.site.each_context(request),
        "title": "Too many wrong passwords",
        "failures": settings.LOGIN_FAILURES,
        "until": until,
        "minutes": max(1, -(-wait // timedelta(minutes=1))),
    }
    answer = render(request, "admin/locked_out.html", context, status=429)
    answer["Retry-After"] = str(max(1, int(wait.total_seconds())))
    return answer
