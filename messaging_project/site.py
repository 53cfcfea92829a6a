"""The staff's site: what there is, in the words that staff use, and how the system is doing."""

from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, URLResolver, path

from messaging_project import dashboard

View = TypeVar("View", bound=Callable[..., HttpResponseBase])
GROUPS: dict[str, dict[str, str]] = {
    "Conversations": {
        "conversations.Conversation": "Conversations",
        "conversations.NotReached": "Not reached",
        "conversations.Scheduled": "Scheduled",
        "conversations.OptOut": "Opt-outs",
        "conversations.Message": "All messages",
    },
    "Operations": {
        "providers.AccountState": "Accounts",
        "webhooks.Receipt": "Receipts",
        "webhooks.Refusal": "Refused callbacks",
        "webhooks.Subscription": "Subscriptions",
        "webhooks.Delivery": "Deliveries",
    },
    "Access": {
        "conversations.Client": "Clients",
        "conversations.ApiKey": "API keys",
        "auth.User": "Users",
        "auth.Group": "Groups",
        "admin.LogEntry": "Audit trail",
    },
}
"""The lists by what they are for. One that is not here is shown at the end, under the name of its app."""


class Site(AdminSite):
    """The admin, with a dashboard on its first page."""

    site_header = site_title = "Switchboard"
    index_title = "How it is going"
    index_template = "admin/index.html"
    logout_template = "admin/logged_out.html"
    site_url = None

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Add what the first page fetches again and again; without the way to pages that no row here has."""
        fragment = path("dashboard/", self.admin_view(self.dashboard), name="dashboard")
        return [fragment, *(each for each in super().get_urls() if getattr(each, "name", "") != "view_on_site")]

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Answer 400 to a query that PostgreSQL would choke on, whichever page it is for."""

        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if "\0" in unquote(request.META.get("QUERY_STRING", "")):
                return HttpResponseBadRequest("There is a NUL in the address.", content_type="text/plain")
            return view(request, *args, **kwargs)

        return super().admin_view(cast(View, update_wrapper(checked, view)), cacheable)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return what the person may open, by GROUPS; of one app, as Django has it."""
        apps = super().get_app_list(request, app_label)
        return apps if app_label else list(grouped(apps))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the dashboard, and what the person may open."""
        return super().index(request, {**(extra_context or {}), **dashboard.context(request)})

    def dashboard(self, request: HttpRequest) -> HttpResponse:
        """Answer the dashboard alone, as it is now. Raises `PermissionDenied` for who sees no messages."""
        context = dashboard.context(request)
        if not context:
            raise PermissionDenied
        response = render(request, "admin/dashboard.html", context)
        response["Cache-Control"] = "no-store"
        return response


def grouped(apps: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield the groups that have something in them, each as Django's template takes an app."""
    left = {model["model"]._meta.label: {**model, "app": app["name"]} for app in apps for model in app["models"]}
    for group, names in GROUPS.items():
        models = [left.pop(label) | {"name": name} for label, name in names.items() if label in left]
        if models:
            yield group_of(group, models)
    for app in apps:
        if rest := [model for model in left.values() if model["app"] == app["name"]]:
            yield group_of(app["name"], rest)


def group_of(name: str, models: list[Any]) -> dict[str, Any]:
    """Return a group as Django's template takes an app."""
    return {"name": name, "app_label": name.lower(), "app_url": "", "has_module_perms": True, "models": models}
