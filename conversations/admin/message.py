"""Messages in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import F, Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from conversations.admin.filters import AccountFilter
from conversations.admin.paging import CappedPaginator
from conversations.admin.reading import ReadOnly, ReadOnlyRows
from conversations.models import Conversation, Media, Message, MessageEvent
from conversations.models.conversation import any_contains
from providers import routes

FIRST = "conversation"
SEARCHED = 500
LONG_AND_NOT_LISTED = ("html", "metadata", "attachments", "reference_headers")


def between(text: str) -> Q:
    """Return a filter for messages in conversations whose addresses have a text, the newest of many such.

    Conversations are asked, as they have an index for it: to look into every message would take seconds.
    """
    people = Conversation.objects.filter(any_contains(("participant_from", "participant_to"), text))
    newest = people.order_by(F("last_message_at").desc(nulls_last=True), "-id")[:SEARCHED]
    return Q(conversation__in=list(newest.values_list("pk", flat=True)))


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
    search_help_text = "A number or an address, or part of one; or the whole id that the provider has for it"
    ordering = ("-created_at", "-id")
    readonly_fields = ("conversation", "created_at", "updated_at", "redacted_at")
    inlines = (MediaInline, EventInline)
    paginator = CappedPaginator
    show_full_result_count = False

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Begin with the way to the thread, and leave out what was not asked for either."""
        names = super().get_fields(request, obj)
        return sorted((name for name in names if getattr(obj, name, None) is not False), key=lambda name: name != FIRST)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find messages by who writes with whom, or by the provider's id: indexes know both."""
        text = search_term.strip()
        if not text:
            return queryset, False
        is_meant = Q(provider__in=routes.account_names(), provider_message_id=text)
        return queryset.filter(between(text) | is_meant), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Leave out what can be long and no list shows; the page of one message fetches it."""
        return super().get_queryset(request).defer(*LONG_AND_NOT_LISTED)
