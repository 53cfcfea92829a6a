"""What came through the doors."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, ClassVar

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, OperationalError, connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from conversations.models import Message
from conversations.models.media import is_deleted
from conversations.models.prepared import prepared_cursor
from conversations.models.report import ReceivedReport
from conversations.receiving import receive
from conversations.redaction import kept_for
from providers import routes
from providers.base import CallbackPart, Provider
from providers.errors import UnreadableCallback

logger = logging.getLogger(__name__)

TRIED_FOR = timedelta(days=1)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5, 3600

PART = ("kind", "dedupe_key", "payload", "body")

# Numbered as they came, which is the order in which they take effect; inserted in the order of their keys, so that no
# two of the same callbacks in another order can block each other for ever. What is taken takes effect in the same
# transaction, so it is never due.
KEEP = """
WITH part AS MATERIALIZED (
    SELECT nextval('webhooks_receipt_id_seq') AS id, kind, dedupe_key, payload, body
    FROM jsonb_to_recordset(%(parts)s::jsonb) AS p (kind text, dedupe_key text, payload jsonb, body text)
)
INSERT INTO webhooks_receipt (
    id, provider, kind, dedupe_key, payload, body, verified, backfilled, result, applied_at, next_attempt_at, attempts,
    error)
SELECT
    id, %(provider)s, kind, dedupe_key, payload, body, %(verified)s, %(backfilled)s,
    CASE WHEN %(taken)s THEN 'applied' ELSE '' END,
    CASE WHEN %(taken)s THEN statement_timestamp() END,
    CASE WHEN NOT %(taken)s THEN statement_timestamp() END,
    0, ''
