"""How the admin's lists treat actions and filters; here, at the bottom, so that the lists of every app can have it."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object

AT_ONCE = 500
"""To so many rows one action is done at most: each is locked, changed and written down by itself."""


class NotOffered(Exception):
    """An address asks a list for what it does not offer."""


class OfferedList(ChangeList):
    """Is narrowed by the filters that it offers, where Django takes every lookup of every column.

    Of those some end in an error of the database, and a regular expression may take it minutes.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        """Return what Django does. Raises `IncorrectLookupParameters` for what is left over once the filters are read.

        So it does for what lies beyond the calendar.
        """
        try:
            found = super().get_filters(request)
        except (OverflowError, ValueError) as error:
            raise IncorrectLookupParameters from error
        if set(found[2]) - {f"{self.date_hierarchy}__gte", f"{self.date_hierarchy}__lt"}:
            raise IncorrectLookupParameters
        return found


class CheckedActions(ModelAdmin):
    """Answers 403 to an action that the person may not do, where Django would only say that none was chosen.

    An address that asks for what its list does not offer is answered with the whole of it, and a sentence. The list is
    called `title`, or as many of its rows are.
    """

    title = ""
    show_facets = admin.ShowFacets.NEVER  # they count every row of what may be long

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list, or do what was chosen. Raises `PermissionDenied`."""
        wished = set(request.POST.getlist("action")) - {""}
        if wished - set(self.get_actions(request)):
            raise PermissionDenied
        if not all(map(self.is_an_id, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            messages.error(request, "What was chosen is nothing of this list: choose from its rows.")
            return HttpResponseRedirect(request.get_full_path())
        title = self.title or capfirst(str(self.model._meta.verbose_name_plural))
        try:
            return super().changelist_view(request, {"title": title, **(extra_context or {})})
        except NotOffered:
            messages.warning(request, "The address asked for what this list does not offer: this is all of it.")
            return HttpResponseRedirect(request.path)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return ours."""
        return OfferedList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the list as it was asked for. Raises `NotOffered`."""
        try:
            return super().get_changelist_instance(request)
        except IncorrectLookupParameters as error:
            if not request.GET:
                raise
            raise NotOffered from error

    def is_an_id(self, text: str) -> bool:
        """Say whether a row of this list could have it; whether one has is for the query to find."""
        try:
            self.model._meta.pk.to_python(text)
        except ValidationError:
            return False
        return "\0" not in text

    def response_action(
        self, request: HttpRequest, queryset: "QuerySet[Any]", *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Do what was chosen, unless it was chosen for more rows than AT_ONCE."""
        if request.POST.get("select_across") == "1" and queryset[: AT_ONCE + 1].count() > AT_ONCE:
            messages.error(request, f"Choose at most {AT_ONCE} at once: search and filters narrow the list.")
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset, *args, **kwargs)

    def ask(
        self, request: HttpRequest, rows: "QuerySet[Any]", action: str, *, title: str, warning: str, yes: str
    ) -> HttpResponse:
        """Answer a page that asks before an action is done; its button, `yes`, does it: see `is_confirmed`."""
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "warning": warning,
            "yes": yes,
            "action": action,
            "rows": rows,
            "opts": self.model._meta,
        }
        return TemplateResponse(request, "admin/ask.html", context)


def is_confirmed(request: HttpRequest) -> bool:
    """Say whether the person was asked, and said yes."""
    return "confirmed" in request.POST
