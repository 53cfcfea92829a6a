"""The providers' accounts in the admin: which of them may be offered messages, and why not."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from providers import routes
from providers.admin_actions import CheckedActions
from providers.admin_filters import AccountFilter
from providers.models import AccountState

REHEARSAL = timedelta(minutes=10)


class OwnAccountFilter(AccountFilter):
    """Narrows the accounts to one of them."""

    parameter_name = "account"


@admin.register(AccountState)
class AccountStateAdmin(CheckedActions, admin.ModelAdmin):
    """Staff look, pause and resume; everything else follows from what the providers answer."""

    list_display = ("named", "channel", "state", "why", "since", "probe_at")
    list_filter = ("state", OwnAccountFilter, "channel")
    empty_value_display = "–"
    ordering = ("account", "channel")
    actions = ("pause", "rehearse", "resume")
    list_display_links = None

    @admin.display(description="account", ordering="account")
    def named(self, row: AccountState) -> str:
        """Return which account it is."""
        return row.label

    @admin.display(description="why")
    def why(self, row: AccountState) -> str:
        """Return in words why it is stopped; nothing while it runs."""
        return f"{row.sentence} ({row.code})" if row.code else ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccountState]:
        """With those that were never stopped, so that they can be."""
        names = routes.account_names()
        AccountState.objects.add_missing((name, channel) for name in names for channel in routes.channels_of(name))
        return super().get_queryset(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No: accounts come from the settings."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No: rows move by the actions, not by a form."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Whoever may change accounts."""
        return request.user.has_perm("providers.change_accountstate")

    @admin.action(description="Pause: messages wait until somebody resumes", permissions=["stop"])
    def pause(self, request: HttpRequest, rows: QuerySet[AccountState]) -> None:
        """Stop the chosen ones until a person resumes them, and write down who did."""
        for row in rows:
            AccountState.objects.pause(
                row.account, [row.channel], code="paused_by_staff", sentence="Somebody paused it.", probe_at=None
            )
            self.log_change(request, row, "Paused.")
        messages.success(request, f"Paused: {len(rows)}.")

    @admin.action(
        description="Pretend that it is down for 10 minutes",
        permissions=["stop"],
    )
    def rehearse(self, request: HttpRequest, rows: QuerySet[AccountState]) -> None:
        """Stop those that run, for a while, and write down who did: messages wait, or go by other accounts."""
        stopped = [row for row in rows if AccountState.objects.rehearse(row, REHEARSAL)]
        for row in stopped:
            self.log_change(request, row, "Pretended to be down for 10 minutes.")
        if stopped:
            messages.success(request, f"Down for 10 minutes, as far as we are concerned: {len(stopped)}.")
        if left := len(rows) - len(stopped):
            messages.warning(request, f"Left as they are: {left}, stopped already.")

    @admin.action(description="Resume: what waits is sent now", permissions=["stop"])
    def resume(self, request: HttpRequest, rows: QuerySet[AccountState]) -> None:
        """Let the chosen ones run again, and write down who did."""
        resumed = AccountState.objects.filter(pk__in=[row.pk for row in rows]).resume()
        for row in resumed:
            self.log_change(request, row, "Resumed.")
        messages.success(request, f"Resumed: {len(resumed)}.")
