"""Pictures and files that came in."""

import logging
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast
from uuid import UUID

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from conversations.models.client import of_lane, of_senders
from providers import fetch, routes
from providers.base import InboundMedia
from providers.fetch import Refused, Unreachable

logger = logging.getLogger(__name__)

MEDIA_PATH = "/api/v1/media/"
"""Where the API has a file; `Message.attachments` names those that we keep by this and their id."""
FETCH_SECONDS = 20.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, MOST_ATTEMPTS = 10, 21_600, 10
SPOOLED_BYTES = 1024 * 1024


def is_deleted(name: str) -> bool:
    """Delete a file from the storage; return False, and say so, when the storage would not."""
    try:
        default_storage.delete(name)
    except Exception as error:  # each storage raises its own
        logger.error("%s could not be deleted: %s", name, type(error).__name__)
        return False
    return True


def delete_files(names: Sequence[str]) -> None:
    """Delete files of which nobody knows any more."""
    for name in names:
        is_deleted(name)


class MediaQuerySet(models.QuerySet["Media"]):
    """What is done to many files."""

    def visible_to(self, client: Any) -> "MediaQuerySet":
        """Return those of conversations that have one of the client's addresses."""
        ends = ("message__conversation__participant_from", "message__conversation__participant_to")
        return self.filter(of_senders(client, *ends), of_lane(client, "message__test"))

    def store(self, inbound: Sequence[InboundMedia], folder: str) -> list["Media"]:
        """Return unsaved rows for what came with a message; what was brought along is in the storage by then.

        The same folder gives the same files, so a second try leaves nothing behind. Raises OSError, or what else the
        storage raises, when it is away.
        """
        return [Media.of_inbound(each, number, f"{folder}/{number}") for number, each in enumerate(inbound)]

    def take_due(self, limit: int) -> list["Media"]:
        """Return files that have to be fetched now. They come due again by themselves unless that is written down."""
        return list(self._take_due(Media.Status.WAITING, limit).select_related("message"))

    def _take_due(self, status: str, limit: int) -> "MediaQuerySet":
        pauses = {"pause": FIRST_PAUSE_SECONDS, "longest": LONGEST_PAUSE_SECONDS}
        with connection.cursor() as cursor:
            cursor.execute(TAKE_DUE, {"status": status, "limit": limit, **pauses})
            return self.filter(pk__in=[row[0] for row in cursor.fetchall()])

    def write_down(self, media: Sequence["Media"]) -> None:
        """Save what came of fetching; a file whose message was deleted or redacted meanwhile stays gone."""
        waiting = self.filter(status=Media.Status.WAITING)
        waiting.bulk_update(media, ["status", "content_type", "file", "size", "error", "next_attempt_at"])
        kept = set(self.filter(pk__in=[each.pk for each in media]).exclude(file="").values_list("pk", flat=True))
        delete_files([str(each.file) for each in media if each.file and each.pk not in kept])

    def is_due(self) -> bool:
        """Say whether any file has to be fetched now."""
        return self.filter(status=Media.Status.WAITING, next_attempt_at__lte=timezone.now()).exists()

    def to_delete(self) -> "MediaQuerySet":
        """Return those whose messages were redacted, and which the storage still has."""
        return self.filter(status=Media.Status.MISSING, next_attempt_at__isnull=False)

    def delete_due(self, limit: int) -> int:
        """Delete up to `limit` files that are to be deleted from the storage; return how many went.

        Those that it refuses come due again after a doubling pause, so that they hold up no others.
        """
        return self._take_due(Media.Status.MISSING, limit).delete_from_storage()

    def delete_from_storage(self) -> int:
        """Delete those of these files that are to be deleted, due or not; return how many went."""
        gone = [pk for pk, name in self.to_delete().values_list("pk", "file") if is_deleted(name)]
        return Media.objects.filter(pk__in=gone).update(file="", next_attempt_at=None)


TAKE_DUE = """
UPDATE conversations_media AS media
SET attempts = attempts + 1,
    next_attempt_at = statement_timestamp()
        + LEAST(%(longest)s, %(pause)s * power(2, LEAST(attempts + 1, 20))) * interval '1 second'
FROM (
    SELECT id FROM conversations_media WHERE status = %(status)s AND next_attempt_at <= statement_timestamp()
    ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AS due
WHERE media.id = due.id
RETURNING media.id"""


