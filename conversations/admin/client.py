"""Clients of the API and their keys."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.db.models import DateTimeField, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html_join

from conversations.admin.reading import ReadOnlyRows
from conversations.models import ApiKey, Client
from conversations.models.client import Scope
from providers.admin_actions import CheckedActions, is_confirmed


class NamedDateTime(AdminSplitDateTime):
    """The two inputs of a time, each with a name of its own: the label of both belongs to neither."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Return what its template takes."""
        context = super().get_context(name, value, attrs)
        for part, noun in zip(context["widget"]["subwidgets"], ("date", "time"), strict=True):
            part["attrs"]["aria-label"] = f"{name.replace('_', ' ').capitalize()}: {noun}"
        return context


class KeyColumns:
    """What lists of keys say of each."""

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        """Return whether it is taken now, and why not."""
        states = {"key_revoked": "revoked", "key_expired": "expired", "client_disabled": "client disabled"}
        return states[key.refusal[0]] if key.refusal else "active"

    @admin.display(description="scopes")
    def scopes_in_words(self, key: ApiKey) -> str:
        """Return what it allows, each scope explained when pointed at."""
        words = dict(Scope.choices)
        lines = ((words.get(scope, scope), scope) for scope in key.scopes)
        return format_html_join(", ", '<span title="{}">{}</span>', lines)


class KeyInline(KeyColumns, ReadOnlyRows, admin.TabularInline):
    """The keys of a client."""

    model = ApiKey
    fields = ("prefix", "state", "scopes_in_words", "expires_at", "last_used_at", "created_at")
    readonly_fields = fields
    ordering = ("-created_at",)


@admin.register(Client)
class ClientAdmin(CheckedActions, admin.ModelAdmin):
    """Who may use the API. One that is no longer wanted is disabled, as its messages remain."""

    list_display = ("name", "test", "senders_in_words", "requests_per_minute", "disabled_at", "created_at")
    search_fields = ("name",)
    list_filter = ("test", ("disabled_at", admin.EmptyFieldListFilter))
    ordering = ("name",)
    fields = ("name", "test", "senders", "requests_per_minute", "disabled_at", "created_at")
    formfield_overrides = {DateTimeField: {"widget": NamedDateTime}}
    inlines = (KeyInline,)

    @admin.display(description="sends from")
    def senders_in_words(self, client: Client) -> str:
        """Return the addresses that it may use."""
        return ", ".join(client.senders) or "any address"

    def get_readonly_fields(self, request: HttpRequest, obj: Client | None = None) -> tuple[str, ...]:
        """A test client stays one: otherwise what it has just tried out would go to real people."""
        return ("created_at",) if obj is None else ("created_at", "test")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False


class ApiKeyForm(forms.ModelForm):
    """A new key: for whom, for what, for how long."""

    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiKey
        fields = ("client", "scopes", "expires_at")


@admin.register(ApiKey)
class ApiKeyAdmin(KeyColumns, CheckedActions, admin.ModelAdmin):
    """Keys are made, shown once, and revoked; none is changed."""

    form = ApiKeyForm
    formfield_overrides = {DateTimeField: {"widget": NamedDateTime}}
    list_display = (
        "prefix", "client", "state", "scopes_in_words", "last_used_at", "expires_at", "created_at",
    )  # fmt: skip
    list_display_links = None
    list_filter = ("client", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("client",)
    search_fields = ("prefix", "client__name")
    ordering = ("-created_at",)
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A key stays as it was made; revoking is an action of the list."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: a key that was used is evidence."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever may change keys."""
        return request.user.has_perm("conversations.change_apikey")

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Make the key and show it, this once."""
        made, key = ApiKey.objects.make(obj.client, obj.scopes, obj.expires_at)
        obj.pk, obj.prefix, obj.digest = made.pk, made.prefix, made.digest
        self.message_user(request, f"The key, which is not shown again: {key}", messages.WARNING)

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> HttpResponse | None:
        """Let the chosen keys be taken no more; ask first, and write down who did."""
        good = keys.filter(revoked_at__isnull=True)
        if good and not is_confirmed(request):
            return self.ask(
                request,
                good,
                "revoke",
                title="Revoke?",
                warning="Whoever uses one of these keys is answered 401 within a second. It can't be undone:"
                " make new keys first, and let them be used.",
                yes=f"Revoke {len(good)}",
            )
        revoked = list(good)
        keys.filter(pk__in=[each.pk for each in revoked]).update(revoked_at=timezone.now())
        for each in revoked:
            self.log_change(request, each, "Revoked.")
        self.message_user(request, f"{len(revoked)} revoked.")
        return None
