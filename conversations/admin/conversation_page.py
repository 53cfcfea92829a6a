"""The page on which staff read a conversation, and what it asks for while it is open."""

from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.http import quote_etag

from conversations.admin.files import most_bytes
from conversations.admin.mail import html_page
from conversations.admin.reply import subject_of_reply
from conversations.admin.thread import Sides, Thread, opt_out_between, state_of
from conversations.api.fields import MAX_TEXT_CHARACTERS
from conversations.api.paging import InvalidQuery
from conversations.api.send import MAX_ATTACHMENTS
from conversations.models import Conversation, Message
from conversations.models.note import MOST_NOTE_CHARACTERS

MOST_OTHERS = 5


class ConversationPage(admin.ModelAdmin):
    """Shows a thread; nothing here changes anything."""

    def get_urls(self) -> list[URLPattern]:
        """Add what the page asks for."""
        view = self.admin_site.admin_view
        return [
            path("<uuid:pk>/news/", view(self.news_view), name="conversations_conversation_news"),
            path("messages/<uuid:pk>/timeline/", view(self.timeline_view), name="conversations_message_timeline"),
            path("messages/<uuid:pk>/mail/", view(self.mail_view), name="conversations_message_mail"),
            *super().get_urls(),
        ]

    def seen(self, request: HttpRequest, pk: Any) -> Conversation:
        """Return a conversation that the user may look at. Raises `PermissionDenied` or `Http404`."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(Conversation, pk=pk)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Answer the page; with `?before=` of a cursor the part of the thread that stands above it.

        Raises `PermissionDenied` for a form: nothing is changed here.
        """
        if request.method == "POST":
            raise PermissionDenied
        try:
            conversation = self.seen(request, UUID(object_id))
            context = self.context_of(request, conversation, request.GET.get("before", ""))
        except (ValueError, InvalidQuery):
            raise Http404 from None
        context |= self.admin_site.each_context(request) | {"opts": self.opts, "title": str(conversation)}
        return TemplateResponse(request, "admin/conversations/conversation/thread.html", context)

    def context_of(self, request: HttpRequest, conversation: Conversation, cursor: str = "") -> dict[str, Any]:
        """Return what the templates of a thread know."""
        sides = Sides.of(conversation)
        return {
            "conversation": conversation,
            "sides": sides,
            "thread": Thread(conversation, cursor),
            "opt_out": opt_out_between(conversation, sides),
            "others": others_between(conversation),
            "may_reply": self.has_reply_permission(request),
            "may_resend": self.has_resend_permission(request),
            "is_email": conversation.channel_type == Conversation.ChannelType.EMAIL,
            "is_closed": conversation.status == Conversation.Status.CLOSED,
            "key": uuid4(),
            "subject": subject_of_reply(sides.newest),
            "state": state_of(conversation),
            "most_characters": MAX_TEXT_CHARACTERS,
            "most_note_characters": MOST_NOTE_CHARACTERS,
            "most_files": MAX_ATTACHMENTS,
            "most_bytes": most_bytes(conversation),
            "link_days": settings.MEDIA_LINK_DAYS,
        }

    def news_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Answer the head and the newest messages as the page has them; 304 to whoever has them, by their ETag."""
        conversation = self.seen(request, pk)
        etag = quote_etag(state_of(conversation))
        if request.headers.get("If-None-Match") == etag:
            return HttpResponseNotModified()
        context = self.context_of(request, conversation)
        answer = TemplateResponse(request, "admin/conversations/conversation/news.html", context)
        return with_headers(answer, ETag=etag)

    def timeline_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Answer what became known of a message, when, and on whose word."""
        message = self.seen_message(request, pk)
        context = {"message": message, "events": message.events.order_by("id")}
        return with_headers(TemplateResponse(request, "admin/conversations/conversation/timeline.html", context))

    def mail_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Answer the HTML of a mail, cleaned, as a page of its own."""
        return html_page(self.seen_message(request, pk))

    def seen_message(self, request: HttpRequest, pk: UUID) -> Message:
        """Return a message that the user may look at. Raises `PermissionDenied` or `Http404`."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(Message, pk=pk)

    def has_reply_permission(self, request: HttpRequest) -> bool:
        """Say whether the user may answer, take notes, mark, archive and close."""
        return self.has_view_permission(request) and request.user.has_perm("conversations.reply_conversation")

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """Say whether the user may send a message again."""
        return self.has_view_permission(request) and request.user.has_perm("conversations.resend_message")


def others_between(conversation: Conversation) -> list[Conversation]:
    """Return the newest other conversations of the same two."""
    pair = [conversation.participant_from, conversation.participant_to]
    others = Conversation.objects.filter(
        participant_from__in=pair, participant_to__in=pair, channel_type=conversation.channel_type
    )
    others = others.filter(test=conversation.test).exclude(pk=conversation.pk)
    return list(others.order_by("-last_message_at")[:MOST_OTHERS])


def with_headers(answer: HttpResponse, **headers: str) -> HttpResponse:
    """Return an answer that no cache keeps."""
    for name, value in {"Cache-Control": "private, no-store", **headers}.items():
        answer[name] = value
    return answer
