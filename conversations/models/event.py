"""What was recorded on a message's way, and of conversations: also the outbox of what subscribers are told."""

from django.db import models
from django.db.models import Func
from django.db.models.functions import Cast, Now


def next_event_number() -> Func:
    """Return the next of the numbers that all timelines share: in the order of writing, whatever they are about.

    A number tells the order of two events where one was committed before the other was written. So it does of all
    events of a message, which are written while its row is locked, and of everything that happens one after the other.
    """
    return Func(template="nextval('conversations_event_number')", output_field=models.BigIntegerField())


def snapshot_at_writing() -> Cast:
    """Return which transactions are over when a row is written, in PostgreSQL's own words, as a default of a column."""
    return Cast(Func(function="pg_current_snapshot", output_field=models.TextField()), models.TextField())


def current_transaction() -> Cast:
    """Return the database's number of the transaction that writes, which tells whoever reads on what he has not seen.

    https://www.postgresql.org/docs/18/functions-info.html#FUNCTIONS-PG-SNAPSHOT
    """
    number = Func(function="pg_current_xact_id", output_field=models.TextField())
    return Cast(Cast(number, models.TextField()), models.BigIntegerField())


class MessageEvent(models.Model):
    """One line in a message's timeline: what became known, when, and on whose word."""

    class Evidence(models.TextChoices):
        """How we know."""

        REPORTED = "reported", "The provider reported it"
        OBSERVED = "observed", "We saw it ourselves"
        ASSUMED = "assumed", "Concluded from silence"

    id = models.BigIntegerField(primary_key=True, db_default=next_event_number(), editable=False)
    message = models.ForeignKey(
        "conversations.Message", on_delete=models.CASCADE, related_name="events", db_index=False
    )
    status = models.CharField(max_length=30)
    evidence = models.CharField(max_length=8, choices=Evidence.choices)
    attempt = models.PositiveIntegerField(default=0)
    code = models.CharField(max_length=50, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField(db_default=Now())
    transaction_number = models.BigIntegerField(db_default=current_transaction(), editable=False)

    class Meta:
        indexes = [
            models.Index(fields=["message", "id"], name="events_of_message"),
            models.Index(fields=["transaction_number", "id"], name="events_to_tell"),
        ]
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.status} ({self.evidence})"


class ConversationEvent(models.Model):
    """What happened to a conversation."""

    class Kind(models.TextChoices):
        """`updated` is a change of title, status or metadata; becoming closed has a word of its own."""

        CREATED = "created"
        UPDATED = "updated"
        CLOSED = "closed"

    id = models.BigIntegerField(primary_key=True, db_default=next_event_number(), editable=False)
    conversation = models.ForeignKey("conversations.Conversation", on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=7, choices=Kind.choices)
    at = models.DateTimeField(db_default=Now())
    transaction_number = models.BigIntegerField(db_default=current_transaction(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["transaction_number", "id"], name="conversation_events_to_tell")]
        ordering = ["id"]

    def __str__(self) -> str:
        return self.kind
