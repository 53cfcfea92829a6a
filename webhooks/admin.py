"""The receipts, for whoever has to find out what a provider really said."""

from django.contrib import admin

from conversations.admin.reading import ReadOnly
from webhooks.models import Receipt, Refusal


@admin.register(Receipt)
class ReceiptAdmin(ReadOnly, admin.ModelAdmin):
    """Read only: a receipt is evidence."""

    list_display = ("received_at", "provider", "kind", "result", "verified", "attempts", "error")
    list_filter = ("provider", "kind", "result", "verified")
    date_hierarchy = "received_at"
    ordering = ("-id",)


@admin.register(Refusal)
class RefusalAdmin(ReadOnly, admin.ModelAdmin):
    """Read only: how many callbacks were not let in."""

    list_display = ("hour", "provider", "reason", "count")
    list_filter = ("provider", "reason")
    ordering = ("-hour",)
