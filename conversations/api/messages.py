"""Messages over HTTP: send, read, list."""

import logging
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations import delivery, tasks
from conversations.addresses import (
    InvalidAddress,
    normalise_email,
    normalise_phone,
    normalise_phone_sender,
)
from conversations.api import idempotency
from conversations.api.fields import Attachment, Choice, Flag, Line, Metadata, Moment, Text, is_blank
from conversations.api.paging import InvalidQuery, Page, choice, identifier, moment
from conversations.models import Conversation, Message
from conversations.models.client import Scope
from conversations.models.message import key_of
from conversations.models.status import Status
from providers import routes

logger = logging.getLogger(__name__)

MAX_TEXT_CHARACTERS = 1600
MAX_ATTACHMENTS = 10
LONGEST_SCHEDULE = timedelta(days=366)
EMAIL_ONLY = {"subject": "a subject", "html": "HTML", "unsubscribe": "an unsubscribe link"}


class Shape(serializers.Serializer[Any]):
    """A request body: fields that are not declared are refused, except those it says to ignore."""

    ignored: tuple[str, ...] = ()

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated values. Raises a validation error that names every unknown field."""
        if not isinstance(data, dict):
            raise serializers.ValidationError({"non_field_errors": ["Give a JSON object."]}, code="not_an_object")
        unknown = data.keys() - self.fields.keys() - set(self.ignored)
        if unknown:
            errors = {name: ["There is no such field."] for name in sorted(unknown)}
            raise serializers.ValidationError(errors, code="unknown_field")
        return super().to_internal_value(data)


class SendRequest(Shape):
    """The body of a send. What it validates to are the values of a `Message`, and `conversation_type`."""

    ignored = ("timestamp",)

    to = Line(max_length=254, source="recipient")
    type = Choice(Message.Type.values)
    body = Text(required=False, allow_blank=True, default="")
    html = Text(required=False, allow_blank=True, default="")
    subject = Line(required=False, allow_blank=True, max_length=998, default="")
    attachments = serializers.ListField(child=Attachment(), required=False, max_length=MAX_ATTACHMENTS, default=list)
    metadata = Metadata(required=False, default=dict)
    parent_id = serializers.UUIDField(required=False, allow_null=True, default=None)
    conversation_type = Choice(Conversation.Type.values, required=False, default=Conversation.Type.DIRECT)
    send_at = Moment(required=False, allow_null=True, default=None)
    expires_at = Moment(required=False, allow_null=True, default=None)
    on_unresolved = Choice(Message.OnUnresolved.values, required=False, default="")
    unsubscribe = Flag(required=False, default=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Return the fields, with `from`, which Python can't declare by that name, in front."""
        return {"from": Line(max_length=254, source="sender"), **super().get_fields()}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check what takes more than one field to see."""
        if attrs["type"] == Message.Type.SMS and attrs["attachments"]:
            attrs["type"] = Message.Type.MMS
        self._check_content(attrs)
        self._check_times(attrs)
        attrs["sender"], attrs["recipient"] = self._normalised(attrs)
        attrs["parent"] = self._parent(attrs.pop("parent_id"), attrs)
        return attrs

    def _check_content(self, attrs: dict[str, Any]) -> None:
        if attrs["type"] != Message.Type.EMAIL:
            for name, thing in EMAIL_ONLY.items():
                if attrs[name]:
                    raise refusal(name, "only_for_email", f"Only an email has {thing}.")
            if len(attrs["body"]) > MAX_TEXT_CHARACTERS:
                raise refusal("body", "too_long", f"A text has at most {MAX_TEXT_CHARACTERS:,} characters.")
        if is_blank(attrs["body"]) and is_blank(attrs["html"]) and not attrs["attachments"]:
            raise refusal("body", "empty_message", "Give a body or attachments.")

    def _check_times(self, attrs: dict[str, Any]) -> None:
        now, send_at, expires_at = timezone.now(), attrs["send_at"], attrs["expires_at"]
        for name in ("send_at", "expires_at"):
            if attrs[name] and attrs[name] > now + LONGEST_SCHEDULE:
                raise refusal(name, "too_far_ahead", "Give a time within a year from now.")
        if expires_at and expires_at <= max(now, send_at or now):
            raise refusal("expires_at", "expires_too_soon", "Give a time later than now and than send_at.")

    def _normalised(self, attrs: dict[str, Any]) -> tuple[str, str]:
        region = settings.DEFAULT_PHONE_REGION
        errors: dict[str, list[serializers.ErrorDetail]] = {}
        normalised = []
        for name, key in (("from", "sender"), ("to", "recipient")):
            try:
                if attrs["type"] == Message.Type.EMAIL:
                    normalised.append(normalise_email(attrs[key]))
                elif name == "from":
                    normalised.append(normalise_phone_sender(attrs[key], region))
                else:
                    normalised.append(normalise_phone(attrs[key], region))
            except InvalidAddress as error:
                errors[name] = [serializers.ErrorDetail(str(error), error.code)]
        if errors:
            raise serializers.ValidationError(errors)
        sender, recipient = normalised
        if not self.context["client"].may_send_from(sender):
            raise refusal("from", "foreign_sender", "This client does not send from this address.")
        return sender, recipient

    def _parent(self, parent_id: Any, attrs: dict[str, Any]) -> Message | None:
        if parent_id is None:
            return None
        visible = Message.objects.visible_to(self.context["client"])
        parent = visible.filter(pk=parent_id).select_related("conversation").first()
        if parent is None:
            raise refusal("parent_id", "unknown_parent", "There is no message with this id.")
        # An answer may have come from an address that is not the conversation's, to the plus-address of a mail.
        between = {parent.conversation.participants_key, key_of(parent.type, parent.sender, parent.recipient)}
        if key_of(attrs["type"], attrs["sender"], attrs["recipient"]) not in between:
            raise refusal("parent_id", "other_participants", "That message is between others, or on another channel.")
        return parent


def refusal(field: str, code: str, text: str) -> serializers.ValidationError:
    """Return the validation error of one field of the body."""
    return serializers.ValidationError({field: [text]}, code=code)


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


class SendView(APIView):
    """Accepts a message: it is a row before it is anything else."""

    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.MESSAGES_SEND}

    def post(self, request: Request) -> Response:
        """Answer 201 with the message. By then it is committed, whatever becomes of this process or of Redis.

        With an Idempotency-Key that made a message before: 200 with that one, as it stands now.
        """
        key = idempotency.key_of(request)
        if key and (made := idempotency.made_before(request.user, key, request.data)):
            return Response(represent(made), headers=idempotency.REPLAYED)
        body = SendRequest(data=request.data, context={"client": request.user})
        body.is_valid(raise_exception=True)
        values = dict(body.validated_data)
        accept = partial(Message.objects.accept, conversation_type=values.pop("conversation_type"))
        message = outbound(values, request.request_id)  # type: ignore[attr-defined]
        if not key:
            accept(message)
        elif made := idempotency.make_once(request.user, key, request.data, message, accept):
            return Response(represent(made), headers=idempotency.REPLAYED)
        if message.is_due_at_once:
            message = self.hand_over(message)
        headers = {"Location": message.get_absolute_url()}
        return Response(represent(message), status=201, headers=headers)

    @staticmethod
    def hand_over(message: Message) -> Message:
        """Ring for the message, or send it here and now where the settings say so; return it as it stands then.

        It is accepted, so from here on nothing is an error any more: the worst that can happen is that it waits.
        """
        if not settings.SYNC_MESSAGE_PROCESSING:
            tasks.ring(message)
            return message
        try:
            if not delivery.deliver_now(message):
                tasks.ring(message)
            message.refresh_from_db()
        except Exception as error:  # the message is accepted, and a client without a key would send it again
            logger.warning(
                "message %s: %s after it was accepted; the sweep sees to it", message.pk, type(error).__name__
            )
        return message


def outbound(values: dict[str, Any], request_id: str) -> Message:
    """Return an unsaved message of what was asked for."""
    return Message(
        direction=Message.Direction.OUTBOUND,
        status=Status.PENDING,
        provider=routes.names_for(values["type"])[0],
        request_id=request_id,
        **values,
    )


class MessageListView(SendView):
    """The list of messages; posting to it sends, as the shorter path."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ, "POST": Scope.MESSAGES_SEND}

    def get(self, request: Request) -> Response:
        """Answer a page of messages, newest first."""
        return message_list(request, Message.objects.visible_to(request.user))


class MessageView(APIView):
    """One message."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ}

    def get(self, request: Request, message_id: Any) -> Response:
        """Answer the message as it stands."""
        return Response(represent(get_object_or_404(Message.objects.visible_to(request.user), pk=message_id)))


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
