"""What providers really said, and what subscribers were told, for whoever has to find out."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import FileResponse, HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from conversations.admin.paging import CappedPaginator
from conversations.admin.reading import ReadOnly
from providers.admin_filters import AccountFilter, KnownValuesFilter
from webhooks.models import Delivery, Receipt, Refusal, Subscription
from webhooks.models.delivery import MOST_REPLAYED, DeliveryQuerySet
from webhooks.models.subscription import EVENT_TYPES


class KindFilter(KnownValuesFilter):
    """Narrows receipts to what they tell of."""

    title = parameter_name = "kind"
    known = ("status", "inbound", "unknown")


class EventFilter(KnownValuesFilter):
    """Narrows deliveries to one type of event."""

    title = parameter_name = "event"
    known = EVENT_TYPES


@admin.register(Receipt)
class ReceiptAdmin(ReadOnly, admin.ModelAdmin):
    """Read only: a receipt is evidence."""

    list_display = ("id", "received_at", "provider", "kind", "result", "verified", "attempts", "error")
    list_display_links = ("id", "received_at")
    list_filter = ("result", AccountFilter, KindFilter, "verified", "backfilled", "received_at")
    exclude = ("body",)
    readonly_fields = ("as_it_came",)
    search_fields = ("=id",)
    search_help_text = "The number of a receipt"
    ordering = ("-id",)
    actions = ("replay",)
    paginator = CappedPaginator
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        """Leave out what can be long and no list shows."""
        return super().get_queryset(request).defer("payload")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whoever may change receipts."""
        return request.user.has_perm("webhooks.change_receipt")

    @admin.action(description="Replay: what took effect already changes nothing", permissions=["replay"])
    def replay(self, request: HttpRequest, receipts: QuerySet[Receipt]) -> None:
        """Let the chosen ones take effect anew, as `manage.py replay_receipts` does, and write down who did."""
        chosen = list(receipts)
        for each in chosen:
            self.log_change(request, each, "Replayed.")
        results = Receipt.objects.filter(pk__in=[each.pk for each in chosen]).apply_again()
        stand = ", ".join(f"{count} {result.lower()}" for result, count in results.most_common())
        messages.success(request, f"Replayed: {results.total()} ({stand}).")

    @admin.display(description="body")
    def as_it_came(self, receipt: Receipt) -> str:
        """Return a link to what is kept beside the payload."""
        if not receipt.body:
            return "–"
        return format_html('<a href="{}">download</a>', reverse("admin:webhooks_receipt_body", args=[receipt.pk]))

    def get_urls(self) -> list[URLPattern]:
        """Add the download."""
        download = path("<int:pk>/body/", self.admin_site.admin_view(self.download), name="webhooks_receipt_body")
        return [download, *super().get_urls()]

    def download(self, request: HttpRequest, pk: int) -> FileResponse:
        """Answer the body as it came, never to be shown by a browser. 403 without the permission to see receipts."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        receipt = get_object_or_404(Receipt, ~Q(body=""), pk=pk)
        return FileResponse(receipt.body.open(), as_attachment=True, filename=f"receipt-{pk}.txt")


@admin.register(Refusal)
class RefusalAdmin(ReadOnly, admin.ModelAdmin):
    """Read only: how many callbacks were not let in."""

    list_display = ("hour", "provider", "reason", "count")
    list_filter = ("provider", "reason")
    ordering = ("-hour",)


SWITCHED = ("disabled_at", "disabled_because", "enabled_at", "failures", "failing_since", "retry_at")
"""What enabling and disabling change: a secret that is renewed meanwhile stays."""


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnly, admin.ModelAdmin):
    """Who is told of what. Clients make and change these over the API; actions here stop them, and start them again."""

    list_display = ("url", "client", "status", "failures", "failing_since", "disabled_because", "created_at")
    list_filter = ("client", ("disabled_at", admin.EmptyFieldListFilter))
    list_select_related = ("client",)
    search_fields = ("url",)
    ordering = ("-created_at",)
    fields = (
        "url", "client", "events", "status", "failures", "failing_since", "retry_at",
        "disabled_at", "disabled_because", "created_at",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("enable", "disable", "replay_failed")

    def has_switch_permission(self, request: HttpRequest) -> bool:
        """Whoever may change subscriptions."""
        return request.user.has_perm("webhooks.change_subscription")

    @admin.action(description="Enable: what waited is told now", permissions=["switch"])
    def enable(self, request: HttpRequest, subscriptions: QuerySet[Subscription]) -> None:
        """Tell the chosen ones again."""
        for each in subscriptions:
            each.enable()
            each.save(update_fields=SWITCHED)
            self.log_change(request, each, "Enabled.")
        messages.success(request, f"Enabled: {len(subscriptions)}.")

    @admin.action(description="Disable: nothing more is told, what happens waits", permissions=["switch"])
    def disable(self, request: HttpRequest, subscriptions: QuerySet[Subscription]) -> None:
        """Tell the chosen ones nothing more."""
        for each in subscriptions:
            each.disable("A member of staff disabled it.")
            each.save(update_fields=SWITCHED)
            self.log_change(request, each, "Disabled.")
        messages.success(request, f"Disabled: {len(subscriptions)}.")

    @admin.action(description="Tell again what was given up", permissions=["switch"])
    def replay_failed(self, request: HttpRequest, subscriptions: QuerySet[Subscription]) -> None:
        """Let failed deliveries of the chosen ones be due again."""
        failed = Delivery.objects.filter(subscription__in=subscriptions, status=Delivery.Status.FAILED)
        for each in subscriptions:
            self.log_change(request, each, "Told again what was given up.")
        messages.success(request, told_again(failed))


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, admin.ModelAdmin):
    """Read only: what was told, and how that went. It can be told again."""

    list_display = (
        "created_at", "event", "subscription", "status", "attempts", "response_status", "error",
        "next_attempt_at",
    )  # fmt: skip
    list_filter = ("status", EventFilter, "subscription")
    list_select_related = ("subscription",)
    ordering = ("-created_at", "-id")
    paginator = CappedPaginator
    show_full_result_count = False
    actions = ("replay",)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whoever may change subscriptions."""
        return request.user.has_perm("webhooks.change_subscription")

    @admin.action(description="Tell again", permissions=["replay"])
    def replay(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        """Let the chosen ones be due again, each in its old place."""
        chosen = Delivery.objects.filter(pk__in=deliveries.values("pk"))
        for each in deliveries:
            self.log_change(request, each, "Told again.")
        messages.success(request, told_again(chosen))


def told_again(deliveries: DeliveryQuerySet) -> str:
    """Let deliveries be due again, as many as can be at once, and say how many those are."""
    count = len(deliveries.replay(MOST_REPLAYED))
    return f"Told again: {count}{', the oldest; that is as many as can be at once' if count == MOST_REPLAYED else ''}."
