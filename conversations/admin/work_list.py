"""What somebody has to look after: messages that did not arrive, and those that are still to be sent."""

from collections import Counter
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from conversations import tasks
from conversations.admin.message import LONG_AND_NOT_LISTED, MessageColumns, between
from conversations.admin.paging import CappedPaginator
from conversations.admin.reading import ReadOnly
from conversations.models import Message, NotReached, OptOut, Scheduled
from conversations.models.intervention import RETRYABLE
from conversations.models.opt_out import REFUSED
from conversations.models.status import Status
from conversations.models.work_list import may_have_been_sent
from providers.admin_actions import is_confirmed
from providers.admin_filters import AccountFilter, KnownValuesFilter

OPTED_OUT = "opted out"
IN_WORDS = {
    Status.UNRESOLVED: "Nobody knows whether it was sent: the provider could not be asked, or did not know.",
    Status.EXPIRED: "It could not be sent while it was of use.",
    Status.FAILED: "It was refused.",
    Status.UNDELIVERED: "The provider took it and could not deliver it.",
}
"""The reason, where a message carries none."""


class WorkListAdmin(MessageColumns, ReadOnly, admin.ModelAdmin):
    """A list of messages with a link to the thread of each. Its permissions are those of its own list."""

    search_fields = ("sender", "recipient")
    # A message's page is that of all messages, whichever list it is on: it may have left this one by then.
    list_display_links = None
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find messages by who writes with whom."""
        text = search_term.strip()
        return queryset.filter(between(text)) if text else queryset, False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Leave out what can be long and no list shows."""
        return super().get_queryset(request).defer(*LONG_AND_NOT_LISTED)

    @admin.display(description="channel", ordering="type")
    def channel(self, message: Message) -> str:
        """Return what it is sent on."""
        return {"sms": "SMS", "mms": "MMS", "email": "Email"}[message.type]

    def report(self, request: HttpRequest, done: str, count: int, left: Counter[str]) -> None:
        """Tell how many it was done to, and why others were left."""
        if count:
            messages.success(request, f"{done}: {count}.")
        for reason, number in left.most_common():
            messages.warning(request, f"Left as they are: {number}, {reason}.")


class EndFilter(KnownValuesFilter):
    """Narrows those that did not arrive to one way of that; who has opted out was not missed but refused."""

    title = parameter_name = "status"
    known = [*sorted(RETRYABLE), OPTED_OUT]

    def queryset(self, request: HttpRequest, queryset: QuerySet[NotReached]) -> QuerySet[NotReached]:
        """Return those that ended in the chosen way."""
        if self.value() == OPTED_OUT:
            return queryset.filter(error_code=REFUSED)
        return super().queryset(request, queryset).exclude(error_code=REFUSED) if self.value() else queryset


@admin.register(NotReached)
class NotReachedAdmin(WorkListAdmin):
    """Who was not reached, why, and another try."""

    list_display = ("updated_at", "channel", "people", "text", "end", "reason")
    list_filter = (EndFilter, "type", AccountFilter)
    ordering = ("-updated_at", "-id")
    actions = ("send_again",)

    @admin.display(description="status", ordering="status")
    def end(self, message: Message) -> str:
        """Return how it ended."""
        return OPTED_OUT if message.error_code == REFUSED else message.status

    @admin.display(description="reason")
    def reason(self, message: Message) -> str:
        """Return in words why it did not arrive, with the provider's code for it."""
        words = message.error_message or IN_WORDS[Status(message.status)]
        return f"{words} ({message.error_code})" if message.error_code not in ("", REFUSED) else words

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """Whoever may send messages again."""
        return request.user.has_perm("conversations.resend_message")

    @admin.action(description="Send again", permissions=["resend"])
    def send_again(self, request: HttpRequest, rows: QuerySet[NotReached]) -> HttpResponse | None:
        """Queue the chosen ones once more; ask first where one of them may have been sent."""
        doubted = may_have_been_sent(rows.order_by()).count()
        if doubted and not is_confirmed(request):
            number = "One of them" if doubted == 1 else f"{doubted} of them"
            return self.ask(
                request,
                rows,
                "send_again",
                title="Send again?",
                warning=f"{number} may have been sent already: an attempt ended without an answer from the provider."
                " Whoever got it then gets it twice.",
                yes=f"Send {rows.count()} again",
            )
        outcomes = [self.again(request, pk) for pk in list(rows.values_list("pk", flat=True))]
        left = Counter(filter(None, outcomes))
        self.report(request, "Queued again", len(outcomes) - left.total(), left)
        return None

    @transaction.atomic
    def again(self, request: HttpRequest, pk: UUID) -> str:
        """Queue one message once more and write down who did; return why not, or nothing."""
        message = Message.objects.filter(pk=pk).first()
        if message is None:
            return "as they are gone by now"
        if message.redacted_at is not None:
            return "as their text and addresses were redacted"
        if OptOut.objects.against(message).exists():
            return "as their recipient has opted out"
        queued = Message.objects.retry(message.pk, request.user.get_username())
        if queued is None:
            status = Message.objects.filter(pk=pk).values_list("status", flat=True).first()
            return f"as they are {status or 'gone'} by now"
        self.log_change(request, queued, "Sent again.")
        tasks.ring(queued)
        return ""


@admin.register(Scheduled)
class ScheduledAdmin(WorkListAdmin):
    """What is to be sent when, and the way to stop it."""

    list_display = ("send_at", "channel", "people", "text", "created_at")
    list_filter = ("type", AccountFilter)
    ordering = ("send_at", "id")
    actions = ("cancel",)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whoever may cancel scheduled messages."""
        return request.user.has_perm("conversations.cancel_scheduled")

    @admin.action(description="Cancel: they are not sent", permissions=["cancel"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Scheduled]) -> None:
        """Stop the chosen ones, unless a worker has them by now."""
        outcomes = [self.cancel_one(request, pk) for pk in list(rows.values_list("pk", flat=True))]
        left = Counter(filter(None, outcomes))
        self.report(request, "Canceled", len(outcomes) - left.total(), left)

    @transaction.atomic
    def cancel_one(self, request: HttpRequest, pk: UUID) -> str:
        """Cancel one message and write down who did; return why not, or nothing."""
        message = Message.objects.cancel(pk, request.user.get_username())
        if message is None:
            return "as a worker has them by now"
        self.log_change(request, message, "Canceled.")
        return ""
