"""Sending over HTTP."""

import logging
from functools import partial
from typing import Any, ClassVar

from django.conf import settings
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations import delivery, tasks
from conversations.addresses import InvalidAddress, normalise_email, normalise_phone, normalise_phone_sender
from conversations.api import idempotency
from conversations.api.fields import (
    Attachment,
    Choice,
    Flag,
    Identifier,
    Line,
    Metadata,
    Moment,
    Shape,
    Text,
    check_ahead,
    check_body,
    is_blank,
    refusal,
)
from conversations.api.messages import message_list, represent
from conversations.models import Conversation, Message
from conversations.models.client import Scope
from conversations.models.conversation import key_of
from conversations.models.status import Status
from providers import routes

logger = logging.getLogger(__name__)

MAX_ATTACHMENTS = 10
EMAIL_ONLY = {"subject": "a subject", "html": "HTML", "unsubscribe": "an unsubscribe link"}


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
    parent_id = Identifier(required=False, allow_null=True, default=None)
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
        check_body(attrs["type"], attrs["body"], has_more=bool(attrs["attachments"]) or not is_blank(attrs["html"]))

    def _check_times(self, attrs: dict[str, Any]) -> None:
        now, send_at, expires_at = timezone.now(), attrs["send_at"], attrs["expires_at"]
        for name in ("send_at", "expires_at"):
            check_ahead(name, attrs[name])
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
            own = ", ".join(self.context["client"].senders)
            raise refusal("from", "foreign_sender", f"This client does not send from this address, only from {own}.")
        return sender, recipient

    def _parent(self, parent_id: Any, attrs: dict[str, Any]) -> Message | None:
        if parent_id is None:
            return None
        visible = Message.objects.visible_to(self.context["client"])
        parent = visible.filter(pk=parent_id).select_related("conversation").first()
        if parent is None:
            raise refusal("parent_id", "unknown_parent", "There is no message with this id.")
        # An answer may have come from an address that is not the conversation's, to the plus-address of a mail.
        between = {
            parent.conversation.participants_key,
            key_of(parent.type, parent.sender, parent.recipient, test=parent.test),
        }
        if key_of(attrs["type"], attrs["sender"], attrs["recipient"], test=parent.test) not in between:
            raise refusal("parent_id", "other_participants", "That message is between others, or on another channel.")
        return parent


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
        message = outbound(values, request.user, request.request_id)  # type: ignore[attr-defined]
        if key and (made := idempotency.make_once(request.user, key, request.data, message, accept)):
            return Response(represent(made), headers=idempotency.REPLAYED)
        if not key:
            accept(message)
        message = hand_over(message)
        headers = {"Location": message.get_absolute_url()}
        return Response(represent(message), status=201, headers=headers)


def hand_over(message: Message) -> Message:
    """Ring for a message that is due, or send it at once where the settings say so; return it as it stands then.

    It is accepted, so from here on nothing is an error any more: the worst that can happen is that it waits.
    """
    if not message.is_due_at_once:
        return message
    if not settings.SYNC_MESSAGE_PROCESSING:
        tasks.ring(message)
        return message
    try:
        # More than once where its account could not be reached and it was given to the next.
        for _ in routes.names_for(message.type, test=message.test):
            is_offered = delivery.deliver_now(message)
            message.refresh_from_db()
            if not is_offered or not message.is_due:
                break
        if message.is_due:
            tasks.ring(message)
    except Exception as error:  # the message is accepted, and a client without a key would send it again
        logger.warning(
            "an error after it was accepted; the sweep sees to it", extra=message.log_fields(), exc_info=error
        )
    return message


def outbound(values: dict[str, Any], client: Any, request_id: str) -> Message:
    """Return an unsaved message of what was asked for. Raises `PermissionDenied` for a test without a sandbox."""
    test = client.test
    if test and not routes.has_sandbox():
        sentence = "This client's messages go to the sandbox, and there is none here: it takes SANDBOX_URL."
        raise PermissionDenied(sentence, code="no_sandbox")
    return Message(
        direction=Message.Direction.OUTBOUND,
        status=Status.PENDING,
        provider=routes.names_for(values["type"], test=test)[0],
        test=test,
        request_id=request_id,
        **values,
    )


class MessageListView(SendView):
    """The list of messages; posting to it sends, as the shorter path."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ, "POST": Scope.MESSAGES_SEND}

    def get(self, request: Request) -> Response:
        """Answer a page of messages, newest first."""
        return message_list(request, Message.objects.visible_to(request.user))
