"""The app of the doors."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """What providers tell us."""

    name = "webhooks"
