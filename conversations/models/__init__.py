"""The nouns of the domain, one file each."""

from conversations.models.conversation import Conversation
from conversations.models.message import Message, MessageEvent

__all__ = ["Conversation", "Message", "MessageEvent"]
