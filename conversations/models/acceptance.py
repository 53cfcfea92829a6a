"""How messages come to be: one statement for one, and one for many."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from uuid_utils.compat import uuid7

from conversations.models.claim import ClaimQuerySet
from conversations.models.conversation import Conversation, channel_type_of, key_of
from conversations.models.opt_out import OPTED_OUT, RECIPIENT_OPTED_OUT
from conversations.models.prepared import prepared_cursor
from conversations.pseudonyms import pseudonyms

if TYPE_CHECKING:
    from conversations.models.message import Message

# Whether it was archived is read as it stood before: of two who archive and wake one at the same moment, the event that
# tells of the second may be missing.
OPEN_CONVERSATION = """
WITH archived AS MATERIALIZED (
    SELECT id FROM conversations_conversation
    WHERE participants_key = %(participants_key)s AND type = 'direct' AND status = 'archived'
),
conversation AS (
    INSERT INTO conversations_conversation AS c (
        id, participants_key, participant_from, participant_to, channel_type, type, status, title, metadata,
        test, last_message_at, message_count, unread_count, created_at, updated_at)
    VALUES (
        %(conversation_id)s, %(participants_key)s, %(sender)s, %(recipient)s, %(channel_type)s, %(conversation_type)s,
        'active', '', '{}', %(test)s, clock_timestamp(), 1, %(unread)s, clock_timestamp(), clock_timestamp())
    ON CONFLICT (participants_key) WHERE type = 'direct' AND status IN ('active', 'archived')
    DO UPDATE SET message_count = c.message_count + 1, unread_count = c.unread_count + %(unread)s, status = 'active',
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    RETURNING id, xmax = 0 AS is_new
)"""

JOIN_CONVERSATION = """
WITH archived AS MATERIALIZED (
    SELECT id FROM conversations_conversation WHERE id = %(joined_conversation_id)s AND status = 'archived'
),
conversation AS (
    UPDATE conversations_conversation AS c
    SET message_count = c.message_count + 1, unread_count = c.unread_count + %(unread)s, status = 'active',
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE id = %(joined_conversation_id)s AND status <> 'closed'
    RETURNING id, false AS is_new
)"""

# The time is read while the conversation's row is locked: within a conversation, created_at is the order of acceptance
# whichever process, on whichever machine, accepted. To somebody who opted out nothing is sent, as is known at once.
_INSERT_MESSAGES = """
opened AS (
    INSERT INTO conversations_conversationevent (conversation_id, kind, at)
    SELECT id, CASE WHEN is_new THEN 'created' ELSE 'updated' END, clock_timestamp() FROM conversation
    WHERE is_new OR id IN (SELECT id FROM archived)
    RETURNING id
),
message AS (
    INSERT INTO conversations_message (
        id, conversation_id, parent_id, direction, status, type, sender, recipient, subject, body, html, attachments,
        metadata, segments, on_unresolved, request_id, provider, provider_message_id, attempts, next_attempt_at,
        error_code, error_message, send_at, expires_at, failed_at, created_at, updated_at,
        unsubscribe, quoted_from, message_id_header, reference_headers, automatic, batch, test, author_id)
    SELECT
        {id}, conversation_id, {parent_id}, %(direction)s, status, {type}, {sender}, {recipient},
        {subject}, {body}, {html}, {attachments}::jsonb, {metadata}::jsonb, %(segments)s, {on_unresolved},
        %(request_id)s, {provider}, %(provider_message_id)s, 0,
        CASE WHEN status = 'pending' THEN GREATEST({send_at}::timestamptz, at) END,
        CASE WHEN status = 'failed' THEN 'recipient_opted_out' ELSE '' END,
        CASE WHEN status = 'failed' THEN %(opted_out_sentence)s ELSE '' END,
        {send_at}::timestamptz,
        CASE WHEN status <> 'received' THEN COALESCE(
            {expires_at}::timestamptz,
            GREATEST({send_at}::timestamptz, at) + %(expires_after)s::interval) END,
        CASE WHEN status = 'failed' THEN at END,
        at, at,
        {unsubscribe}, %(quoted_from)s, {message_id_header}, {reference_headers}, %(automatic)s, %(batch)s, %(test)s,
        %(author_id)s
    FROM accepted
    RETURNING id, conversation_id, status, next_attempt_at, expires_at, failed_at, error_code, error_message, created_at
),
event AS (
    INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail, at)
    SELECT id, status, CASE WHEN status = 'received' THEN 'reported' ELSE 'observed' END, 0, error_code,
        CASE status WHEN 'pending' THEN 'Accepted.' WHEN 'received' THEN 'Received.' ELSE error_message END, created_at
    FROM message CROSS JOIN (SELECT count(*) FROM opened) AS numbered_before
)
SELECT conversation_id, status, next_attempt_at, expires_at, failed_at, error_code, error_message, created_at, id
FROM message"""

# What the messages of a batch differ in, as jsonb_to_recordset reads it.
WISH = {
    "id": "uuid",
    "parent_id": "uuid",
    "type": "text",
    "sender": "text",
    "recipient": "text",
    "subject": "text",
    "body": "text",
    "html": "text",
    "attachments": "jsonb",
    "metadata": "jsonb",
    "on_unresolved": "text",
    "provider": "text",
    "send_at": "timestamptz",
    "expires_at": "timestamptz",
    "unsubscribe": "boolean",
    "message_id_header": "text",
    "reference_headers": "text",
    "conversation_id": "uuid",
    "participants_key": "text",
    "channel_type": "text",
    "place": "integer",
    "pseudonyms": "text[]",
}

INSERT_MESSAGE = (
    """,
