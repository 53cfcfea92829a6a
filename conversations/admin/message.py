"""Messages in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import F, Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator

from conversations.admin.paging import CappedPaginator
from conversations.admin.reading import ReadOnly, ReadOnlyRows
from conversations.models import Conversation, Media, Message, MessageEvent
from conversations.models.conversation import any_contains
from conversations.templatetags.addresses import breakable
from providers import routes
from providers.admin_filters import AccountFilter

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


class MessageColumns:
    """What lists of messages say of each."""

    @admin.display(description="to, from", ordering="recipient")
    def people(self, message: Message) -> str:
        """Return whom it is for, with a link to their thread, and whom it is from."""
        url = reverse("admin:conversations_conversation_change", args=[message.conversation_id])
        words = '<a href="{}" title="Open the conversation">{}</a><br><span class="quiet">from {}</span>'
        return format_html(words, url, breakable(message.recipient), breakable(message.sender))

    @admin.display(description="message")
    def text(self, message: Message) -> str:
        """Return the first words, with a link to all that is known of it."""
        words = message.subject or message.body or ("(redacted)" if message.redacted_at else "(no text)")
        url = reverse("admin:conversations_message_change", args=[message.pk])
        return format_html('<a href="{}" title="Open the message">{}</a>', url, Truncator(words).chars(60))


@admin.register(Message)
class MessageAdmin(MessageColumns, ReadOnly, admin.ModelAdmin):
    """What was sent, and what became of it."""

    list_display = ("created_at", "type", "people", "text", "status", "error_code", "provider")
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
