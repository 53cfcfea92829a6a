"""The ledger: every request the sandbox accepted, as JSON lines on disk; what people wrote is kept in one of its own.

A line is handed to the operating system before the answer leaves, so killing this or any other process loses nothing.
It is not synced to the disk: that would cost milliseconds for each request and guard only against the machine's end.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from providers.sandbox.faults import ProviderName


@dataclass(slots=True, kw_only=True)
class Entry:
    """One accepted request, or an inbound message. `message_id` and `attempt` are the caller's own, None without one.

    `details` is what is needed to show the message and to report on it. `stage` counts how far it got on its way
    (0 is queued), `told` how many of those steps the caller was told of, or can't be told of any more. `answers` is
    what our door said to an inbound message, as `Courier.deliver` has it; None until then.
    """

    message_id: str | None
    attempt: int | None
    provider: ProviderName
    provider_message_id: str
    sender: str
    recipient: str
    at: datetime
    details: dict[str, Any] = field(default_factory=dict)
    stage: int = 0
    told: int = 0
    direction: Literal["outbound", "inbound"] = "outbound"
    answers: list[int | None] | None = None

    def row(self) -> dict[str, Any]:
        """As `GET /ledger` shows it; `at` is RFC 3339 in UTC."""
        return {
            "message_id": self.message_id,
            "attempt": self.attempt,
            "provider": self.provider,
            "provider_message_id": self.provider_message_id,
            "from": self.sender,
            "to": self.recipient,
            "at": self.at.isoformat().replace("+00:00", "Z"),
        }


KEPT = tuple(each.name for each in fields(Entry))


def now() -> datetime:
    """This moment, in UTC, with its time zone."""
    return datetime.now(UTC)


def attempt_number(text: object) -> int | None:
    """The attempt as the caller wrote it, None when it is no whole number."""
    return int(text) if isinstance(text, int) or (isinstance(text, str) and text.isdecimal()) else None


class Ledger:
    """The entries in memory, and the file they are kept in. One process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._entries: dict[str, Entry] = {}
        self._by_recipient: dict[str, list[Entry]] = {}

    def open(self) -> None:
        """Read what is there and get ready to append; a line torn by a crash is cut off.

        OSError if it can't be opened, ValueError with a sentence if another line can't be read.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Numbers, addresses and texts are in it: for its owner only.
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with self._path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    self._read(line)
                else:
                    os.ftruncate(self._file, lines.tell() - len(line))

    def close(self) -> None:
        """Close the file; harmless when it is not open. The entries stay in memory."""
        if self._file != -1:
            os.close(self._file)
            self._file = -1

    def accept(self, entry: Entry) -> None:
        """Keep the entry. OSError if it could not be written: then it was not accepted."""
        self._write({name: getattr(entry, name) for name in KEPT} | {"at": entry.at.isoformat()})
        self._remember(entry)

    def catch_up(self, entry: Entry, told: int) -> None:
        """Note that so many callbacks of the entry are done with, and what our door said."""
        if told > entry.told:
            entry.told = told
            answers = {} if entry.answers is None else {"answers": entry.answers}
            self._write({"provider_message_id": entry.provider_message_id, "told": told, **answers})

    def find(self, provider_message_id: str) -> Entry | None:
        """The entry with that SID or X-Message-Id, whichever provider it went to; None when there is none."""
        return self._entries.get(provider_message_id)

    def oldest_first(self) -> Iterator[Entry]:
        """All entries as they were accepted. RuntimeError when one is accepted while they are read."""
        return iter(self._entries.values())

    def newest_first(self, recipient: str | None = None) -> Iterator[Entry]:
        """All entries, or those to one recipient, which are found without looking at the others."""
        return reversed(self._entries.values() if recipient is None else self._by_recipient.get(recipient, []))

    def _read(self, text: bytes) -> None:
        try:
            line = json.loads(text)
            if "details" in line:
                self._remember(Entry(**line | {"at": datetime.fromisoformat(line["at"])}))
            elif entry := self.find(line["provider_message_id"]):
                entry.stage = entry.told = line["told"]
                entry.answers = line.get("answers")
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{self._path} has a line that is none of the ledger's. Move the file away.") from None

    def _remember(self, entry: Entry) -> None:
        self._entries[entry.provider_message_id] = entry
        self._by_recipient.setdefault(entry.recipient, []).append(entry)

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")
