"""The shapes of answers, for the schema alone: what the views answer is held against these by a test."""

from typing import Any

from rest_framework import serializers

from conversations.models import Conversation, Message, MessageEvent, OptOut
from conversations.models.status import Status
from webhooks.models import Delivery
from webhooks.models.subscription import EVENT_TYPES

Time = serializers.DateTimeField
Word = serializers.ChoiceField


class Parts(serializers.Serializer[Any]):
    """An answer; a field is always there unless it says otherwise."""


def maybe(kind: type[serializers.Field[Any, Any, Any, Any]], **more: Any) -> Any:
    """A field that may be null."""
    return kind(allow_null=True, **more)


class MessageParts(Parts):
    """A message as it stands. `subject` and `html` belong to email alone."""

    id = serializers.UUIDField()
    conversation_id = serializers.UUIDField()
    parent_id = maybe(serializers.UUIDField)
    provider = serializers.CharField(help_text="The account that carries it.")
    provider_message_id = maybe(serializers.CharField)
    direction = Word(Message.Direction.values)
    status = Word(Status.values)
    type = Word(Message.Type.values)
    to = serializers.CharField()
    subject = serializers.CharField(required=False)
    body = serializers.CharField()
    html = serializers.CharField(required=False)
    attachments = serializers.ListField(child=serializers.CharField())
    segments = maybe(serializers.IntegerField)
    attempts = serializers.IntegerField()
    next_attempt_at = maybe(Time)
    send_at = maybe(Time)
    expires_at = maybe(Time)
    sent_at = maybe(Time)
    delivered_at = maybe(Time)
    failed_at = maybe(Time)
    error_code = maybe(serializers.CharField)
    error_message = maybe(serializers.CharField)
    created_at = Time()
    updated_at = Time()
    metadata = serializers.DictField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """With `from`, which Python can't declare by that name, in its place."""
        fields = super().get_fields()
        before = list(fields).index("to")
        return dict([*list(fields.items())[:before], ("from", serializers.CharField()), *list(fields.items())[before:]])


class Page(Parts):
    """What is around a page of a list. `next` is the cursor of the next page."""

    total = serializers.IntegerField()
    limit = serializers.IntegerField()
    offset = serializers.IntegerField()
    next = maybe(serializers.CharField)


class MessagePage(Page):
    """Messages, newest first."""

    messages = MessageParts(many=True)


class EventParts(Parts):
    """One line of a timeline."""

    at = Time()
    status = serializers.CharField()
    evidence = Word(MessageEvent.Evidence.values)
    attempt = serializers.IntegerField()
    code = maybe(serializers.CharField)
    detail = serializers.CharField()


class Timeline(Parts):
    """What became known of a message, in that order."""

    events = EventParts(many=True)


class Preview(Parts):
    """What a send would meet."""

    type = Word(Message.Type.values)
    encoding = maybe(Word, choices=["GSM-7", "UCS-2"])
    segments = maybe(serializers.IntegerField)
    characters = serializers.IntegerField()
    ucs2_characters = serializers.ListField(child=serializers.CharField())
    provider = serializers.CharField()
    reason = serializers.CharField()
    opted_out = serializers.BooleanField()
    send_at = maybe(Time)


class FieldError(Parts):
    """What is wrong with one field; `loc` is the way to it."""

    loc = serializers.ListField(child=serializers.JSONField())
    code = serializers.CharField()
    msg = serializers.CharField()


class BatchResult(Parts):
    """What became of one message of a batch: 201 with it, 422 with what is wrong, 410 where it was deleted since."""

    status = serializers.IntegerField()
    message = MessageParts(required=False)
    errors = FieldError(many=True, required=False)  # type: ignore[assignment]


class BatchResults(Parts):
    """A result for each message, in their order."""

    results = BatchResult(many=True)


class ConversationParts(Parts):
    """A conversation. `messages`, oldest first, only where they were asked for."""

    id = serializers.UUIDField()
    participant_from = serializers.CharField()
    participant_to = serializers.CharField()
    channel_type = Word(Conversation.ChannelType.values)
    type = Word(Conversation.Type.values)
    status = Word(Conversation.Status.values)
    title = maybe(serializers.CharField)
    last_message_at = maybe(Time)
    message_count = serializers.IntegerField()
    unread_count = serializers.IntegerField()
    created_at = Time()
    updated_at = Time()
    metadata = serializers.DictField()
    messages = MessageParts(many=True, allow_null=True)


class ConversationPage(Page):
    """Conversations, by their last message, newest first."""

    conversations = ConversationParts(many=True)


class OptOutParts(Parts):
    """Somebody's wish to get nothing more from one of our addresses. It holds while `lifted_at` is null."""

    id = serializers.UUIDField()
    channel_type = Word(Conversation.ChannelType.values)
    our_address = serializers.CharField()
    their_address = serializers.CharField()
    source = Word(OptOut.Source.values)  # type: ignore[assignment]
    opted_out_at = Time()
    lifted_at = maybe(Time)
    lifted_by = maybe(Word, choices=OptOut.Source.values)


class OptOutPage(Page):
    """Opt-outs, newest first."""

    opt_outs = OptOutParts(many=True)


class SubscriptionParts(Parts):
    """Who is told of what. `failing` means that its last delivery was not taken."""

    id = serializers.UUIDField()
    url = serializers.CharField()
    events = serializers.ListField(child=Word(EVENT_TYPES))
    status = Word(["enabled", "failing", "disabled"])
    failing_since = maybe(Time)
    disabled_at = maybe(Time)
    disabled_because = maybe(serializers.CharField)
    created_at = Time()


class SubscriptionWithSecret(SubscriptionParts):
    """A subscription and, this once, the secret that its deliveries are signed with."""

    secret = serializers.CharField()


class SubscriptionPage(Page):
    """Subscriptions, newest first."""

    subscriptions = SubscriptionParts(many=True)


class DeliveryParts(Parts):
    """What a subscriber was told, and how the last try went."""

    id = serializers.UUIDField()
    event = Word(EVENT_TYPES)
    sequence = serializers.IntegerField()
    conversation_id = serializers.UUIDField()
    status = Word(Delivery.Status.values)
    attempts = serializers.IntegerField()
    next_attempt_at = maybe(Time)
    response_status = maybe(serializers.IntegerField)
    response_text = maybe(serializers.CharField)
    duration_ms = maybe(serializers.IntegerField)
    error = maybe(serializers.CharField)
    created_at = Time()
    delivered_at = maybe(Time)


class DeliveryPage(Page):
    """Deliveries, newest first."""

    deliveries = DeliveryParts(many=True)


class Replayed(Parts):
    """How many deliveries are due again."""

    replayed = serializers.IntegerField()
    next_since = maybe(Time)


class DoorStatistics(Parts):
    """Counts of the last 24 hours."""

    total_webhooks_24h = serializers.IntegerField()
    processed_webhooks_24h = serializers.IntegerField()
    error_webhooks_24h = serializers.IntegerField()
    last_webhook_at = maybe(Time)


class DoorStatus(Parts):
    """What went on at one provider's door."""

    provider = Word(["twilio", "sendgrid"])
    status = serializers.CharField()
    statistics = DoorStatistics()


class Problem(Parts):
    """Why a request was not carried out (RFC 9457). `code` is stable and made for programs; a 422 lists `errors`."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = FieldError(many=True, required=False)  # type: ignore[assignment]
