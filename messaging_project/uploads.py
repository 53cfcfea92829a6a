"""How much a form may carry: Django would put files of any size onto the disk, also for who is not logged in."""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler

BESIDE_THE_FILES = 1024 * 1024


class BoundedUpload(FileUploadHandler):
    """Refuses with a 400 a form that is larger than the files of any answer of staff may be; keeps nothing itself."""

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *args: Any, **kwargs: Any) -> None:  # noqa: N803
        """Look at the size before anything is read. Raises `RequestDataTooBig`."""
        if content_length > settings.MEDIA_MAX_BYTES + BESIDE_THE_FILES:
            raise RequestDataTooBig

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        """Leave it to the next."""
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Leave it to the next."""
