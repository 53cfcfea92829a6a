"""The staff's pages, one file per noun."""

from conversations.admin.client import ApiKeyAdmin, ClientAdmin
from conversations.admin.conversation import ConversationAdmin
from conversations.admin.message import MessageAdmin
from conversations.admin.opt_out import OptOutAdmin
from conversations.admin.work_list import NotReachedAdmin, ScheduledAdmin

__all__ = [
    "ApiKeyAdmin",
    "ClientAdmin",
    "ConversationAdmin",
    "MessageAdmin",
    "NotReachedAdmin",
    "OptOutAdmin",
    "ScheduledAdmin",
]
