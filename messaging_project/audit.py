"""Who came and went, in the audit trail. Receivers of Django's signals, connected before the models can be imported.

A failed login is written down with the user of that name, who need not be the one who tried; one under a name that
nobody has is counted by django-axes alone. While a name is locked nothing is written, so guessing fills no table.
"""

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.http import HttpRequest

CHANGE = 2
"""Django's `django.contrib.admin.models.CHANGE`."""


def record_login(user: Any, **_: Any) -> None:
    """Write down that somebody logged in."""
    record(user, "Logged in.")


def record_logout(user: Any, **_: Any) -> None:
    """Write down that somebody logged out; nothing for whoever was not logged in."""
    if user is not None:
        record(user, "Logged out.")


def record_failure(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Write down that somebody tried a wrong password for a user that there is."""
    name = str(credentials.get("username") or "")
    user = None if "\0" in name else get_user_model().objects.filter(username=name).first()
    if user is not None and was_counted(request):
        record(user, "A login failed.")


def was_counted(request: HttpRequest | None) -> bool:
    """Say whether django-axes, which is told first, counted the attempt: it counts none while a name is locked."""
    return getattr(request, "axes_failures_since_start", None) is not None


def record(user: Any, sentence: str) -> None:
    """Add a line to the audit trail, about the user and by the user."""
    content_type = apps.get_model("contenttypes", "ContentType").objects.get_for_model(user)
    apps.get_model("admin", "LogEntry").objects.create(
        user_id=user.pk,
        content_type=content_type,
        object_id=str(user.pk),
        object_repr=user.get_username(),
        action_flag=CHANGE,
        change_message=sentence,
    )
