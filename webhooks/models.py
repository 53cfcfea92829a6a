"""What came through the doors."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from django.db import DatabaseError, OperationalError, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from conversations.models import Message
from providers import routes
from providers.base import CallbackPart, Provider
from providers.errors import UnreadableCallback

logger = logging.getLogger(__name__)

TRIED_FOR = timedelta(days=1)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5, 3600


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    """How receipts are kept and found again."""

    def keep(self, provider: str, parts: Sequence[CallbackPart], *, verified: bool) -> list["Receipt"]:
        """Store what a callback says; return those receipts among them that have not taken effect yet.

        From here on it can't be lost. What came before is not stored twice.
        """
        receipts = [
            Receipt(
                provider=provider, kind=part.kind, payload=part.payload, dedupe_key=part.dedupe_key, verified=verified
            )
            for part in parts
        ]
        self.bulk_create(receipts, ignore_conflicts=True)
        return list(self.filter(dedupe_key__in=[part.dedupe_key for part in parts], result="").order_by("id"))

    def keep_oversized(self, provider: str) -> None:
        """Keep the fact that a callback was too large to be read, without its body.

        One a minute is enough to be seen: without a body there is no signature to check, so anybody can send these.
        """
        minute = timezone.now().strftime("%Y-%m-%dT%H:%M")
        part = CallbackPart(dedupe_key=f"{provider}:oversized:{minute}", kind="unknown", payload={"oversized": True})
        self.keep(provider, [part], verified=False)
        logger.warning("%s: a callback was too large to be read", provider)

    def due(self) -> "ReceiptQuerySet":
        """Return what has to be tried (again) now, longest due first."""
        return self.filter(next_attempt_at__lte=timezone.now()).order_by("next_attempt_at")


class Receipt(models.Model):
    """One fact from a provider's callback, exactly as it came, and whether it has taken effect."""

    class Result(models.TextChoices):
        """What became of it."""

        WAITING = "", "Not yet applied"
        APPLIED = "applied"
        ORPHAN = "orphan", "No message of ours is meant"
        KEPT = "kept", "Kept, changes nothing"

    provider = models.CharField(max_length=50)
    kind = models.CharField(max_length=10)
    dedupe_key = models.CharField(max_length=100, unique=True)
    payload = models.JSONField()
    verified = models.BooleanField()
    received_at = models.DateTimeField(db_default=Now())
    result = models.CharField(max_length=10, choices=Result.choices, blank=True, default="")
    applied_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, db_default=Now())
    error = models.CharField(max_length=200, blank=True)

    objects: ClassVar[models.Manager["Receipt"]] = ReceiptQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="receipts_to_apply"
            ),
            models.Index(fields=["provider", "-received_at"], name="receipts_latest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.kind} {self.pk}"

    def apply(self) -> None:
        """Let it take effect, once, in a transaction of its own. Never raises: what fails is due again later."""
        try:
            with transaction.atomic():
                due = Receipt.objects.select_for_update(skip_locked=True).filter(next_attempt_at__lte=Now())
                receipt = due.filter(pk=self.pk).first()
                if receipt is not None:
                    receipt._take_effect()
        except DatabaseError as error:
            # What PostgreSQL says of an error quotes the row, and a row holds what no log may hold.
            logger.error("receipt %s could not be applied: %s", self.pk, type(error).__name__)
            self._try_again_later(type(error).__name__)
        except Exception as error:
            logger.exception("receipt %s could not be applied", self.pk)
            self._try_again_later(type(error).__name__)

    def _take_effect(self) -> None:
        provider = routes.account_named(self.provider)
        if provider is None or self.kind not in ("status", "inbound"):
            self._close(Receipt.Result.KEPT)
        elif self.kind == "inbound":
            self._receive(provider)
        elif Message.objects.apply_report(self.provider, provider.read_report(self.payload)):
            self._close(Receipt.Result.APPLIED)
        else:
            self.result = Receipt.Result.ORPHAN
            self._postpone()
            self.save(update_fields=["result", "attempts", "next_attempt_at"])

    def _receive(self, provider: Provider) -> None:
        try:
            inbound = provider.read_inbound(self.payload)
        except UnreadableCallback as error:
            # Reading it again would not read better; what came stays here for a person.
            self._close(Receipt.Result.KEPT, error=str(error)[:200])
        else:
            Message.objects.receive(self.provider, inbound)
            self._close(Receipt.Result.APPLIED)

    def _close(self, result: Result, *, error: str = "") -> None:
        self.result, self.applied_at, self.next_attempt_at, self.error = result, timezone.now(), None, error
        self.save(update_fields=["result", "applied_at", "next_attempt_at", "error"])

    def _postpone(self) -> None:
        """Come due again after a doubling pause, for a day: a message may be restored or written late."""
        self.attempts += 1
        now = timezone.now()
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (self.attempts - 1), LONGEST_PAUSE_SECONDS)
        self.next_attempt_at = now + timedelta(seconds=pause) if now < self.received_at + TRIED_FOR else None

    def _try_again_later(self, error: str) -> None:
        try:
            self._postpone()
            self.error = error
            self.save(update_fields=["attempts", "next_attempt_at", "error"])
        except OperationalError:
            logger.warning("receipt %s stays due: the database is away", self.pk)
