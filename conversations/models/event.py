"""What was recorded on a message's way."""

from django.db import models
from django.db.models.functions import Now


class MessageEvent(models.Model):
    """One line in a message's timeline: what became known, when, and on whose word."""

    class Evidence(models.TextChoices):
        """How we know."""

        REPORTED = "reported", "The provider reported it"
        OBSERVED = "observed", "We saw it ourselves"
        ASSUMED = "assumed", "Concluded from silence"

    message = models.ForeignKey(
        "conversations.Message", on_delete=models.CASCADE, related_name="events", db_index=False
    )
    status = models.CharField(max_length=30)
    evidence = models.CharField(max_length=8, choices=Evidence.choices)
    attempt = models.PositiveIntegerField(default=0)
    code = models.CharField(max_length=50, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["message", "id"], name="events_of_message")]
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.status} ({self.evidence})"
