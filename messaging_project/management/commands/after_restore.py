"""`manage.py after_restore`: let a database that came out of a backup go on, without sending anything twice."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from conversations.models import DatabaseIdentity, Message
from conversations.models.status import Status
from messaging_project.health import WORKER_SILENT_AFTER
from messaging_project.models import Heartbeat
from messaging_project.tally import count_everything, count_from_here
from webhooks import restoring

DOUBTED_AT_ONCE = 1_000


class Command(BaseCommand):
    """Turns what may have been sent since the backup into `uncertain`, and only then lets this database send.

    In transactions of some thousands of rows: begun again after an interruption it goes on from there.
    """

    help = (
        "Let a restored copy go on. What was waiting or being sent when the backup was made may have been sent since:"
        " it becomes uncertain and is settled with its provider. What is scheduled for later stays as it is. See"
        " docs/backup.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what nobody can see from in here."""
        parser.add_argument(
            "--physical",
            action="store_true",
            help="the database was restored from its files (a base backup, a point in time, a snapshot of a disk), in"
            " which it can't be told from the original",
        )
        parser.add_argument(
            "--nothing-was-sent",
            action="store_true",
            help="nothing was sent since the dump, as everything stood still: a move to another server. What waits"
            " stays pending",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError` while workers run on what can't be told from an original."""
        home = DatabaseIdentity.objects
        if not home.is_copy():
            if not options["physical"]:
                self.stdout.write("This database is no copy: nothing was changed. Restored from files? --physical")
                return
            refuse_beside_workers()
        if not home.has_own_numbers():
            self.take_timelines_over()
        if not options["nothing_was_sent"]:
            restoring.skip_sequences()
            self.doubt()
        home.take_home()
        self.report()

    def take_timelines_over(self) -> None:
        """Let what subscribers were told, and what was counted, stay so."""
        count_everything()
        read = sum(restoring.let_be_read())
        with transaction.atomic():
            new = restoring.read_on_from_here()
            count_from_here()
        self.stdout.write(f"Timelines: {read} events were numbered anew, {new} are still to be told to subscribers.")

    def doubt(self) -> None:
        """Turn what may have been sent since the backup into doubts."""
        count = 0
        while some := Message.objects.doubt_restored(limit=DOUBTED_AT_ONCE):
            count += some
        self.stdout.write(f"Uncertain, as they may have been sent since the backup: {count} messages.")

    def report(self) -> None:
        """Say what is left to be settled and to be sent."""
        now = timezone.now()
        doubts = Counter(
            dict(Message.objects.filter(status=Status.UNCERTAIN).values_list("type").annotate(Count("pk")))
        )
        scheduled = Message.objects.filter(status=Status.PENDING, send_at__gt=now).count()
        each = ", ".join(f"{count} {channel}" for channel, count in doubts.most_common())
        self.stdout.write(f"To be settled with the providers: {each or 'nothing'}. Scheduled for later: {scheduled}.")
        self.stdout.write(self.style.SUCCESS("This database is no copy any more: start the workers."))


def refuse_beside_workers() -> None:
    """Raise `CommandError` while workers run: what they are sending at this moment is no doubt."""
    since = timezone.now() - WORKER_SILENT_AFTER
    if Heartbeat.objects.filter(part__startswith="queue ", seen_at__gt=since).exists():
        raise CommandError("Workers run on this database, or did until a moment ago. Stop them first.")
