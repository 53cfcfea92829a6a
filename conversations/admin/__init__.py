"""The staff's pages, one file per noun."""

from conversations.admin.conversation import ConversationAdmin
from conversations.admin.message import MessageAdmin

__all__ = ["ConversationAdmin", "MessageAdmin"]
