"""The receipts, for whoever has to find out what a provider really said."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import FileResponse, HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from conversations.admin.reading import ReadOnly
from webhooks.models import Receipt, Refusal


@admin.register(Receipt)
class ReceiptAdmin(ReadOnly, admin.ModelAdmin):
    """Read only: a receipt is evidence."""

    list_display = ("id", "received_at", "provider", "kind", "result", "verified", "backfilled", "attempts", "error")
    list_display_links = ("id", "received_at")
    list_filter = ("provider", "kind", "result", "verified", "backfilled")
    exclude = ("body",)
    readonly_fields = ("as_it_came",)
    date_hierarchy = "received_at"
    ordering = ("-id",)

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
