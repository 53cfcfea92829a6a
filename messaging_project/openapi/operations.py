"""What the API can be asked, one row each: its name, what goes in, what comes back, and an example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rest_framework import serializers
from rest_framework.views import APIView

from conversations.api.batch import BatchView
from conversations.api.conversations import (
    ConversationChange,
    ConversationListView,
    ConversationMessagesView,
    ConversationReadView,
    ConversationSearchView,
    ConversationView,
    NewConversation,
    SearchRequest,
)
from conversations.api.media import MediaView
from conversations.api.messages import (
    ChangeRequest,
    MessageCancelView,
    MessageEventsView,
    MessageRetryView,
    MessageStatusView,
    MessageView,
    StatusRequest,
)
from conversations.api.opt_outs import OptOutListView, OptOutRequest, OptOutView
from conversations.api.preview import PreviewView
from conversations.api.send import MessageListView, SendRequest, SendView
from conversations.models import Conversation, Message, OptOut
from conversations.models.status import Status
from messaging_project.openapi import answers
from webhooks.models import Delivery
from webhooks.models.subscription import EVENT_TYPES
from webhooks.subscriptions import (
    DeliveryListView,
    NewSubscription,
    Replay,
    ReplayView,
    SecretView,
    SubscriptionChange,
    SubscriptionListView,
    SubscriptionView,
)
from webhooks.views import DoorStatusView

JSONSchema = dict[str, Any]
Serializer = type[serializers.Serializer[Any]]


class BatchRequest(serializers.Serializer[Any]):
    """Up to 1,000 messages, each as in a send and judged alone."""

    messages = serializers.ListField(child=serializers.JSONField(), min_length=1, max_length=1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be asked. `answers` are its good ends by status, None for an empty one; `problems` those that
    others have not. `example` is the body of an example, `asks` the query of one.
    """

    name: str
    summary: str
    tag: str
    answers: Mapping[int, Serializer | None]
    body: Serializer | None = None
    query: Mapping[str, JSONSchema] = field(default_factory=dict)
    problems: Sequence[int] = ()
    example: Any = None
    asks: str = ""
    is_idempotent: bool = False


TEXT: JSONSchema = {"type": "string"}
UUID: JSONSchema = {"type": "string", "format": "uuid"}
TIME: JSONSchema = {"type": "string", "format": "date-time"}
FLAG: JSONSchema = {"type": "string", "enum": ["true", "false"]}


def words(choices: Sequence[str]) -> JSONSchema:
    """A query value out of a few words."""
    return {"type": "string", "enum": list(choices)}


PAGE = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
    "offset": {"type": "integer", "minimum": 0, "maximum": 1_000_000, "default": 0},
    "cursor": {**TEXT, "description": "`next` of the page before; not together with offset."},
}
MESSAGE_FILTERS = {
    "conversation_id": UUID,
    "parent_id": UUID,
    "status": words(Status.values),
    "direction": words(Message.Direction.values),
    "type": words(Message.Type.values),
    "from": TEXT,
    "to": TEXT,
    "created_after": TIME,
    "created_before": TIME,
}
SMS = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": "Your table is ready."}
MAIL = {"from": "shop@example.com", "to": "ann@example.com", "type": "email", "subject": "Thank you", "body": "Hello"}
PAIR = {"participant_from": "shop@example.com", "participant_to": "ann@example.com", "title": "Order 7"}
OPT_OUT = {"channel_type": "sms", "our_address": "+15551234567", "their_address": "+15559876543"}
HOOK = {"url": "https://shop.example.com/switchboard", "events": ["message.received", "message.delivered"]}

SENDS = Operation(
    name="sendMessage",
    summary="Send a message",
    tag="Messages",
    body=SendRequest,
    answers={201: answers.MessageParts, 200: answers.MessageParts},
    problems=[410],
    example=SMS,
    is_idempotent=True,
)

