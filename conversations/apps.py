"""The app of conversations and their messages."""

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    """The domain."""

    name = "conversations"
