"""The nouns of the domain, one file each."""

from conversations.models.client import ApiKey, Client
from conversations.models.conversation import Conversation
from conversations.models.event import ConversationEvent, MessageEvent
from conversations.models.idempotency import IdempotencyKey
from conversations.models.identity import DatabaseIdentity
from conversations.models.media import Media
from conversations.models.message import Message
from conversations.models.note import Note
from conversations.models.opt_out import OptOut
from conversations.models.pace import SenderPace
from conversations.models.work_list import NotReached, Scheduled

__all__ = [
    "ApiKey",
    "Client",
    "Conversation",
    "ConversationEvent",
    "DatabaseIdentity",
    "IdempotencyKey",
    "Media",
    "Message",
    "MessageEvent",
    "NotReached",
    "Note",
    "OptOut",
    "Scheduled",
    "SenderPace",
]
