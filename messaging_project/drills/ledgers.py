"""The providers' books, read from their files: who keeps them may be away."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from messaging_project.drills.books import WITHOUT_REPORTS, Entry
from messaging_project.drills.carriers import Carrier
from providers.sandbox.magic import UNDELIVERED, is_magic


def entries(carriers: Iterable[Carrier], began: datetime) -> list[Entry]:
    """What all of them accepted since then: a message that two of them accepted was sent twice."""
    return [entry for carrier in carriers for entry in entries_of(carrier) if entry.at >= began]


def entries_of(carrier: Carrier) -> Iterator[Entry]:
    """What one of them ever accepted."""
    text = carrier.ledger.read_text() if carrier.ledger.exists() else ""
    for line in map(json.loads, text.splitlines()):
        if "details" in line:
            yield Entry(
                message_id=str(line["message_id"]),
                outcome=outcome(line),
                account=f"{line['provider']}{carrier.suffix}",
                sender=line["sender"],
                at=datetime.fromisoformat(line["at"]),
            )


def outcome(line: dict[str, Any]) -> str:
    """What is reported in the end of a message like this; of one that is not reported on, `sent` is the last word."""
    if line["provider"] in WITHOUT_REPORTS:
        return "sent"
    recipient = line["recipient"]
    return "undelivered" if recipient in UNDELIVERED or is_magic(recipient, "bounce") else "delivered"
