"""The app of the border."""

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    """What we know of the providers' accounts."""

    name = "providers"
