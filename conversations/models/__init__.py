"""The nouns of the domain, one file each."""

from conversations.models.conversation import Conversation
from conversations.models.event import MessageEvent
from conversations.models.message import Message

__all__ = ["Conversation", "Message", "MessageEvent"]
