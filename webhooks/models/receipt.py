"""What came through the doors."""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import ClassVar

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, OperationalError, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from conversations.models import Message
from conversations.models.media import is_deleted
from conversations.receiving import receive
from conversations.redaction import kept_for
from providers import routes
from providers.base import CallbackPart, Provider
from providers.errors import UnreadableCallback

logger = logging.getLogger(__name__)

TRIED_FOR = timedelta(days=1)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5, 3600


class StorageAway(Exception):
    """What a callback brought could not be stored, so it must come again."""


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    """How receipts are kept and found again."""

    def keep(
        self, provider: str, parts: Sequence[CallbackPart], *, verified: bool, backfilled: bool = False
    ) -> list["Receipt"]:
        """Store what a callback says; return those receipts among them that have not taken effect yet.

        From here on it can't be lost. What came before is not stored twice. Raises `StorageAway`.
        """
        keys = [part.dedupe_key for part in parts]
        receipts = [Receipt.of_part(provider, part, verified) for part in parts]
        for receipt in receipts:
            receipt.backfilled = backfilled
        self.bulk_create(receipts, ignore_conflicts=True)
        self._remove_bodies_of_repetitions(receipts)
        waiting = self.filter(dedupe_key__in=keys, result=Receipt.Result.WAITING, applied_at=None)
        return list(waiting.order_by("id"))

    def _remove_bodies_of_repetitions(self, receipts: Sequence["Receipt"]) -> None:
        """Delete what was stored for callbacks that were known already; what is known is never replaced."""
        stored = {str(receipt.body) for receipt in receipts if receipt.body}
        kept = set(self.filter(body__in=stored).values_list("body", flat=True)) if stored else set()
        for name in stored - kept:
            is_deleted(name)

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

    def forget_old(self, limit: int) -> int:
        """Delete up to `limit` settled receipts past RECEIPT_RETENTION_DAYS, or past the time for which messages of
        their account are kept, with their mails; return how many.
        """
        settled, now = self.filter(next_attempt_at=None).order_by("received_at"), timezone.now()
        old = [settled.filter(received_at__lt=now - timedelta(days=settings.RECEIPT_RETENTION_DAYS))]
        for account in routes.account_names():
            kept = kept_for(routes.channels_of(account) or Message.Type.values)
            if kept is not None:
                old.append(settled.filter(provider=account, received_at__lt=now - kept))
        return sum(each[:limit].forget() for each in old)

    def forget(self) -> int:
        """Delete these with their mails, but for those whose mail the storage won't delete; return how many."""
        rows = self.values_list("pk", "body")
        return Receipt.objects.filter(pk__in=[pk for pk, name in rows if not name or is_deleted(name)]).delete()[0]

    def apply_again(self) -> Counter[str]:
        """Let these take effect anew, now; return how many stand with which result then. What already took effect
        changes nothing.
        """
        results: Counter[str] = Counter()
        for receipt in self.order_by("id").iterator(chunk_size=500):
            self.filter(pk=receipt.pk).update(next_attempt_at=Now())
            receipt.apply()
            receipt.refresh_from_db(fields=["result"])
            results[receipt.get_result_display()] += 1
        return results


