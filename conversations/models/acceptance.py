"""How messages come to be: one statement for one, and one for many."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from uuid_utils.compat import uuid7

from conversations.models import statements
from conversations.models.conversation import Conversation, channel_type_of, key_of
from conversations.models.opt_out import RECIPIENT_OPTED_OUT
from conversations.models.prepared import prepared_cursor
from conversations.models.report import ReportQuerySet
from conversations.pseudonyms import pseudonyms

if TYPE_CHECKING:
    from conversations.models.message import Message

# What the database decides while it inserts a message, in the order in which it answers.
DECIDED_AT_INSERT = (
    "conversation_id",
    "status",
    "next_attempt_at",
    "expires_at",
    "failed_at",
    "error_code",
    "error_message",
    "created_at",
)
# What a batch passes as JSON: these as they are, all else as text.
PLAIN = (str, bool, int, list, dict, type(None))


class AcceptanceQuerySet(ReportQuerySet):
    """How messages are made."""

    def accept(
        self,
        message: "Message",
        *,
        conversation_type: str = Conversation.Type.DIRECT,
        conversation_id: UUID | None = None,
    ) -> "Message":
        """Insert an outbound message with its conversation and its first event; return it as it stands then.

        It joins the conversation that is named, else its parent's; without one (or where that is closed) the pair's
        open direct one, made if needed; with type `thread` always a new one. One statement, so it holds wholly or not
        at all without a transaction. To a recipient who opted out it is `failed` at once.
        """
        if message.type == "email":
            message.take_mail_headers()
        if conversation_id is None and message.parent:
            conversation_id = message.parent.conversation_id
        return self.insert(message, conversation_type, conversation_id)

    def insert(self, message: "Message", conversation_type: str, joined_conversation_id: UUID | None) -> "Message":
        """Insert a message into a conversation by its id while that is open, else into the one of its pair."""
        parameters = insert_parameters(message, conversation_type)
        with prepared_cursor() as cursor:
            if joined_conversation_id is not None:
                joining = {**parameters, "joined_conversation_id": joined_conversation_id}
                cursor.execute(statements.JOIN_CONVERSATION + statements.INSERT_MESSAGE, joining)
                row = cursor.fetchone()
                if row is not None:
                    return inserted(message, row[:-1])
                parameters["conversation_type"] = Conversation.Type.DIRECT
            cursor.execute(statements.OPEN_CONVERSATION + statements.INSERT_MESSAGE, parameters)
            return inserted(message, cursor.fetchone()[:-1])

    def accept_batch(self, messages: Sequence["Message"]) -> None:
        """Insert outbound messages, each into its pair's open direct conversation, in one statement.

        They stand in their conversations in this order, and single sends go before them.
        """
        for message in messages:
            message.batch = True
            if message.type == "email":
                message.take_mail_headers()
        wishes = [wish(message, place) for place, message in enumerate(messages)]
        shared = insert_parameters(messages[0], Conversation.Type.DIRECT)
        by_id = {message.id: message for message in messages}
        with connection.cursor() as cursor:
            cursor.execute(statements.INSERT_BATCH, {**shared, "wishes": json.dumps(wishes)})
            for *row, message_id in cursor.fetchall():
                inserted(by_id[message_id], row)


def insert_parameters(message: "Message", conversation_type: str) -> dict[str, Any]:
    """Return what the statements insert of a message."""
    return {
        "conversation_id": uuid7(),
        "participants_key": key_of(message.type, message.sender, message.recipient, test=message.test),
        "channel_type": channel_type_of(message.type),
        "conversation_type": conversation_type,
        "joined_conversation_id": None,
        "unread": int(message.direction == "inbound"),
        "direction": message.direction,
        "status": message.status,
        "segments": message.segments,
        "provider_message_id": message.provider_message_id,
        "id": message.id,
        "parent_id": message.parent_id,
        "type": message.type,
        "sender": message.sender,
        "recipient": message.recipient,
        "subject": message.subject,
        "body": message.body,
        "html": message.html,
        "attachments": json.dumps(message.attachments),
        "metadata": json.dumps(message.metadata),
        "on_unresolved": message.on_unresolved,
        "request_id": message.request_id,
        "provider": message.provider,
        "send_at": message.send_at,
        "expires_at": message.expires_at,
        "expires_after": timedelta(seconds=settings.EXPIRES_AFTER_SECONDS),
        "opted_out_sentence": RECIPIENT_OPTED_OUT,
        "unsubscribe": message.unsubscribe,
        "quoted_from": message.quoted_from,
        "message_id_header": message.message_id_header,
        "reference_headers": message.reference_headers,
        "automatic": message.automatic,
        "batch": message.batch,
        "test": message.test,
        "author_id": message.author_id,
        "pseudonyms": pseudonyms(message.recipient),
    }


def wish(message: "Message", place: int) -> dict[str, Any]:
    """Return what tells a message of a batch from the others, as JSON has it."""
    values = {**insert_parameters(message, Conversation.Type.DIRECT), "place": place}
    values |= {"attachments": message.attachments, "metadata": message.metadata}
    return {name: each if isinstance(each := values[name], PLAIN) else str(each) for name in statements.WISH}


def inserted(message: "Message", row: Sequence[Any]) -> "Message":
    """Return a message as the database made it."""
    for name, value in zip(DECIDED_AT_INSERT, row, strict=True):
        setattr(message, name, value)
    message.updated_at = message.created_at
    message._state.adding = False
    message._state.db = connection.alias
    return message
