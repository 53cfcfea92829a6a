"""Messages in the admin."""

from django.contrib import admin

from conversations.admin.reading import ReadOnly
from conversations.models import Message, MessageEvent


class EventInline(ReadOnly, admin.TabularInline):
    """The timeline of a message."""

    model = MessageEvent
    fields = ("at", "status", "evidence", "attempt", "code", "detail")


@admin.register(Message)
class MessageAdmin(ReadOnly, admin.ModelAdmin):
    """What was sent, and what became of it."""

    list_display = ("created_at", "type", "sender", "recipient", "status", "attempts", "error_code", "provider")
    list_filter = ("status", "type", "direction", "provider")
    search_fields = ("sender", "recipient", "provider_message_id")
    ordering = ("-created_at", "-id")
    readonly_fields = ("conversation", "created_at", "updated_at")
    inlines = (EventInline,)
