"""Messages over HTTP: read, list, change, and what is done to them by hand."""

from typing import Any, ClassVar, cast

from django.conf import settings
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations import tasks
from conversations.addresses import InvalidAddress, normalise_email, normalise_phone_sender
from conversations.api.fields import (
    Choice,
    Metadata,
    Moment,
    Shape,
    Text,
    check_ahead,
    check_body,
    is_blank,
)
from conversations.api.paging import InvalidQuery, Page, choice, identifier, moment
from conversations.models import Message, MessageEvent
from conversations.models.client import Scope
from conversations.models.intervention import RETRYABLE, TOLD_BY_HAND
from conversations.models.status import Status


def represent(message: Message) -> dict[str, Any]:
    """Return a message as the API shows it; `subject` and `html` belong to email alone."""
    shown: dict[str, Any] = {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "parent_id": message.parent_id,
        "provider": message.provider,
        "provider_message_id": message.provider_message_id or None,
        "direction": message.direction,
        "status": message.status,
        "type": message.type,
        "from": message.sender,
        "to": message.recipient,
        "subject": message.subject,
        "body": message.body,
        "html": message.html,
        "attachments": [absolute(each) for each in message.attachments],
        "segments": message.segments,
        "attempts": message.attempts,
        "next_attempt_at": message.next_attempt_at,
        "send_at": message.send_at,
        "expires_at": message.expires_at,
        "sent_at": message.sent_at,
        "delivered_at": message.delivered_at,
        "failed_at": message.failed_at,
        "error_code": message.error_code or None,
        "error_message": message.error_message or None,
        "created_at": message.created_at,
        "updated_at": message.updated_at,
        "metadata": message.metadata,
    }
    if message.type != Message.Type.EMAIL:
        del shown["subject"], shown["html"]
    return shown


def absolute(attachment: str) -> str:
    """Return the URL of an attachment; what came in is served by us."""
    return f"{settings.PUBLIC_URL}{attachment}" if attachment.startswith("/") else attachment


class NotPending(APIException):
    """The message is past the state in which it could be changed."""

    status_code = 409
    default_code = "not_pending"

    def __init__(self, message: Message) -> None:
        if message.redacted_at is not None:
            super().__init__(redacted(message), "redacted")
        else:
            super().__init__(f"The message is {message.status}; only one that no worker has can be changed.")


class NotRetryable(APIException):
    """Nothing went wrong with the message, or nobody knows yet."""

    status_code = 400
    default_code = "not_retryable"

    def __init__(self, message: Message) -> None:
        words = ", ".join(sorted(RETRYABLE))
        if message.redacted_at is not None:
            super().__init__(redacted(message), "redacted")
        else:
            super().__init__(f"The message is {message.status}; one that is {words} can be sent again.")


def redacted(message: Message) -> str:
    """Return why nothing can be done with a message that was redacted."""
    return f"The message was redacted on {message.redacted_at:%Y-%m-%d}: its text and its addresses are not kept."


class ChangeRequest(Shape):
    """The body of a change. Without `send_at` the time stays; null sends now."""

    body = Text(required=False, allow_blank=True)
    send_at = Moment(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check the changes against the message that they are for."""
        message: Message = self.context["message"]
        if "body" in attrs:
            check_body(message.type, attrs["body"], has_more=bool(message.attachments) or not is_blank(message.html))
        check_ahead("send_at", attrs.get("send_at"))
        return attrs


class StatusRequest(Shape):
    """The body of a status set by hand."""

    status = Choice(sorted(TOLD_BY_HAND))
    metadata = Metadata(required=False)


class MessageView(APIView):
    """One message."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ, "PATCH": Scope.MESSAGES_SEND}

    def get(self, request: Request, message_id: Any) -> Response:
        """Answer the message as it stands."""
        return Response(represent(visible(request, message_id)))

    def patch(self, request: Request, message_id: Any) -> Response:
        """Change the body or the time of a message that waits. Raises `NotPending`."""
        message = changeable(request, message_id)
        body = ChangeRequest(data=request.data, context={"message": message})
        body.is_valid(raise_exception=True)
        changed = Message.objects.change(message.pk, name_of(request), body.validated_data)
        if changed is None:
            raise NotPending(visible(request, message_id))
        return queued(changed)


class MessageStatusView(APIView):
    """What somebody says became of a message."""

    scopes: ClassVar[dict[str, Scope]] = {"PATCH": Scope.MESSAGES_SEND}

    def patch(self, request: Request, message_id: Any) -> Response:
        """Set the status by hand. Raises `NotPending` while a worker has the message."""
        body = StatusRequest(data=request.data)
        body.is_valid(raise_exception=True)
        message = changeable(request, message_id)
        status, metadata = Status(body.validated_data["status"]), body.validated_data.get("metadata")
        told = Message.objects.tell(message.pk, name_of(request), status, metadata)
        if told is None:
            raise NotPending(visible(request, message_id))
        return Response(represent(told))


class MessageRetryView(APIView):
    """Another try for a message that did not arrive."""

    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.MESSAGES_SEND}

    def post(self, request: Request, message_id: Any) -> Response:
        """Queue it again. Raises `NotRetryable`."""
        message = changeable(request, message_id)
        again = Message.objects.retry(message.pk, name_of(request))
        if again is None:
            raise NotRetryable(visible(request, message_id))
        return queued(again)


