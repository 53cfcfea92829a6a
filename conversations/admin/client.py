"""Clients of the API and their keys."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from conversations.models import ApiKey, Client
from conversations.models.client import Scope


@admin.register(Client)
class ClientAdmin(admin.ModelAdmin):
    """Who may use the API. One that is no longer wanted is disabled, as its messages remain."""

    list_display = ("name", "test", "senders", "requests_per_minute", "disabled_at", "created_at")
    search_fields = ("name",)
    fields = ("name", "test", "senders", "requests_per_minute", "disabled_at", "created_at")

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
class ApiKeyAdmin(admin.ModelAdmin):
    """Keys are made, shown once, and revoked; none is changed."""

    form = ApiKeyForm
    list_display = ("prefix", "client", "scopes", "expires_at", "revoked_at", "last_used_at", "created_at")
    list_filter = ("client", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("client",)
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
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """Let these keys be taken no more."""
        count = keys.filter(revoked_at__isnull=True).update(revoked_at=timezone.now())
        self.message_user(request, f"{count} revoked.")
