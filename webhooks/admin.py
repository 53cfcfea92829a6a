"""The receipts, for whoever has to find out what a provider really said."""

from django.contrib import admin

from conversations.admin.reading import ReadOnly
from webhooks.models import Receipt


@admin.register(Receipt)
class ReceiptAdmin(ReadOnly, admin.ModelAdmin):
    """Read only: a receipt is evidence."""

    list_display = ("received_at", "provider", "kind", "result", "verified", "attempts", "error")
    list_filter = ("provider", "kind", "result", "verified")
    date_hierarchy = "received_at"
    ordering = ("-id",)