class Receipt(models.Model):
    """One fact from a provider's callback, exactly as it came, and whether it has taken effect."""

    class Result(models.TextChoices):
        """What became of it."""

        WAITING = "", "Not yet applied"
        APPLIED = "applied"
        ORPHAN = "orphan", "No message of ours is meant"
        KEPT = "kept", "Kept, changes nothing"
        FAILED = "failed", "Could not be applied"

    provider = models.CharField(max_length=50)
    kind = models.CharField(max_length=10)
    dedupe_key = models.CharField(max_length=100, unique=True)
    payload = models.JSONField()
    body = models.FileField(max_length=255, blank=True, default="", db_default="")
    verified = models.BooleanField()
    backfilled = models.BooleanField(
        default=False, db_default=False, help_text="Fetched from the provider, as it could not be delivered"
    )
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
            models.Index(fields=["received_at"], name="receipts_to_forget"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.kind} {self.pk}"

    @classmethod
    def of_part(cls, provider: str, part: CallbackPart, verified: bool) -> "Receipt":
        """Return an unsaved receipt; what no JSON should carry is in the storage by then. Raises `StorageAway`."""
        receipt = cls(
            provider=provider, kind=part.kind, payload=part.payload, dedupe_key=part.dedupe_key, verified=verified
        )
        if part.body:
            try:
                # Another body under the same key is another file: who repeats a key replaces nothing.
                name = f"{receipt.folder}/{sha256(part.body).hexdigest()}"
                receipt.body = default_storage.save(name, ContentFile(part.body))
            except Exception as error:  # each storage raises its own
                logger.error("%s: a callback could not be stored: %s", provider, type(error).__name__)
                raise StorageAway from None
        return receipt

    @property
    def folder(self) -> str:
        """The folder that a body lies in."""
        return f"receipts/{self.dedupe_key.replace(':', '/')}"

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
        elif Message.objects.apply_report(
            self.provider, provider.read_report(self.payload), received_at=self.received_at
        ):
            self._close(Receipt.Result.APPLIED)
        else:
            self.result = Receipt.Result.ORPHAN
            self._postpone()
            self.save(update_fields=["result", "attempts", "next_attempt_at"])

    def _receive(self, provider: Provider) -> None:
        try:
            inbound = provider.read_inbound(self.payload, self._read_body())
        except UnreadableCallback as error:
            # Reading it again would not read better; what came stays here for a person.
            self._close(Receipt.Result.KEPT, error=str(error)[:200])
        else:
            receive(self.provider, inbound, self.received_at)
            self._close(Receipt.Result.APPLIED)

    def _read_body(self) -> bytes:
        if not self.body:
            return b""
        with self.body.open() as file:
            return bytes(file.read())

    def _close(self, result: Result, *, error: str = "") -> None:
        self.result, self.next_attempt_at, self.error = result, None, error
        self.applied_at = self.applied_at or timezone.now()
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
            if self.next_attempt_at is None:
                self.result = Receipt.Result.FAILED
            self.save(update_fields=["attempts", "next_attempt_at", "error", "result"])
        except OperationalError:
            logger.warning("receipt %s stays due: the database is away", self.pk)


class RefusalQuerySet(models.QuerySet["Refusal"]):
    """How refusals are counted."""

    def count_one(self, provider: str, reason: str) -> None:
        """Count a callback that was not let in. Never raises: the answer to it matters more than the count."""
        this_hour = {
            "provider": provider,
            "reason": reason,
            "hour": timezone.now().replace(minute=0, second=0, microsecond=0),
        }
        counted = self.filter(**this_hour)
        try:
            with transaction.atomic():
                if not counted.update(count=F("count") + 1):
                    self.bulk_create([Refusal(**this_hour)], ignore_conflicts=True)
                    counted.update(count=F("count") + 1)
        except DatabaseError as error:
            logger.warning("%s: a refused callback could not be counted: %s", provider, type(error).__name__)


class Refusal(models.Model):
    """How many callbacks a door did not let in within an hour; of the callbacks themselves nothing is kept."""

    class Reason(models.TextChoices):
        """What was wrong with them."""

        FORGED = "forged", "Signature wrong or malformed"
        UNSIGNED = "unsigned", "Signature missing"
        UNREADABLE = "unreadable", "Nothing in it could be read"
        OVERSIZED = "oversized", "Larger than the door takes"

    provider = models.CharField(max_length=50)
    reason = models.CharField(max_length=10, choices=Reason.choices)
    hour = models.DateTimeField()
    count = models.PositiveBigIntegerField(default=0)

    objects: ClassVar[models.Manager["Refusal"]] = RefusalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "reason", "hour"], name="one_count_of_refusals_per_hour")
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.count} {self.reason}"
