"""What an operator does with callbacks by hand."""

import argparse
from datetime import UTC, datetime


def moment(text: str) -> datetime:
    """Return a time that an operator wrote, in UTC where it names no offset."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("Give a time such as 2026-01-31T12:00Z.") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
