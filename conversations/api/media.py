"""Files that came in, and those that staff sent along, over HTTP."""

import logging
from mimetypes import guess_extension
from typing import IO, Any, ClassVar

from django.http import FileResponse
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.views import APIView

from conversations.api.authentication import StaffSession
from conversations.models import Media
from conversations.models.client import Scope

logger = logging.getLogger(__name__)

# What browsers draw and never run; SVG can carry scripts.
SHOWN_INLINE = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp"})


class NotYetFetched(APIException):
    """The file is still at its provider."""

    status_code = 503
    default_code = "media_not_yet_fetched"
    default_detail = "The file is still being fetched from the provider. Try again in a moment."
    wait = 2


class StorageUnavailable(APIException):
    """The storage can be neither read nor written at the moment."""

    status_code = 503
    default_code = "unavailable"
    default_detail = "The storage is away. Try again in a moment."
    wait = 5


class MediaView(APIView):
    """One file, for API clients and for staff in the admin."""

    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.MESSAGES_READ}
    authentication_classes = (*APIView.authentication_classes, StaffSession)

    def get(self, request: Request, media_id: Any) -> FileResponse:
        """Answer the file: images inline, everything else as a download. 404 with the reason if it is not to be had."""
        media = get_object_or_404(Media.objects.visible_to(request.user), pk=media_id)
        if media.status == Media.Status.WAITING:
            raise NotYetFetched
        if media.status == Media.Status.MISSING:
            raise NotFound(media.error, code="media_missing")
        inline = media.content_type in SHOWN_INLINE
        return file_response(media, media.content_type if inline else "application/octet-stream", inline=inline)


def file_response(media: Media, content_type: str, *, inline: bool) -> FileResponse:
    """Return a stored file under a type, to be drawn or to be saved; nothing in it runs. Raises as `opened` does."""
    response = FileResponse(
        opened(media),
        content_type=content_type,
        as_attachment=not inline,
        filename=media.filename or f"{media.id}{guess_extension(media.content_type) or ''}",
    )
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, max-age=3600"
    return response


def opened(media: Media) -> IO[bytes]:
    """Open a stored file. Raises `NotFound` if it is gone, `StorageUnavailable` for whatever else goes wrong."""
    try:
        return media.file.open()
    except FileNotFoundError:
        raise NotFound("The file is no longer in the storage.", code="media_missing") from None
    except Exception as error:
        logger.error("a file could not be read: %s", type(error).__name__, extra={"media_id": media.pk})
        raise StorageUnavailable from None
