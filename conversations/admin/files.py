"""The files that staff send along with an answer."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from rest_framework.exceptions import ValidationError
from uuid_utils.compat import uuid7

from conversations.api.media import StorageUnavailable
from conversations.api.send import MAX_ATTACHMENTS
from conversations.models import Conversation, Media, Message
from conversations.models.media import delete_files

MMS_BYTES = 5 * 1024 * 1024
"""What Twilio takes of all files of an MMS together."""
MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
"""RFC 6838, 4.2."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that was chosen, with the id that it will be kept under."""

    upload: UploadedFile
    id: UUID

    @property
    def content_type(self) -> str:
        """What the browser calls it, where that is a type at all."""
        named = (self.upload.content_type or "").lower()
        return named if MEDIA_TYPE.fullmatch(named) else "application/octet-stream"

    @property
    def digest(self) -> str:
        """What tells its content and name from those of another."""
        content = sha256()
        for chunk in self.upload.chunks():
            content.update(chunk)
        return f"{content.hexdigest()} {self.content_type} {self.upload.name}"

    def media(self, message: Message, number: int) -> Media:
        """Return it as an unsaved row."""
        name = (self.upload.name or "")[:255]
        return Media(id=self.id, message=message, number=number, content_type=self.content_type, filename=name)


def most_bytes(conversation: Conversation) -> int:
    """Return how large the files of an answer may be together."""
    is_email = conversation.channel_type == Conversation.ChannelType.EMAIL
    return settings.MEDIA_MAX_BYTES if is_email else min(MMS_BYTES, settings.MEDIA_MAX_BYTES)


def chosen(uploads: Sequence[UploadedFile], conversation: Conversation) -> list[File]:
    """Return the files of a form. Raises `ValidationError` with what is wrong with them."""
    most = most_bytes(conversation)
    if len(uploads) > MAX_ATTACHMENTS:
        raise ValidationError(f"Choose at most {MAX_ATTACHMENTS} files.")
    if not all(each.size for each in uploads):
        raise ValidationError("One of the files is empty.")
    if sum(each.size or 0 for each in uploads) > most:
        raise ValidationError(f"Together the files are larger than the {filesizeformat(most)} that can be sent.")
    return [File(each, uuid7()) for each in uploads]


@contextmanager
def kept(files: Sequence[File], message: Message) -> Iterator[list[Media]]:
    """Have files in the storage, as rows that are still to be saved; where those are not, no file is left behind.

    Raises `ValidationError` for a file that is not kept (MEDIA_TYPES), `StorageUnavailable`.
    """
    media = [each.media(message, number) for number, each in enumerate(files)]
    try:
        for each, row in zip(files, media, strict=True):
            store(each.upload, row)
        yield media
    finally:
        delete_files([str(row.file.name) for row in media if row.file and not Media.objects.filter(pk=row.pk).exists()])


def store(upload: UploadedFile, row: Media) -> None:
    """Put one file into the storage. Raises `ValidationError` or `StorageUnavailable`."""
    try:
        row.keep(upload, f"media/{row.message_id}/{row.number}", upload.size or 0)
    except Exception as error:  # whatever the storage raises
        raise StorageUnavailable from error
    if row.status == Media.Status.MISSING:
        raise ValidationError(f"{row.filename}: {row.error}")
