"""Conversations in the admin."""

from django.contrib import admin

from conversations.admin.reading import ReadOnly, ReadOnlyRows
from conversations.models import Conversation, Message


class MessageInline(ReadOnlyRows, admin.TabularInline):
    """The messages of a conversation, as they were accepted."""

    model = Message
    fields = ("created_at", "direction", "type", "sender", "recipient", "body", "status", "error_message")
    ordering = ("created_at", "id")
    show_change_link = True


@admin.register(Conversation)
class ConversationAdmin(ReadOnly, admin.ModelAdmin):
    """Who writes with whom."""

    list_display = (
        "participant_from",
        "participant_to",
        "channel_type",
        "status",
        "message_count",
        "unread_count",
        "last_message_at",
    )
    list_filter = ("channel_type", "status", "type", "test")
    search_fields = ("participant_from", "participant_to", "title")
    ordering = ("-last_message_at",)
    exclude = ("participants_key",)
    readonly_fields = ("last_message_at", "message_count", "unread_count")
    inlines = (MessageInline,)
