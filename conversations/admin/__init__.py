"""The staff's pages, one file per noun."""

from conversations.admin.client import ApiKeyAdmin, ClientAdmin
from conversations.admin.conversation import ConversationAdmin
from conversations.admin.message import MessageAdmin
from conversations.admin.opt_out import OptOutAdmin

__all__ = ["ApiKeyAdmin", "ClientAdmin", "ConversationAdmin", "MessageAdmin", "OptOutAdmin"]
