"""Pages that show and never change."""

from typing import Any

from django.db.models import Model
from django.http import HttpRequest

from providers.admin_actions import CheckedActions

EMPTY: tuple[Any, ...] = (None, "", [], {})


class ReadOnlyRows:
    """Lets staff look and takes every other permission away: rows move by their own rules, not by a form."""

    view_on_site: Any = False  # the API's page of a row is for programs

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """No."""
        return False


class ReadOnly(ReadOnlyRows, CheckedActions):
    """The same for a page of its own: what is not read there is an action. It shows of a row what there is."""

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Leave out what is empty, but for the fields of the form in which a row is added."""
        names: Any = super().get_fields(request, obj)
        return names if obj is None else [name for name in names if getattr(obj, name, name) not in EMPTY]