FROM part ORDER BY dedupe_key, id
ON CONFLICT (dedupe_key) DO NOTHING
RETURNING dedupe_key, id, received_at"""

# Closed before they take effect, in the same transaction: of two who apply the same receipt one finds nothing to do.
TAKE = """
UPDATE webhooks_receipt AS receipt
SET result = 'applied', applied_at = COALESCE(applied_at, statement_timestamp()), next_attempt_at = NULL, error = ''
FROM (
    SELECT id FROM webhooks_receipt WHERE id = ANY(%(ids)s) AND next_attempt_at <= statement_timestamp()
    ORDER BY id FOR UPDATE SKIP LOCKED
) AS due
WHERE receipt.id = due.id
RETURNING receipt.id"""


class StorageAway(Exception):
    """What a callback brought could not be stored, so it must come again."""


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    """How receipts are kept and found again."""

    def keep(
        self, provider: str, parts: Sequence[CallbackPart], *, verified: bool, backfilled: bool = False
    ) -> list["Receipt"]:
        """Store what a callback says, by one statement; return the receipts of what had not come before, in its order.

        From here on it can't be lost. What came before is not stored twice, and takes effect by who stored it, or by
        the sweep. Raises `StorageAway`.
        """
        return self._store(provider, parts, verified=verified, backfilled=backfilled)

    def keep_and_apply(self, provider: str, parts: Sequence[CallbackPart], *, verified: bool) -> None:
        """Store what a callback reports and let it take effect, in one transaction; where that fails, first the one and
        then the other. Either way all of it is stored by the end.
        """
        try:
            with transaction.atomic():
                take_effect(self._store(provider, parts, verified=verified, taken=True))
        except Exception as error:
            logger.warning("%s: reports could not be applied at once: %s", provider, type(error).__name__)
            self.apply(self.keep(provider, parts, verified=verified))

    def _store(
        self,
        provider: str,
        parts: Sequence[CallbackPart],
        *,
        verified: bool,
        backfilled: bool = False,
        taken: bool = False,
    ) -> list["Receipt"]:
        if not parts:
            return []
        receipts = [Receipt.of_part(provider, part, verified) for part in parts]
        values: dict[str, Any] = {"provider": provider, "verified": verified, "backfilled": backfilled, "taken": taken}
        told = json.dumps([{name: getattr(each, name) for name in PART} for each in receipts], default=str)
        with prepared_cursor() as cursor:
            cursor.execute(KEEP, {**values, "parts": told})
            stored = {key: numbers for key, *numbers in cursor.fetchall()}
        self._remove_bodies_of_repetitions(receipts)
        new = []
        for receipt in receipts:
            if numbers := stored.pop(receipt.dedupe_key, None):
                receipt.pk, receipt.received_at = numbers
                new.append(receipt)
        return new

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
        """Return what has to be tried (again) now, longest due first, what came together in its order."""
        return self.filter(next_attempt_at__lte=timezone.now()).order_by("next_attempt_at", "id")

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

    def apply(self, receipts: Sequence["Receipt"]) -> None:
        """Let these take effect, each once. Never raises.

        All that can take effect at once does, or nothing of it; then each is tried by itself, so that none keeps
        another from counting. What fails by itself is due again later.
        """
        for some in applied_at_once(receipts):
            try:
                self._apply_at_once(some)
            except Exception as error:
                if len(some) == 1:
                    some[0].try_again_later(error)
                    continue
                logger.warning("%s receipts could not be applied at once: %s", len(some), type(error).__name__)
                for each in some:
                    self.apply([each])

    @transaction.atomic
    def _apply_at_once(self, receipts: Sequence["Receipt"]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(TAKE, {"ids": [each.pk for each in receipts]})
            taken = {pk for (pk,) in cursor.fetchall()}
        take_effect([each for each in receipts if each.pk in taken])

    def apply_again(self) -> Counter[str]:
        """Let these take effect anew, now; return how many stand with which result then. What already took effect
        changes nothing.
        """
        results: Counter[str] = Counter()
        for receipt in self.order_by("id").iterator(chunk_size=500):
            self.filter(pk=receipt.pk).update(next_attempt_at=Now())
            Receipt.objects.apply([receipt])
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
            provider=provider,
            kind=part.kind,
            payload=part.payload,
            dedupe_key=part.dedupe_key,
            verified=verified,
            # The database has the last word on these; Django's placeholders for them cost more than all the others.
            received_at=timezone.now(),
            next_attempt_at=None,
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

    def receive(self, account: Provider) -> None:
        """Let a message that came in be one of ours, unless it can't be read."""
        try:
            inbound = account.read_inbound(self.payload, self._read_body())
        except UnreadableCallback as error:
            # Reading it again would not read better; what came stays here for a person.
            Receipt.objects.filter(pk=self.pk).update(result=self.Result.KEPT, error=str(error)[:200])
        else:
            receive(self.provider, inbound, self.received_at)

    def _read_body(self) -> bytes:
        if not self.body:
            return b""
        with self.body.open() as file:
            return bytes(file.read())

    def postpone(self) -> None:
        """Come due again after a doubling pause, for a day: a message may be restored or written late."""
        self.attempts += 1
        now = timezone.now()
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (self.attempts - 1), LONGEST_PAUSE_SECONDS)
        self.next_attempt_at = now + timedelta(seconds=pause) if now < self.received_at + TRIED_FOR else None

    def try_again_later(self, error: Exception) -> None:
        """Write down why it could not be applied, and come due again."""
        self.error = type(error).__name__
        logger.error("the receipt could not be applied", exc_info=error, extra={"receipt_id": self.pk})
        try:
            self.postpone()
            if self.next_attempt_at is None:
                self.result = Receipt.Result.FAILED
            self.save(update_fields=["attempts", "next_attempt_at", "error", "result"])
        except OperationalError:
            logger.warning("the receipt stays due: the database is away", extra={"receipt_id": self.pk})


def applied_at_once(receipts: Sequence[Receipt]) -> list[list[Receipt]]:
    """Part receipts into what takes effect together: each message that came in by itself, as long as mails can be, and
    first all else.
    """
    others = [each for each in receipts if each.kind != "inbound"]
    return [*([others] if others else []), *([each] for each in receipts if each.kind == "inbound")]


def take_effect(receipts: Sequence[Receipt]) -> None:
    """Let receipts take effect that are taken, all reports on messages at once; write down of which none came."""
    kept, told, reports = list[Receipt](), list[Receipt](), list[ReceivedReport]()
    for each in receipts:
        account = routes.account_named(each.provider)
        if account is None or each.kind not in ("status", "inbound"):
            kept.append(each)
        elif each.kind == "inbound":
            each.receive(account)
        else:
            report = account.read_report(each.payload)
            told.append(each)
            reports.append(ReceivedReport(account=each.provider, report=report, received_at=each.received_at))
    are_ours = Message.objects.apply_reports(reports)
    orphans = [each for each, is_ours in zip(told, are_ours, strict=True) if not is_ours]
    for each in orphans:
        each.result = Receipt.Result.ORPHAN
        each.postpone()
    if kept:
        Receipt.objects.filter(pk__in=[each.pk for each in kept]).update(result=Receipt.Result.KEPT)
    Receipt.objects.bulk_update(orphans, ["result", "applied_at", "attempts", "next_attempt_at"])


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