accepted AS MATERIALIZED (
    SELECT id AS conversation_id, clock_timestamp() AS at,
        CASE WHEN %(status)s = 'pending' AND {opted_out} THEN 'failed' ELSE %(status)s END AS status
    FROM conversation
),""".replace(
        "{opted_out}",
        OPTED_OUT.format(
            channel_type="%(channel_type)s",
            sender="%(sender)s",
            recipient="ANY(lower(%(recipient)s) || %(pseudonyms)s::text[])",
        ),
    )
    + _INSERT_MESSAGES.format(**{name: f"%({name})s" for name in WISH})
)

# Conversations are locked in the order of their keys, so that no two batches can block each other for ever; the time is
# read when all are, and the place in the batch is the order within a conversation.
_WISHED = """
WITH wish AS MATERIALIZED (SELECT * FROM jsonb_to_recordset(%(wishes)s::jsonb) AS w ({columns})),
archived AS MATERIALIZED (
    SELECT id FROM conversations_conversation
    WHERE participants_key = ANY(ARRAY(SELECT participants_key FROM wish)) AND type = 'direct' AND status = 'archived'
),
conversation AS (
    INSERT INTO conversations_conversation AS c (
        id, participants_key, participant_from, participant_to, channel_type, type, status, title, metadata,
        test, last_message_at, message_count, unread_count, created_at, updated_at)
    SELECT DISTINCT ON (participants_key)
        conversation_id, participants_key, sender, recipient, channel_type, 'direct', 'active', '', '{{}}'::jsonb,
        %(test)s, clock_timestamp(), count(*) OVER (PARTITION BY participants_key), 0,
        clock_timestamp(), clock_timestamp()
    FROM wish ORDER BY participants_key, place
    ON CONFLICT (participants_key) WHERE type = 'direct' AND status IN ('active', 'archived')
    DO UPDATE SET message_count = c.message_count + EXCLUDED.message_count, status = 'active',
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    RETURNING id, participants_key, xmax = 0 AS is_new
),
moment AS MATERIALIZED (SELECT clock_timestamp() AS now FROM (SELECT count(*) FROM conversation) AS locked),
accepted AS MATERIALIZED (
    SELECT {kept}, conversation.id AS conversation_id, moment.now + wish.place * interval '1 microsecond' AS at,
        CASE WHEN {opted_out} THEN 'failed' ELSE 'pending' END AS status
    FROM wish JOIN conversation USING (participants_key) CROSS JOIN moment
    ORDER BY wish.place
),"""
INSERT_BATCH = _WISHED.format(
    columns=", ".join(f"{name} {kind}" for name, kind in WISH.items()),
    kept=", ".join(f"wish.{name}" for name in WISH if name != "conversation_id"),
    opted_out=OPTED_OUT.format(
        channel_type="wish.channel_type",
        sender="wish.sender",
        recipient="ANY(lower(wish.recipient) || wish.pseudonyms)",
    ),
) + _INSERT_MESSAGES.format(**{name: name for name in WISH})

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


class AcceptanceQuerySet(ClaimQuerySet):
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
                cursor.execute(JOIN_CONVERSATION + INSERT_MESSAGE, joining)
                row = cursor.fetchone()
                if row is not None:
                    return inserted(message, row[:-1])
                parameters["conversation_type"] = Conversation.Type.DIRECT
            cursor.execute(OPEN_CONVERSATION + INSERT_MESSAGE, parameters)
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
            cursor.execute(INSERT_BATCH, {**shared, "wishes": json.dumps(wishes)})
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
    return {name: each if isinstance(each := values[name], PLAIN) else str(each) for name in WISH}


def inserted(message: "Message", row: Sequence[Any]) -> "Message":
    """Return a message as the database made it."""
    for name, value in zip(DECIDED_AT_INSERT, row, strict=True):
        setattr(message, name, value)
    message.updated_at = message.created_at
    message._state.adding = False
    message._state.db = connection.alias
    return message
