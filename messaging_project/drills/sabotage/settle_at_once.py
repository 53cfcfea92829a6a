"""A doubt is looked up the moment it arises, when the provider may still be taking the message over."""

from messaging_project.settings import *  # noqa: F403

SETTLE_SECONDS = 0.0
