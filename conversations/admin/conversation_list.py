"""The list of conversations: who with whom, what was said last, and what wants somebody's attention.

It never counts all rows and asks for each page in a fixed number of queries, whatever is on it.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from conversations.admin.paging import AtLeast, CappedPaginator
from conversations.models import Conversation, Message
from conversations.models.opt_out import REFUSED
from conversations.models.status import NOT_REACHED
from providers.admin_actions import CheckedActions, OfferedList

ROWS = 50
SEARCHED = 500
LEAST_SEARCHED = 3
PHONE_NUMBER = re.compile(r"\+?[0-9][0-9 ().\-/]{4,}")
LONGEST_WORDS = 140


class ConversationChangeList(OfferedList):
    """Adds to each row of a page its newest message, in one query for all."""

    def get_results(self, request: HttpRequest) -> None:
        """Load the page."""
        super().get_results(request)
        rows = list(self.result_list)
        newest = newest_messages(rows)
        for row in rows:
            row.newest = newest.get(row.pk)
        self.result_list = rows

    @property
    def is_capped(self) -> bool:
        """Whether there are more than can be turned over."""
        return isinstance(self.result_count, AtLeast)


def newest_messages(conversations: Iterable[Conversation]) -> dict[Any, Message]:
    """Return the newest message of each of these conversations, by the conversation's id.

    Each knows whether an earlier one of its conversation did not arrive, for another reason than an opt-out.
    """
    newest = Message.objects.filter(conversation=OuterRef("pk")).order_by("-created_at", "-id").values("pk")[:1]
    ids = Conversation.objects.filter(pk__in=[each.pk for each in conversations]).values(newest=newest)
    fields = ("conversation", "direction", "status", "type", "sender", "recipient", "subject", "body", "attachments")
    found = Message.objects.filter(pk__in=ids).only(*fields, "quoted_from", "error_message", "redacted_at")
    earlier = Message.objects.filter(conversation=OuterRef("conversation"), status__in=NOT_REACHED)
    earlier = earlier.exclude(Q(pk=OuterRef("pk")) | Q(error_code=REFUSED))
    return {each.conversation_id: each for each in found.annotate(earlier_failed=Exists(earlier))}


class UnreadFilter(admin.SimpleListFilter):
    """Whether anything in it is unread."""

    title, parameter_name = "unread", "unread"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [("yes", "Unread"), ("no", "Read")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return what was chosen."""
        match self.value():
            case "yes":
                return queryset.filter(unread_count__gt=0)
            case "no":
                return queryset.filter(unread_count=0)
        return queryset


class FailedFilter(admin.SimpleListFilter):
    """Whether a message in it did not arrive."""

    title, parameter_name = "delivery", "failed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [("yes", "A message was not delivered")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return what was chosen."""
        if self.value() != "yes":
            return queryset
        failed = Message.objects.filter(conversation=OuterRef("pk"), status__in=NOT_REACHED)
        return queryset.filter(Exists(failed))


