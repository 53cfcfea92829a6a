"""What the parts of the system say about being alive."""

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from messaging_project.tally import Counted, Tally

__all__ = ["Counted", "Heartbeat", "Tally"]


class Heartbeat(models.Model):
    """The last time that a worker of a queue, or a sweep, was seen at work.

    Rows in the database, not a broadcast over the broker: they tell the truth also while Redis is away.
    """

    KEPT_FOR = timedelta(days=1)
    START = "start"
    RESTARTED_WITHIN = timedelta(minutes=15)

    part = models.CharField(max_length=50)
    """`queue sms` for a worker that consumes it, `sweep conversations` for a sweep that ran, `start` for a worker that
    started."""
    worker = models.CharField(max_length=255)
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["part", "worker"], name="one_heartbeat_per_part_and_worker")]

    def __str__(self) -> str:
        return f"{self.part} by {self.worker}"

    @staticmethod
    def beat(parts: list[str], worker: str) -> None:
        """Say that this worker is at work on these parts, and forget workers that were gone for a day."""
        now = timezone.now()
        Heartbeat.objects.bulk_create(
            [Heartbeat(part=part, worker=worker, seen_at=now) for part in parts],
            update_conflicts=True,
            unique_fields=["part", "worker"],
            update_fields=["seen_at"],
        )
        Heartbeat.objects.filter(seen_at__lt=now - Heartbeat.KEPT_FOR).delete()

    @staticmethod
    def note_start(worker: str) -> bool:
        """Note that a worker starts; say whether one of its name did within the quarter of an hour before.

        So it is no restart when there are more workers, or when new containers take the place of others.
        """
        lately = timezone.now() - Heartbeat.RESTARTED_WITHIN
        started = Heartbeat.objects.filter(part=Heartbeat.START, worker=worker, seen_at__gt=lately).exists()
        Heartbeat.beat([Heartbeat.START], worker)
        return started
