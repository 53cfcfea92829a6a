"""Where files are kept when nothing else is configured."""

import os
import tempfile
from pathlib import Path

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible


@deconstructible
class DurableFiles(FileSystemStorage):
    """Files on this machine's disk, readable for its owner alone.

    A file appears whole or not at all, in place of one of the same name, and is there after a power cut once stored.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return the name itself: who stores the same thing again means the same file."""
        return name

    def _save(self, name: str, content: File) -> str:  # type: ignore[type-arg]  # generic in the stubs only
        path = Path(self.path(name))
        make_durable_directory(path.parent)
        handle, unfinished = tempfile.mkstemp(dir=path.parent)  # of mode 600
        try:
            with open(handle, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            os.unlink(unfinished)
            raise
        make_entry_durable(path.parent)
        return name


def make_durable_directory(directory: Path) -> None:
    """Make a directory, with those above it, whose names are on the disk as well."""
    if not directory.is_dir():
        make_durable_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        make_entry_durable(directory.parent)


def make_entry_durable(directory: Path) -> None:
    """Bring a directory's entries to the disk: a file's bytes alone do not bring its name."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
