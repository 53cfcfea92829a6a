"""`manage.py worker_health sms@HOST`: does this worker consume what it is there for? For a container's health check."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from messaging_project.health import WORKER_SILENT_AFTER
from messaging_project.models import Heartbeat


class Command(BaseCommand):
    """Exit code 0 while the worker beats for its queue, 1 with a sentence when it does not."""

    help = "Say whether a worker of this name was seen consuming its queue lately."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the worker's name."""
        parser.add_argument("worker", help="the name that it goes by, such as sms@HOST")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask the heartbeats. Raises `CommandError`."""
        worker, since = options["worker"], timezone.now() - WORKER_SILENT_AFTER
        if not Heartbeat.objects.filter(worker=worker, part__startswith="queue ", seen_at__gt=since).exists():
            raise CommandError(f"{worker} was not seen consuming a queue for {WORKER_SILENT_AFTER.seconds} s.")
