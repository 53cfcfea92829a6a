"""Where Django looks for models."""

from messaging_project.benchmarks.yardsticks.naive import Conversation, Message

__all__ = ["Conversation", "Message"]