class MessageCancelView(APIView):
    """The end of a message that waits."""

    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.MESSAGES_SEND}

    def post(self, request: Request, message_id: Any) -> Response:
        """Cancel it, also a second time. Raises `NotPending`."""
        message = changeable(request, message_id)
        canceled = Message.objects.cancel(message.pk, name_of(request))
        if canceled is None:
            raise NotPending(visible(request, message_id))
        return Response(represent(canceled))


class MessageEventsView(APIView):
    """The timeline of a message."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ}

    def get(self, request: Request, message_id: Any) -> Response:
        """Answer what became known of it, in that order."""
        events = visible(request, message_id).events.order_by("id")
        return Response({"events": [represent_event(event) for event in events]})


def visible(request: Request, message_id: Any) -> Message:
    """Return a message that the client sees. Raises `Http404`."""
    return get_object_or_404(Message.objects.visible_to(request.user), pk=message_id)


def changeable(request: Request, message_id: Any) -> Message:
    """Return a message that the client may change. Raises `Http404`, `PermissionDenied` for what was written to it."""
    message = visible(request, message_id)
    is_sent = message.direction == Message.Direction.OUTBOUND
    if is_sent and not cast(Any, request.user).may_send_from(message.sender):
        raise PermissionDenied("Another client sends this message; it can be read here.", code="foreign_sender")
    return message


def name_of(request: Request) -> str:
    """Return the client's name, for timelines."""
    return str(cast(Any, request.user).name)


def queued(message: Message) -> Response:
    """Answer a message that waits; where its time has come somebody is rung for it."""
    if message.next_attempt_at is not None and message.next_attempt_at <= timezone.now():
        tasks.ring(message)
    return Response(represent(message))


def represent_event(event: MessageEvent) -> dict[str, Any]:
    """Return one line of a timeline as the API shows it."""
    return {
        "at": event.at,
        "status": event.status,
        "evidence": event.evidence,
        "attempt": event.attempt,
        "code": event.code or None,
        "detail": event.detail,
    }


def message_list(request: Request, messages: QuerySet[Message]) -> Response:
    """Answer the page of these messages that the query string asks for. Raises `InvalidQuery`."""
    query = request.query_params
    page = Page.of(query)
    return Response(page.show("messages", messages.filter(**filters(query)), "created_at", represent))


def filters(query: Any) -> dict[str, Any]:
    """Return the filters that a query string asks for. Raises `InvalidQuery`."""
    return {
        **identifier(query, "conversation_id"),
        **identifier(query, "parent_id"),
        **choice(query, "status", Status.values),
        **choice(query, "direction", Message.Direction.values),
        **choice(query, "type", Message.Type.values),
        **address(query, "from", "sender"),
        **address(query, "to", "recipient"),
        **moment(query, "created_after", "created_at__gt"),
        **moment(query, "created_before", "created_at__lt"),
    }


def address(query: Any, name: str, field: str) -> dict[str, Any]:
    """Return a filter for an address, normalised as messages keep it. Raises `InvalidQuery`."""
    value = query.get(name)
    if value is None:
        return {}
    try:
        if "@" in value:
            return {field: normalise_email(value)}
        # A "+" that nobody escaped in a query string arrives as a space.
        plus_restored = f"+{value[1:]}" if value.startswith(" ") else value
        return {field: normalise_phone_sender(plus_restored, settings.DEFAULT_PHONE_REGION)}
    except InvalidAddress as error:
        raise InvalidQuery({name: [str(error)]}, code=error.code) from None
