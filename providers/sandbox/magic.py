"""Numbers and addresses that decide what becomes of a message. What goes to anybody else is delivered.

The refusals of texts are those of Twilio's test credentials ("Magic input"); the rest is the sandbox's own.
"""

from typing import Literal, NamedTuple

Mailbox = Literal["bounce", "dropped", "unverified"]


class Magic(NamedTuple):
    """One of them: where it stands in a message, the status that it ends with, and the `error_code`."""

    field: Literal["to", "from"]
    address: str
    end: Literal["failed", "undelivered", "pending"]
    code: str
    what: str


UNREACHABLE = "the phone is switched off or without a signal"
ROWS = (
    Magic("to", "+15005550009", "undelivered", "30003", UNREACHABLE),
    Magic("to", "+15005530003", "undelivered", "30003", UNREACHABLE),
    Magic("to", "+15005530004", "undelivered", "30004", "the phone or its carrier blocks the sender"),
    Magic("to", "+15005530005", "undelivered", "30005", "nobody has this number"),
    Magic("to", "+15005530006", "undelivered", "30006", "a landline"),
    Magic("to", "+15005530007", "undelivered", "30007", "the carrier filters the message out"),
    Magic("to", "+15005530008", "undelivered", "30008", "the carrier gives no reason"),
    Magic("to", "+15005550001", "failed", "21211", "no valid number"),
    Magic("to", "+15005550002", "failed", "21612", "out of this sender's reach"),
    Magic("to", "+15005550003", "failed", "21408", "in a region that the account may not send to"),
    Magic("to", "+15005550004", "failed", "21610", "has opted out"),
    Magic("from", "+15005550001", "failed", "21212", "no valid number"),
    Magic("from", "+15005550007", "failed", "21606", "no number of the account"),
    Magic("from", "+15005550008", "pending", "21611", "its queue is full, a 429: tried again until it expires"),
    Magic("to", "bounce@any.domain", "undelivered", "5.1.1", "no such mailbox: a bounce event"),
    Magic("to", "dropped@any.domain", "undelivered", "dropped", "SendGrid does not even try: a dropped event"),
    Magic("from", "unverified@any.domain", "failed", "403", "the sender was not verified"),
)

NUMBERS = [row for row in ROWS if row.address.startswith("+")]
REFUSED: dict[tuple[str, str], int] = {
    (row.field, row.address): int(row.code) for row in NUMBERS if row.end != "undelivered"
}
UNDELIVERED: dict[str, int] = {row.address: int(row.code) for row in NUMBERS if row.end == "undelivered"}


def is_magic(address: str, name: Mailbox) -> bool:
    """Whether a mail address is that name at any domain."""
    return address.lower().startswith(f"{name}@")
