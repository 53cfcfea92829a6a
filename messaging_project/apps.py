"""The app of what spans the apps."""

import logging
from collections import Counter
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.admin import apps as admin_apps
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import DatabaseError, models

from messaging_project.audit import record_failure, record_login, record_logout
from messaging_project.celery import say_alive, say_gone, say_started
from messaging_project.sessions import forget_expired

logger = logging.getLogger(__name__)


class StaffConfig(admin_apps.AdminConfig):
    """Django's admin, with our index; listed among the apps in the place of Django's."""

    default = False
    default_site = "messaging_project.site.Site"


class MessagingProjectConfig(AppConfig):
    """Wiring: heartbeats, probes, commands."""

    name = "messaging_project"
    default = True

    def ready(self) -> None:
        """Write down what workers say of being alive; a database that is away is no reason for them to stop."""
        say_alive.connect(self.write_heartbeat)
        say_gone.connect(self.forget_worker)
        user_logged_in.connect(record_login)
        user_logged_in.connect(forget_expired)
        user_logged_out.connect(record_logout)
        user_login_failed.connect(record_failure)
        say_started.connect(self.note_start)

    def write_heartbeat(self, parts: list[str], worker: str, **_: Any) -> None:
        """Keep a heartbeat for each part."""
        try:
            heartbeats().beat(parts, worker)
        except DatabaseError as error:
            logger.warning("the heartbeat of %s could not be written (%s)", worker, type(error).__name__)

    def forget_worker(self, worker: str, **_: Any) -> None:
        """Drop the heartbeats of a worker that is going; not when it started, as it may do so again."""
        try:
            heartbeats().objects.filter(worker=worker).exclude(part=heartbeats().START).delete()
        except DatabaseError as error:
            logger.warning("the heartbeats of %s could not be dropped (%s)", worker, type(error).__name__)

    def note_start(self, worker: str, queues: list[str], **_: Any) -> None:
        """Count a worker that starts again, and say where it has nothing to send before somebody has looked."""
        try:
            if apps.get_model("conversations", "DatabaseIdentity").objects.is_copy():
                logger.error("this database is a restored copy: nothing is sent until manage.py after_restore was run")
            if heartbeats().note_start(worker):
                tally = apps.get_model("messaging_project", "Tally").objects
                tally.add(Counter({("worker_restarts_total", queues[0]): 1}))
        except DatabaseError as error:
            logger.warning("the start of %s could not be noted (%s)", worker, type(error).__name__)


def heartbeats() -> Any:
    """Return the model, which can't be imported before the apps are ready."""
    model: type[models.Model] = apps.get_model("messaging_project", "Heartbeat")
    return model
