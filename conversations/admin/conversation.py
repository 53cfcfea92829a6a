"""Conversations in the admin."""

from django.contrib import admin

from conversations.admin.conversation_changes import ConversationChanges
from conversations.admin.conversation_list import ConversationList
from conversations.admin.reading import ReadOnly
from conversations.models import Conversation


@admin.register(Conversation)
class ConversationAdmin(ReadOnly, ConversationList, ConversationChanges):
    """Who writes with whom: a list, and for each a page to read it on, to answer and to take notes."""