class LastMessageFilter(admin.DateFieldListFilter):
    """How long ago the last message came."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "last message"
        # Without those that ask whether there is a date at all.
        self.links = self.links[:5]


class LaneFilter(admin.SimpleListFilter):
    """What is real, unless tests are asked for."""

    title, parameter_name = "tests", "lane"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices besides what is real."""
        return [("test", "Tests only"), ("all", "Tests as well")]

    def choices(self, changelist: Any) -> Any:
        """Call what stands there without a choice by its name."""
        first, *others = super().choices(changelist)
        return [{**first, "display": "No tests"}, *others]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return what was chosen."""
        return queryset if self.value() == "all" else queryset.filter(test=self.value() == "test")


class ConversationList(CheckedActions):
    """How the list looks, what it can be narrowed to, and how it is searched."""

    list_display = ("who", "said", "unread_badge", "state", "when")
    list_display_links = None
    list_filter = (
        UnreadFilter,
        FailedFilter,
        "channel_type",
        "status",
        ("last_message_at", LastMessageFilter),
        LaneFilter,
    )
    search_fields = ("participant_from", "participant_to", "title")
    search_help_text = "A number, an address, a title, or words of a message: at least three characters."
    ordering = (F("last_message_at").desc(nulls_last=True), "-id")
    actions = ("mark_read", "mark_unread", "archive", "close")
    list_per_page = ROWS
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER

    def get_urls(self) -> list[URLPattern]:
        """Add what an open list asks for."""
        view = self.admin_site.admin_view(self.state_view)
        return [path("state/", view, name="conversations_conversation_state"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Answer the list, with the state that it is in; what a search found stays as it was found."""
        state = "" if SEARCH_VAR in request.GET else state_of_list()
        return super().changelist_view(request, {"state": state, **(extra_context or {})})

    def state_view(self, request: HttpRequest) -> HttpResponse:
        """Answer the state of the list. Raises `PermissionDenied`."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return HttpResponse(state_of_list(), content_type="text/plain", headers={"Cache-Control": "private, no-store"})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return ours."""
        return ConversationChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find a text where the API looks for it, the newest of many; a number however it is written."""
        text = search_term.strip()
        if not text:
            return queryset, False
        if PHONE_NUMBER.fullmatch(text):
            text = re.sub(r"[^0-9+]", "", text)
        if len(text) < LEAST_SEARCHED:
            self.message_user(request, "Search for at least three characters.", "WARNING")
            return queryset.none(), False
        found = Conversation.objects.newest_containing(text, SEARCHED)
        if len(found) >= SEARCHED:
            self.message_user(request, "Many conversations have this: the newest are shown.", "WARNING")
        return queryset.filter(pk__in=found), False

    @admin.display(description="conversation")
    def who(self, conversation: Any) -> SafeString:
        """Show the other side, ours below it, and the channel."""
        newest: Message | None = conversation.newest
        ours = newest.our_address if newest else conversation.participant_from
        sides = [conversation.participant_from, conversation.participant_to]
        theirs = next((each for each in sides if each.casefold() != ours.casefold()), sides[1])
        return rendered("who", conversation=conversation, ours=ours, theirs=theirs)

    @admin.display(description="last message")
    def said(self, conversation: Any) -> SafeString:
        """Show the first words of the newest message, its direction, and whether it failed."""
        newest: Message | None = conversation.newest
        if newest is None:
            return format_html('<span class="quiet">{}</span>', "Nothing yet")
        instead = "Redacted" if newest.redacted_at else "Files" if newest.attachments else "No text"
        words = newest.newly_written[:LONGEST_WORDS].strip() or instead
        return rendered("said", message=newest, words=words, failed=newest.status in NOT_REACHED)

    @admin.display(description="unread", empty_value="")
    def unread_badge(self, conversation: Any) -> SafeString | str:
        """Show how many messages are unread."""
        count = conversation.unread_count
        badge = '<span class="sb-badge" title="{} unread">{}<span class="sb-hidden"> unread</span></span>'
        return format_html(badge, count, count if count < 100 else "99+") if count else ""

    @admin.display(description="status")
    def state(self, conversation: Any) -> SafeString:
        """Show whether it is active, archived or closed."""
        return format_html('<span class="sb-tag sb-{0}">{0}</span>', conversation.status)

    @admin.display(description="when")
    def when(self, conversation: Any) -> SafeString | str:
        """Show how long ago the last message came, and exactly when to whoever points there."""
        at = conversation.last_message_at
        exact = f"{at:%-d %b %Y, %H:%M:%S} UTC" if at else ""
        shown = '<time class="sb-ago" datetime="{}" title="{}">{}</time>'
        return format_html(shown, at.isoformat(), exact, ago(at, timezone.now())) if at else ""


def state_of_list() -> str:
    """Return what changes whenever a message comes or goes, or the newest conversation is changed: one row."""
    newest = Conversation.objects.order_by(F("last_message_at").desc(nulls_last=True), "-id")
    return str(newest.values_list("pk", "updated_at").first())


def rendered(cell: str, **context: Any) -> SafeString:
    """Return a cell of the list."""
    return render_to_string(f"admin/conversations/conversation/cells/{cell}.html", context)


def ago(at: datetime, now: datetime) -> str:
    """Return how long ago something was, in as few words as tell it; a date for what is older than a week."""
    seconds = (now - at).total_seconds()
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {word} ago" if seconds < 7 * 86_400 else f"{at:%-d %b %Y}"
    return "just now"