OPERATIONS: dict[tuple[type[APIView], str], Operation] = {
    (SendView, "POST"): SENDS,
    (MessageListView, "POST"): Operation(
        name="createMessage",
        summary="Send a message, by the shorter path",
        tag="Messages",
        body=SendRequest,
        answers=SENDS.answers,
        problems=[410],
        example=MAIL,
        is_idempotent=True,
    ),
    (MessageListView, "GET"): Operation(
        name="listMessages",
        summary="List messages",
        tag="Messages",
        query={**MESSAGE_FILTERS, **PAGE},
        answers={200: answers.MessagePage},
        asks="status=delivered&limit=10",
    ),
    (BatchView, "POST"): Operation(
        name="sendBatch",
        summary="Send up to 1,000 messages",
        tag="Messages",
        body=BatchRequest,
        answers={207: answers.BatchResults, 200: answers.BatchResults},
        example={"messages": [SMS, MAIL]},
        is_idempotent=True,
    ),
    (PreviewView, "POST"): Operation(
        name="previewMessage",
        summary="See what a message would meet",
        tag="Messages",
        body=SendRequest,
        answers={200: answers.Preview},
        example=SMS,
    ),
    (MessageView, "GET"): Operation(
        name="getMessage", summary="Read a message", tag="Messages", answers={200: answers.MessageParts}
    ),
    (MessageView, "PATCH"): Operation(
        name="changeMessage",
        summary="Change a message that waits",
        tag="Messages",
        body=ChangeRequest,
        answers={200: answers.MessageParts},
        problems=[409],
        example={"body": "Your table is ready now."},
    ),
    (MessageStatusView, "PATCH"): Operation(
        name="setMessageStatus",
        summary="Say what became of a message",
        tag="Messages",
        body=StatusRequest,
        answers={200: answers.MessageParts},
        problems=[409],
        example={"status": "delivered"},
    ),
    (MessageRetryView, "POST"): Operation(
        name="retryMessage",
        summary="Send a message again that did not arrive",
        tag="Messages",
        answers={200: answers.MessageParts},
        problems=[400],
    ),
    (MessageCancelView, "POST"): Operation(
        name="cancelMessage",
        summary="Cancel a message that waits",
        tag="Messages",
        answers={200: answers.MessageParts},
        problems=[409],
    ),
    (MessageEventsView, "GET"): Operation(
        name="listMessageEvents",
        summary="Read a message's timeline",
        tag="Messages",
        answers={200: answers.Timeline},
    ),
    (MediaView, "GET"): Operation(
        name="getMedia",
        summary="Download a file that came in",
        tag="Messages",
        answers={200: None},
    ),
    (ConversationListView, "GET"): Operation(
        name="listConversations",
        summary="List conversations",
        tag="Conversations",
        query={
            "participant": TEXT,
            "channel_type": words(Conversation.ChannelType.values),
            "status": words(Conversation.Status.values),
            "type": words(Conversation.Type.values),
            "unread": FLAG,
            **PAGE,
        },
        answers={200: answers.ConversationPage},
        asks="participant=%2B15559876543&status=active",
    ),
    (ConversationListView, "POST"): Operation(
        name="openConversation",
        summary="Open a conversation",
        tag="Conversations",
        body=NewConversation,
        answers={201: answers.ConversationParts},
        example=PAIR,
    ),
    (ConversationView, "GET"): Operation(
        name="getConversation",
        summary="Read a conversation",
        tag="Conversations",
        query={"include_messages": FLAG},
        answers={200: answers.ConversationParts},
        asks="include_messages=true",
    ),
    (ConversationView, "PATCH"): Operation(
        name="changeConversation",
        summary="Change a conversation",
        tag="Conversations",
        body=ConversationChange,
        answers={200: answers.ConversationParts},
        problems=[409],
        example={"title": "Order 7, delivered", "status": "archived"},
    ),
    (ConversationView, "DELETE"): Operation(
        name="closeConversation",
        summary="Close or erase a conversation",
        tag="Conversations",
        query={"hard_delete": FLAG},
        answers={204: None},
        problems=[409],
    ),
    (ConversationMessagesView, "GET"): Operation(
        name="listConversationMessages",
        summary="List the messages of a conversation",
        tag="Conversations",
        query={**MESSAGE_FILTERS, **PAGE},
        answers={200: answers.MessagePage},
    ),
    (ConversationReadView, "POST"): Operation(
        name="readConversation",
        summary="Say that a conversation was read",
        tag="Conversations",
        answers={204: None},
    ),
    (ConversationSearchView, "POST"): Operation(
        name="searchConversations",
        summary="Search conversations",
        tag="Conversations",
        body=SearchRequest,
        answers={200: answers.ConversationPage},
        example={"query": "table"},
    ),
    (OptOutListView, "GET"): Operation(
        name="listOptOuts",
        summary="List opt-outs",
        tag="Opt-outs",
        query={
            "channel_type": words(Conversation.ChannelType.values),
            "source": words(OptOut.Source.values),
            "our_address": TEXT,
            "their_address": TEXT,
            "lifted": FLAG,
            **PAGE,
        },
        answers={200: answers.OptOutPage},
        asks="channel_type=sms",
    ),
    (OptOutListView, "POST"): Operation(
        name="optOut",
        summary="Opt somebody out",
        tag="Opt-outs",
        body=OptOutRequest,
        answers={201: answers.OptOutParts},
        example=OPT_OUT,
    ),
    (OptOutView, "GET"): Operation(
        name="getOptOut", summary="Read an opt-out", tag="Opt-outs", answers={200: answers.OptOutParts}
    ),
    (OptOutView, "DELETE"): Operation(
        name="liftOptOut", summary="Lift an opt-out", tag="Opt-outs", answers={204: None}
    ),
    (SubscriptionListView, "GET"): Operation(
        name="listSubscriptions",
        summary="List subscriptions",
        tag="Subscriptions",
        query=PAGE,
        answers={200: answers.SubscriptionPage},
    ),
    (SubscriptionListView, "POST"): Operation(
        name="subscribe",
        summary="Be told of events",
        tag="Subscriptions",
        body=NewSubscription,
        answers={201: answers.SubscriptionWithSecret},
        example=HOOK,
    ),
    (SubscriptionView, "GET"): Operation(
        name="getSubscription",
        summary="Read a subscription",
        tag="Subscriptions",
        answers={200: answers.SubscriptionParts},
    ),
    (SubscriptionView, "PATCH"): Operation(
        name="changeSubscription",
        summary="Change, disable or enable a subscription",
        tag="Subscriptions",
        body=SubscriptionChange,
        answers={200: answers.SubscriptionParts},
        example={"events": ["*"], "enabled": True},
    ),
    (SubscriptionView, "DELETE"): Operation(
        name="unsubscribe", summary="Be told no more", tag="Subscriptions", answers={204: None}
    ),
    (SecretView, "POST"): Operation(
        name="renewSecret",
        summary="Get a new secret",
        tag="Subscriptions",
        answers={200: answers.SubscriptionWithSecret},
    ),
    (DeliveryListView, "GET"): Operation(
        name="listDeliveries",
        summary="Read the log of deliveries",
        tag="Subscriptions",
        query={
            "status": words(Delivery.Status.values),
            "event": words(EVENT_TYPES),
            "conversation_id": UUID,
            "created_after": TIME,
            "created_before": TIME,
            **PAGE,
        },
        answers={200: answers.DeliveryPage},
        asks="status=failed",
    ),
    (ReplayView, "POST"): Operation(
        name="replayDeliveries",
        summary="Be told again",
        tag="Subscriptions",
        body=Replay,
        answers={200: answers.Replayed},
        example={"since": "2026-01-01T00:00:00Z", "status": "failed"},
    ),
    (DoorStatusView, "GET"): Operation(
        name="getDoorStatus",
        summary="See what a provider's callbacks did",
        tag="Operations",
        answers={200: answers.DoorStatus},
        problems=[400],
    ),
}
