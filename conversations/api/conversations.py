"""Conversations over HTTP: list, detail, and their messages."""

from typing import Any, ClassVar, cast

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Count, Q, Window
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations.addresses import InvalidAddress, normalise_email, normalise_phone_sender
from conversations.api.fields import Choice, Line, Metadata, Number, Shape, is_blank, refusal
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


class OpenConversationExists(APIException):
    """The pair has another open conversation, and may have one only."""

    status_code = 409
    default_code = "open_conversation_exists"
    default_detail = "These two have another open conversation. Close that one first, or write there."


class ConversationBusy(APIException):
    """A message of it may be on its way."""

    status_code = 409
    default_code = "conversation_busy"
    default_detail = "A message in it is being sent, or nobody knows yet whether it was. Try again in a while."


class NewConversation(Shape):
    """The body of a new conversation."""

    type = Choice(Conversation.Type.values, required=False, default=Conversation.Type.DIRECT)
    participant_from = Line(max_length=254)
    participant_to = Line(max_length=254)
    channel_type = Choice(Conversation.ChannelType.values, required=False, default=Conversation.ChannelType.EMAIL)
    title = Line(max_length=200, required=False, allow_blank=True, allow_null=True, default="")
    metadata = Metadata(required=False, default=dict)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Normalise both addresses as messages have them; one has to be the client's."""
        is_email = attrs["channel_type"] == Conversation.ChannelType.EMAIL
        errors = {}
        for name in ("participant_from", "participant_to"):
            try:
                text, region = attrs[name], settings.DEFAULT_PHONE_REGION
                attrs[name] = normalise_email(text) if is_email else normalise_phone_sender(text, region)
            except InvalidAddress as error:
                errors[name] = [serializers.ErrorDetail(str(error), error.code)]
        if errors:
            raise serializers.ValidationError(errors)
        may_send = self.context["client"].may_send_from
        if not may_send(attrs["participant_from"]) and not may_send(attrs["participant_to"]):
            raise refusal("participant_from", "foreign_sender", "This client sends from neither of these addresses.")
        attrs["title"] = attrs["title"] or ""
        return attrs


class ConversationChange(Shape):
    """The body of a change; what is left out stays."""

    title = Line(max_length=200, required=False, allow_blank=True, allow_null=True)
    status = Choice(Conversation.Status.values, required=False)
    metadata = Metadata(required=False)


class SearchRequest(Shape):
    """The body of a search."""

    query = Line(max_length=200)
    limit = Number(required=False, default=20, min_value=1, max_value=50)

    def validate_query(self, query: str) -> str:
        """Refuse a text that nobody could see."""
        if is_blank(query):
            raise serializers.ValidationError("Give something to look for.", code="blank")
        return query


class ConversationListView(APIView):
    """The list of conversations; posting to it makes one."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ, "POST": Scope.CONVERSATIONS_WRITE}

    def post(self, request: Request) -> Response:
        """Answer 201 with the conversation: the open direct one, unchanged, where the pair has one."""
        body = NewConversation(data=request.data, context={"client": request.user})
        body.is_valid(raise_exception=True)
        made = Conversation.objects.open_between(Conversation(**body.validated_data, test=cast(Any, request.user).test))
        made.refresh_from_db()
        return Response(represent(made), status=201, headers={"Location": made.get_absolute_url()})

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

    scopes: ClassVar[dict[str, Scope]] = {
        "GET": Scope.MESSAGES_READ,
        "PATCH": Scope.CONVERSATIONS_WRITE,
        "DELETE": Scope.CONVERSATIONS_WRITE,
    }

    def patch(self, request: Request, conversation_id: Any) -> Response:
        """Change title, status or metadata. Raises `OpenConversationExists`."""
        conversation = visible(request, conversation_id)
        body = ConversationChange(data=request.data)
        body.is_valid(raise_exception=True)
        changes = body.validated_data
        if "title" in changes:
            changes["title"] = changes["title"] or ""
        try:
            conversation.change(**changes)
        except IntegrityError:
            raise OpenConversationExists from None
        return Response(represent(visible(request, conversation_id)))

    def delete(self, request: Request, conversation_id: Any) -> Response:
        """Close it: 204, and what waits still goes out. With `hard_delete=true` it is gone, with all its messages.

        Raises `ConversationBusy`.
        """
        conversation = visible(request, conversation_id)
        if not flag(request.query_params, "hard_delete"):
            conversation.change(status=Conversation.Status.CLOSED)
        elif not conversation.erase():
            raise ConversationBusy
        return Response(status=204)

    def get(self, request: Request, conversation_id: Any) -> Response:
        """Answer the conversation; with `include_messages=true` its newest 100 messages, and a link to the others."""
        conversation = visible(request, conversation_id)
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
        conversation = visible(request, conversation_id)
        return message_list(request, Message.objects.filter(conversation=conversation))


class ConversationReadView(APIView):
    """That somebody has read a conversation."""

    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.CONVERSATIONS_WRITE}

    def post(self, request: Request, conversation_id: Any) -> Response:
        """Answer 204; nothing is unread then but what comes in later."""
        Conversation.objects.filter(pk=visible(request, conversation_id).pk).update(unread_count=0)
        return Response(status=204)


class ConversationSearchView(APIView):
    """Conversations by what is said in them, and by whom."""

    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.MESSAGES_READ}

    def post(self, request: Request) -> Response:
        """Answer the newest of those that have the text somewhere, each once, and how many there are."""
        body = SearchRequest(data=request.data)
        body.is_valid(raise_exception=True)
        found = Conversation.objects.visible_to(request.user).containing(body.validated_data["query"])
        page = Page(limit=body.validated_data["limit"], offset=0, after=None)
        # Counted with the page: to look for a common word takes most of the time, and once is enough.
        rows, following = page.take(found.annotate(total=Window(Count("pk"))), "last_message_at")
        total = cast(Any, rows[0]).total if rows else 0
        shown = {"conversations": list(map(represent, rows)), "total": total, "limit": page.limit, "offset": 0}
        return Response({**shown, "next": following})


def visible(request: Request, conversation_id: Any) -> Conversation:
    """Return a conversation that the client sees. Raises `Http404`."""
    return get_object_or_404(Conversation.objects.visible_to(request.user), pk=conversation_id)


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
