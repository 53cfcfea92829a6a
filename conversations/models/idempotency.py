"""Which key made which message, so that the same request makes it once."""

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

REMEMBERED_FOR = timedelta(days=7)


class IdempotencyKeyQuerySet(models.QuerySet["IdempotencyKey"]):
    """How keys are taken and forgotten."""

    def take_for_batch(self, client_id: int | None, key: str, fingerprint: str) -> tuple["IdempotencyKey", bool]:
        """Reserve a client's key for a batch; return its row, and whether it is new. Waits as `take` does."""
        new = {"fingerprint": fingerprint, "results": []}
        return self.get_or_create(client_id=client_id, key=key, defaults=new)  # type: ignore[misc]  # None is one

    def take(self, client_id: int | None, key: str, fingerprint: str, message_id: UUID) -> bool:
        """Reserve a client's key for a message that the same transaction goes on to insert; False if it is taken.

        Waits for whoever is reserving the same key at the same time, until that transaction ends.
        """
        self.bulk_create(
            [IdempotencyKey(client_id=client_id, key=key, fingerprint=fingerprint, message_id=message_id)],
            ignore_conflicts=True,
        )
        made = self.filter(client_id=client_id, key=key, message_id=message_id)  # type: ignore[misc]  # None is one
        return made.exists()

    def forget_old(self, limit: int) -> int:
        """Delete up to `limit` keys that were remembered for long enough; return how many."""
        old = self.filter(created_at__lt=timezone.now() - REMEMBERED_FOR).values("pk")[:limit]
        return self.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]


class IdempotencyKey(models.Model):
    """A client's name for one request, the fingerprint of that request's body, and the message it made.

    Of a batch `results` are kept instead: for each of its messages an id, or the errors.
    """

    client = models.ForeignKey("conversations.Client", on_delete=models.CASCADE, null=True, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    message = models.ForeignKey("conversations.Message", on_delete=models.SET_NULL, null=True, related_name="+")
    results = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    objects: ClassVar[models.Manager["IdempotencyKey"]] = IdempotencyKeyQuerySet.as_manager()

    if TYPE_CHECKING:
        client_id: int | None
        message_id: UUID | None

    class Meta:
        constraints = [
            # Without a client it is the local development client's, or of a form that staff filled in.
            models.UniqueConstraint(fields=["client", "key"], name="one_request_per_key", nulls_distinct=False)
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_keys_to_forget")]

    def __str__(self) -> str:
        return f"key {self.pk}"
