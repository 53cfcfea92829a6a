"""Messages in the admin."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from conversations.admin.filters import AccountFilter
from conversations.admin.paging import CappedPaginator
from conversations.admin.reading import ReadOnly, ReadOnlyRows
from conversations.models import Media, Message, MessageEvent

LONG_AND_NOT_LISTED = ("html", "metadata", "attachments", "reference_headers")


class EventInline(ReadOnlyRows, admin.TabularInline):
    """The timeline of a message."""

    model = MessageEvent
    fields = ("at", "status", "evidence", "attempt", "code", "detail")


class MediaInline(ReadOnlyRows, admin.TabularInline):
    """The files that came with a message."""

    model = Media
    fields = ("filename", "content_type", "size", "status", "error", "shown")
    readonly_fields = fields

    @admin.display(description="open")
    def shown(self, media: Media) -> str:
        """Return a link to the file, if it is to be had."""
        if media.status != Media.Status.STORED:
            return "–"
        return format_html('<a href="{}">open</a>', media.get_absolute_url())


@admin.register(Message)
class MessageAdmin(ReadOnly, admin.ModelAdmin):
    """What was sent, and what became of it."""

    list_display = ("created_at", "type", "sender", "recipient", "status", "attempts", "error_code", "provider")
    list_filter = ("status", "type", "direction", AccountFilter, "test")
    search_fields = ("sender", "recipient", "provider_message_id")
    ordering = ("-created_at", "-id")
    readonly_fields = ("conversation", "created_at", "updated_at", "redacted_at")
    inlines = (MediaInline, EventInline)
    paginator = CappedPaginator
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Leave out what can be long and no list shows; the page of one message fetches it."""
        return super().get_queryset(request).defer(*LONG_AND_NOT_LISTED)
