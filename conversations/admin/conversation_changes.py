"""What staff do with a conversation: answer, take notes, mark, archive, close, name it, and send a message again.

Each is a POST that the permission for it is asked for, and that is in the conversation's history with who and when.
Without JavaScript it answers with the page again, else with JSON.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST
from rest_framework.exceptions import APIException, ValidationError

from conversations import tasks
from conversations.admin.conversation_page import ConversationPage
from conversations.admin.reply import ReplyForm, preview, reply
from conversations.api.conversations import ConversationChange, OpenConversationExists
from conversations.api.fields import flattened
from conversations.api.messages import NotRetryable
from conversations.models import Conversation, Message, Note, OptOut
from conversations.models.note import MOST_NOTE_CHARACTERS
from conversations.models.opt_out import RECIPIENT_OPTED_OUT
from conversations.models.status import Status
from conversations.models.work_list import may_have_been_sent

View = Callable[..., HttpResponse]
Change = Callable[[], UUID | None]
MOST_AT_ONCE = 500


class NoteForm(forms.Form):
    """A note. `key` is its id, so that it is kept once however often it arrives."""

    key = forms.UUIDField()
    text = forms.CharField(max_length=MOST_NOTE_CHARACTERS)


class ConversationChanges(ConversationPage):
    """Takes what the forms of a thread and the actions of the list post."""

    def get_urls(self) -> list[URLPattern]:
        """Add where the forms post to."""
        doors: dict[str, tuple[str, View]] = {
            "reply": ("<uuid:pk>/reply/", self.reply_view),
            "note": ("<uuid:pk>/note/", self.note_view),
            "update": ("<uuid:pk>/update/", self.update_view),
            "read": ("<uuid:pk>/read/", self.read_view),
            "unread": ("<uuid:pk>/unread/", self.unread_view),
            "retry": ("messages/<uuid:pk>/retry/", self.retry_view),
            "preview": ("preview/", self.preview_view),
        }
        view = self.admin_site.admin_view
        return [
            *(
                path(route, view(door), name=f"conversations_conversation_{name}")
                for name, (route, door) in doors.items()
            ),
            *super().get_urls(),
        ]

    def changeable(self, request: HttpRequest, pk: UUID) -> Conversation:
        """Return a conversation that the user may answer in. Raises `PermissionDenied` or `Http404`."""
        if not self.has_reply_permission(request):
            raise PermissionDenied
        return get_object_or_404(Conversation, pk=pk)

    @method_decorator(require_POST)
    def reply_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Send an answer, once for each form."""
        conversation = self.changeable(request, pk)

        def record(message: Message) -> None:
            count = len(message.attachments)
            files = f" and {count} {'file' if count == 1 else 'files'}" if count else ""
            self.log_change(request, conversation, f"Replied with message {message.pk}{files}.")

        def send() -> UUID:
            if conversation.status == Conversation.Status.CLOSED:
                raise ValidationError("This conversation is closed. Reopen it to reply.")
            form = filled(ReplyForm(request.POST))
            return reply(conversation, form, request, record).conversation_id

        return self.answer(request, pk, send)

    @method_decorator(require_POST)
    def note_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Keep a note, once for each form."""
        conversation = self.changeable(request, pk)

        @transaction.atomic
        def keep() -> UUID:
            form = filled(NoteForm(request.POST))
            note = Note(pk=form["key"], conversation=conversation, author_id=request.user.pk, text=form["text"])
            is_new = not Note.objects.filter(pk=note.pk).exists()
            Note.objects.bulk_create([note], ignore_conflicts=True)
            if is_new:
                self.log_change(request, conversation, "Wrote a note.")
            return pk

        return self.answer(request, pk, keep)

    @method_decorator(require_POST)
    def update_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Change the title or the status, by the rules of the API."""
        conversation = self.changeable(request, pk)

        def change() -> UUID:
            self.update(request, conversation, request.POST.dict())
            return pk

        return self.answer(request, pk, change)

    def update(self, request: HttpRequest, conversation: Conversation, wish: dict[str, Any]) -> None:
        """Change a conversation and record it. Raises the API's errors."""
        body = ConversationChange(data={name: wish[name] for name in ("title", "status") if name in wish})
        body.is_valid(raise_exception=True)
        changes = {name: new for name, new in body.validated_data.items() if getattr(conversation, name) != new}
        if not changes:
            return
        try:
            with transaction.atomic():
                conversation.change(**changes)
                self.log_change(request, conversation, described(changes))
        except IntegrityError:
            raise OpenConversationExists from None

    @method_decorator(require_POST)
    def read_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Let the messages up to the one that was seen be read; all of them where none is named."""
        conversation = self.changeable(request, pk)

        def change() -> UUID:
            self.read(request, conversation, request.POST.get("seen", ""))
            return pk

        return self.answer(request, pk, change)

    @transaction.atomic
    def read(self, request: HttpRequest, conversation: Conversation, seen: str = "") -> None:
        """Mark a conversation as read and record it. Raises `ValidationError` for what is no id."""
        try:
            last_seen = UUID(seen) if seen else None
        except ValueError:
            raise ValidationError("There is no such message.") from None
        if conversation.mark_read(last_seen):
            self.log_change(request, conversation, "Read.")

    @method_decorator(require_POST)
    def unread_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Let the conversation stand out again until somebody reads it."""
        conversation = self.changeable(request, pk)
        return self.answer(request, pk, lambda: self.unread(request, conversation))

    @transaction.atomic
    def unread(self, request: HttpRequest, conversation: Conversation) -> None:
        """Mark a conversation as unread and record it."""
        if conversation.mark_unread():
            self.log_change(request, conversation, "Marked as unread.")

    @method_decorator(require_POST)
    def retry_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Queue a message again that did not arrive; what may have arrived only if the user says that this is known.

        To who has opted out since, nothing: it would only fail once more.
        """
        if not self.has_resend_permission(request):
            raise PermissionDenied
        message = get_object_or_404(Message.objects.select_related("conversation"), pk=pk)

        def again() -> UUID:
            if OptOut.objects.against(message).exists():
                raise ValidationError(f"{RECIPIENT_OPTED_OUT} It is not sent again.")
            doubted = may_have_been_sent(Message.objects.filter(pk=pk)).exists()
            if (doubted or message.status == Status.UNRESOLVED) and "sure" not in request.POST:
                raise ValidationError("It may have arrived. Tick the box if it may arrive a second time.")
            self.resend(request, message)
            return message.conversation_id

        return self.answer(request, message.conversation_id, again)

    def resend(self, request: HttpRequest, message: Message) -> None:
        """Queue a message again, record it, and ring. Raises `NotRetryable`."""
        with transaction.atomic():
            queued = Message.objects.retry(message.pk, request.user.get_username())
            if queued is None:
                raise NotRetryable(message)
            self.log_change(request, message.conversation, f"Sent message {message.pk} again.")
        tasks.ring(queued)

    @method_decorator(require_POST)
    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Answer how a text would be sent: its segments, and which characters make them shorter."""
        if not self.has_reply_permission(request):
            raise PermissionDenied
        return JsonResponse(preview(request.POST.get("body", "")))

    def answer(self, request: HttpRequest, pk: UUID | None, change: Change) -> HttpResponse:
        """Do it, and answer with the errors and where to go next: to the conversation that it returns, or the list.

        Where it fails, to the conversation `pk`.
        """
        status, errors = 200, []
        try:
            pk = change()
        except APIException as error:
            status, errors = error.status_code, sentences(error)
        page = "change" if pk else "changelist"
        url = reverse(f"admin:conversations_conversation_{page}", args=[pk] if pk else [])
        if request.headers.get("Accept") == "application/json":
            return JsonResponse({"errors": errors, "url": url}, status=status)
        for sentence in errors:
            messages.error(request, sentence)
        return HttpResponseRedirect(url)

    @admin.action(description="Mark as read", permissions=["reply"])
    def mark_read(self, request: HttpRequest, chosen: QuerySet[Conversation]) -> None:
        """Mark the chosen ones as read."""
        self.each(request, chosen, lambda each: self.read(request, each))

    @admin.action(description="Mark as unread", permissions=["reply"])
    def mark_unread(self, request: HttpRequest, chosen: QuerySet[Conversation]) -> None:
        """Mark the chosen ones as unread."""
        self.each(request, chosen, lambda each: self.unread(request, each))

    @admin.action(description="Archive", permissions=["reply"])
    def archive(self, request: HttpRequest, chosen: QuerySet[Conversation]) -> None:
        """Archive the chosen ones; a new message brings one back."""
        self.each(request, chosen, lambda each: self.update(request, each, {"status": Conversation.Status.ARCHIVED}))

    @admin.action(description="Close", permissions=["reply"])
    def close(self, request: HttpRequest, chosen: QuerySet[Conversation]) -> None:
        """Close the chosen ones; the next message opens a new one."""
        self.each(request, chosen, lambda each: self.update(request, each, {"status": Conversation.Status.CLOSED}))

    def each(
        self, request: HttpRequest, chosen: QuerySet[Conversation], change: Callable[[Conversation], None]
    ) -> None:
        """Do it to each, and say to how many, and to which not and why."""
        count = 0
        if chosen[MOST_AT_ONCE : MOST_AT_ONCE + 1].exists():
            messages.error(request, f"Choose at most {MOST_AT_ONCE:,} at once.")
            return
        for conversation in chosen:
            try:
                change(conversation)
                count += 1
            except APIException as error:
                messages.error(request, f"{conversation}: {' '.join(sentences(error))}")
        messages.success(request, f"{count} {'conversation' if count == 1 else 'conversations'} changed.")


def filled(form: forms.Form) -> dict[str, Any]:
    """Return the values of a form. Raises `ValidationError` with its sentences."""
    if not form.is_valid():
        raise ValidationError([str(each) for errors in form.errors.values() for each in errors])
    return dict(form.cleaned_data)


def sentences(error: APIException) -> list[str]:
    """Return what an error of the API says, for people."""
    return [each["msg"] for each in flattened(error.detail, ())]


def described(changes: dict[str, Any]) -> str:
    """Return a sentence on a change."""
    words = {
        Conversation.Status.ACTIVE: "Opened.",
        Conversation.Status.ARCHIVED: "Archived.",
        Conversation.Status.CLOSED: "Closed.",
    }
    return " ".join(
        [*(["Title changed."] if "title" in changes else []), words.get(changes.get("status", ""), "")]
    ).strip()
