"""`manage.py export_contact ADDRESS`: everything that is held of one number or address, as JSON."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone
from django.utils._os import safe_join

from conversations.addresses import InvalidAddress
from messaging_project.contact import Contact, as_dict, read_address


class Command(BaseCommand):
    """Writes one JSON object, with a list for each kind of row; every column of each row, as the database has it."""

    help = "Write everything that is held of one number or address as JSON, with the files where a place is named."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whom, and where to."""
        parser.add_argument("address", help="a number (E.164) or an email address")
        parser.add_argument("--output", type=Path, help="a new file, readable by you alone; without it, the output")
        parser.add_argument("--files", type=Path, help="a new directory for the files and mails that belong to it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError` for what is no address, and for a place that is taken or can't be written to."""
        contact = found(options["address"])
        try:
            self.export(contact, options["output"], options["files"])
        except FileExistsError as error:
            raise CommandError(f"{error.filename} is there already: name a new one.") from None
        except OSError as error:
            raise CommandError(f"{error.filename or 'The output'} can't be written: {error.strerror}.") from None

    def export(self, contact: Contact, output: Path | None, files: Path | None) -> None:
        """Write the JSON, and copy the files where a place is named. Raises `OSError`."""
        if files:
            files.mkdir(mode=0o700)
        with new_file(output) if output else here(self.stdout) as out:  # type: ignore[arg-type]
            rows = self.write(contact, out)
        copied = sum(copy(row["file"] if "file" in row else row["body"], files) for row in rows) if files else 0
        self.stderr.write(f"{copied} files." if files else "Without the files: --files DIRECTORY copies them.")

    def write(self, contact: Contact, out: IO[str]) -> list[dict[str, Any]]:
        """Write the JSON; return the rows that have a file."""
        told: dict[str, Any] = {"address": contact.address, "exported_at": timezone.now()}
        tables = {name: [as_dict(row) for row in rows] for name, rows in contact.tables().items()}
        json.dump({**told, **tables}, out, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2)
        out.write("\n")
        counts = ", ".join(f"{len(rows)} {name.replace('_', ' ')}" for name, rows in tables.items() if rows)
        self.stderr.write(f"{contact.address}: {counts or 'nothing'}.")
        return [row for row in tables["media"] if row["file"]] + [row for row in tables["receipts"] if row["body"]]


def found(text: str) -> Contact:
    """Return the contact that somebody named. Raises `CommandError` for what is no address."""
    try:
        return Contact(read_address(text, settings.DEFAULT_PHONE_REGION))
    except InvalidAddress as error:
        raise CommandError(str(error)) from None


@contextmanager
def here(out: IO[str]) -> Iterator[IO[str]]:
    """Write to the output."""
    yield out


@contextmanager
def new_file(path: Path) -> Iterator[IO[str]]:
    """Write to a new file that its owner alone may read. Raises `FileExistsError`."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        yield file


def copy(name: str, directory: Path) -> bool:
    """Copy a file of the storage under the name that it has there; return False where the storage has it no more."""
    place = Path(safe_join(directory, name))
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with default_storage.open(name) as source, open(place, "wb") as target:
            shutil.copyfileobj(source, target)
    except FileNotFoundError:
        return False
    return True