class Media(models.Model):
    """A picture or file that came with a message: still at its provider, in our storage, or not to be had.

    One of a redacted message is not to be had from then on; its name, and when to try next, stay until the storage has
    deleted it.
    """

    class Status(models.TextChoices):
        """Where it is."""

        WAITING = "waiting", "To be fetched"
        STORED = "stored", "In the storage"
        MISSING = "missing", "Not to be had"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    message = models.ForeignKey("conversations.Message", on_delete=models.CASCADE, related_name="media")
    number = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=7, choices=Status.choices)
    content_type = models.CharField(max_length=255)
    filename = models.CharField(max_length=255, blank=True)
    content_id = models.CharField(max_length=255, blank=True)
    source_url = models.TextField(blank=True)
    file = models.FileField(max_length=255, blank=True)
    size = models.PositiveBigIntegerField(null=True)
    error = models.CharField(max_length=200, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    objects: ClassVar[models.Manager["Media"]] = MediaQuerySet.as_manager()

    if TYPE_CHECKING:
        message_id: UUID

    class Meta:
        verbose_name_plural = "media"
        constraints = [
            models.UniqueConstraint(fields=["message", "number"], name="one_file_per_place_in_a_message"),
            models.CheckConstraint(
                condition=Q(status="waiting", next_attempt_at__isnull=False)
                | Q(status="stored", next_attempt_at__isnull=True)
                | Q(status="missing", file="", next_attempt_at__isnull=True)
                | (Q(status="missing", next_attempt_at__isnull=False) & ~Q(file="")),
                name="media_to_fetch_or_to_delete_has_a_next_attempt",
            ),
        ]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(status="waiting"), name="media_to_fetch"),
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(status="missing", next_attempt_at__isnull=False),
                name="media_to_delete",
            ),
        ]
        ordering = ["number"]

    def __str__(self) -> str:
        return f"media {self.pk}"

    @classmethod
    def of_inbound(cls, inbound: InboundMedia, number: int, name: str) -> "Media":
        """Return an unsaved row for one file; its content, if it was brought along, is stored under `name`."""
        media = cls(
            number=number,
            status=cls.Status.WAITING,
            content_type=inbound.content_type[:255],
            filename=inbound.filename[:255],
            content_id=inbound.content_id[:255],
            source_url=inbound.url,
            next_attempt_at=timezone.now(),
        )
        if not inbound.url:
            media.keep(ContentFile(inbound.content), name, len(inbound.content))
        return media

    def get_absolute_url(self) -> str:
        """Return its path in the API."""
        return f"{MEDIA_PATH}{self.id}"

    def fetch(self) -> None:
        """Fetch it from its provider into the storage, once; the row, to be saved by the caller, says what came of it.

        Touches no row, so that it can run beside others. What may work later keeps its next attempt.
        """
        account = routes.account_named(self.message.provider)
        with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as content:
            try:
                fetched = fetch.fetch(
                    self.source_url,
                    cast("BinaryIO", content),
                    allow=fetch.fetch_allow(),
                    credentials=account.media_credentials(self.source_url) if account else None,
                    most_bytes=settings.MEDIA_MAX_BYTES,
                    seconds=FETCH_SECONDS,
                )
            except Refused as error:
                self._miss(str(error))
            except Unreachable as error:
                self.error = str(error)[:200]
                if self.attempts >= MOST_ATTEMPTS:
                    self._miss(str(error))
            else:
                self.content_type = fetched.content_type[:255]
                self._keep_fetched(File(content), fetched.size)

    def _keep_fetched(self, content: "File[Any]", size: int) -> None:
        content.seek(0)
        try:
            self.keep(content, f"media/{self.message_id}/{self.number}", size)
        except Exception as error:  # whatever the storage raises; it comes due again
            logger.error("a file could not be stored: %s", type(error).__name__, extra={"media_id": self.pk})
            self.error = type(error).__name__

    def keep(self, content: "File[Any]", name: str, size: int) -> None:
        """Put it into the storage under a name; what is not kept (MEDIA_TYPES, MEDIA_MAX_BYTES) is missing, with why.

        Raises what the storage raises. The row is saved by the caller.
        """
        if not any(fnmatchcase(self.content_type, allowed) for allowed in settings.MEDIA_TYPES):
            self._miss("Files of this type are not kept (MEDIA_TYPES).")
        elif size > settings.MEDIA_MAX_BYTES:
            self._miss("The file is larger than what is kept (MEDIA_MAX_BYTES).")
        else:
            self.file, self.size = default_storage.save(name, content), size
            self.status, self.next_attempt_at, self.error = self.Status.STORED, None, ""

    def _miss(self, reason: str) -> None:
        self.status, self.next_attempt_at, self.error = self.Status.MISSING, None, reason[:200]
