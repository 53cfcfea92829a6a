"""The staff's pages, one file per noun."""

from conversations.admin.conversation import ConversationAdmin
from conversations.admin.message import MessageAdmin
from conversations.admin.opt_out import OptOutAdmin

__all__ = ["ConversationAdmin", "MessageAdmin", "OptOutAdmin"]
