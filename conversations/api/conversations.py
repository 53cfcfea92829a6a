"""Conversations over HTTP: list, detail, and their messages."""

from typing import Any, ClassVar

from django.db.models import Q
from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations.api.messages import address, message_list
from conversations.api.messages import represent as represent_message
from conversations.api.paging import Page, choice, flag
from conversations.models import Conversation, Message
from conversations.models.client import Scope

NEWEST_SHOWN = 100


def represent(conversation: Conversation, messages: list[Message] | None = None) -> dict[str, Any]:
    """Return a conversation as the API shows it; `messages`, oldest first, only where they were asked for."""
    return {
        "id": conversation.id,
        "participant_from": conversation.participant_from,
        "participant_to": conversation.participant_to,
        "channel_type": conversation.channel_type,
        "type": conversation.type,
        "status": conversation.status,
        "title": conversation.title or None,
        "last_message_at": conversation.last_message_at,
        "message_count": conversation.message_count,
        "unread_count": conversation.unread_count,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "metadata": conversation.metadata,
        "messages": None if messages is None else [represent_message(message) for message in messages],
    }


class ConversationListView(APIView):
    """The list of conversations."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ}

    def get(self, request: Request) -> Response:
        """Answer a page of conversations, by their last message, newest first; those without messages last."""
        query = request.query_params
        page = Page.of(query)
        conversations = Conversation.objects.visible_to(request.user).filter(
            participant(query),
            **choice(query, "channel_type", Conversation.ChannelType.values),
            **choice(query, "status", Conversation.Status.values),
            **choice(query, "type", Conversation.Type.values),
            **unread(query),
        )
        return Response(page.show("conversations", conversations, "last_message_at", represent))


class ConversationView(APIView):
    """One conversation."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ}

    def get(self, request: Request, conversation_id: Any) -> Response:
        """Answer the conversation; with `include_messages=true` its newest 100 messages, and a link to the others."""
        conversation = get_object_or_404(Conversation.objects.visible_to(request.user), pk=conversation_id)
        if not flag(request.query_params, "include_messages"):
            return Response(represent(conversation))
        newest = conversation.messages.order_by("-created_at", "-id")[:NEWEST_SHOWN]
        link = f'<{conversation.get_absolute_url()}/messages>; rel="messages"'
        return Response(represent(conversation, list(newest)[::-1]), headers={"Link": link})


class ConversationMessagesView(APIView):
    """The messages of one conversation."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ}

    def get(self, request: Request, conversation_id: Any) -> Response:
        """Answer a page of them, newest first."""
        conversation = get_object_or_404(Conversation.objects.visible_to(request.user), pk=conversation_id)
        return message_list(request, Message.objects.filter(conversation=conversation))


def participant(query: Any) -> Q:
    """Return a filter for conversations of one address, on either side and in any case. Raises `InvalidQuery`."""
    found = address(query, "participant", "either").get("either")
    return Q(participant_from__iexact=found) | Q(participant_to__iexact=found) if found else Q()


def unread(query: Any) -> dict[str, Any]:
    """Return a filter for conversations with unread messages, or without any. Raises `InvalidQuery`."""
    match flag(query, "unread"):
        case None:
            return {}
        case True:
            return {"unread_count__gt": 0}
        case _:
            return {"unread_count": 0}
