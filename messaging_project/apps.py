"""The app of what spans the apps."""

import logging
from typing import Any

from django.apps import AppConfig, apps
from django.db import DatabaseError

from messaging_project.celery import say_alive

logger = logging.getLogger(__name__)


class MessagingProjectConfig(AppConfig):
    """Wiring: heartbeats, probes, commands."""

    name = "messaging_project"

    def ready(self) -> None:
        """Write down what workers say of being alive."""
        say_alive.connect(self.write_heartbeat)

    def write_heartbeat(self, parts: list[str], worker: str, **_: Any) -> None:
        """Keep a heartbeat; a database that is away is no reason to stop working."""
        try:
            apps.get_model("messaging_project", "Heartbeat").beat(parts, worker)
        except DatabaseError as error:
            logger.warning("the heartbeat of %s could not be written (%s)", worker, type(error).__name__)
