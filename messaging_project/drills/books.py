"""The three books, and what may not be between them: the client's answers, the database, the provider's ledger."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

ACCEPTED = frozenset({"sent", "delivered", "undelivered"})
ENDED = frozenset({"failed", "expired", "canceled"})
MOVING = frozenset({"pending", "sending", "uncertain"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A message as the database has it. `deliveries` counts the events that say it was delivered.

    The client never says the same twice, so its `wish` (the body) is one message's alone.
    """

    id: str
    type: str
    status: str
    error_code: str = ""
    deliveries: int = 0
    wish: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A request that the provider accepted; `outcome` is what it reported, or would have, in the end."""

    message_id: str
    outcome: str = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a drill explains: everything else is a fault of the product.

    `end_codes` are error codes with which messages may end unsent. `doubtful_emails` is how many mails may stay
    unresolved. With `reports_dropped`, `sent` is final.
    """

    end_codes: frozenset[str] = frozenset()
    doubtful_emails: int = 0
    reports_dropped: bool = False

    def is_final(self, status: str) -> bool:
        """Whether a message may stand so for good."""
        return status not in MOVING and (status != "sent" or self.reports_dropped)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the books say. `problems` names, for each broken invariant, the ids of the messages that break it."""

    accepted: int
    sent: int
    unresolved: int
    failed: int
    expired: int
    problems: dict[str, list[str]] = field(default_factory=dict)

    def count(self, problem: str) -> int:
        """How many messages break this invariant."""
        return len(self.problems.get(problem, ()))


def compare(
    accepted: Collection[str], rows: Sequence[Row], entries: Sequence[Entry], allowance: Allowance
) -> Comparison:
    """Hold the books side by side. `accepted` are the ids that were answered 2xx.

    A row that no answer names is one whose answer was lost: it is held to the same rules.
    """
    ledger: dict[str, list[Entry]] = {}
    for entry in entries:
        ledger.setdefault(entry.message_id, []).append(entry)
    known = {row.id: row for row in rows}
    # What the client was promised, or the provider sent for us, and the database knows nothing of.
    problems: dict[str, list[str]] = {"lost": [each for each in {*accepted, *ledger} if each not in known]}
    for row in rows:
        if problem := problem_of(row, ledger.get(row.id, []), allowance):
            problems.setdefault(problem, []).append(row.id)
    problems["made twice"] = made_twice(rows)
    statuses = [row.status for row in rows]
    problems["unresolved"] = unresolved_beyond(rows, allowance)
    return Comparison(
        accepted=len(accepted),
        sent=sum(row.id in ledger for row in rows),
        unresolved=statuses.count("unresolved"),
        failed=statuses.count("failed"),
        expired=statuses.count("expired"),
        problems={name: ids for name, ids in problems.items() if ids},
    )


def problem_of(row: Row, entries: Sequence[Entry], allowance: Allowance) -> str:
    """Which invariant a message breaks, "" for none."""
    if len(entries) > 1:
        return "doubled"
    if not allowance.is_final(row.status):
        return "stuck"
    if row.status in ACCEPTED and not entries:
        return "lost"
    if row.status in ENDED and (entries or row.error_code not in allowance.end_codes):
        return "unexplained end"
    if entries and row.status in ACCEPTED - {"sent", entries[0].outcome}:
        return "wrong end"
    return "counted twice" if row.deliveries > 1 else ""


def unresolved_beyond(rows: Sequence[Row], allowance: Allowance) -> list[str]:
    """The ids that are unresolved and may not be: every text, and all mails if there are more than the doubts."""
    ids: Mapping[bool, list[str]] = {
        is_email: [row.id for row in rows if row.status == "unresolved" and (row.type == "email") is is_email]
        for is_email in (False, True)
    }
    return ids[False] + (ids[True] if len(ids[True]) > allowance.doubtful_emails else [])


def made_twice(rows: Sequence[Row]) -> list[str]:
    """The ids of messages that say the same as an earlier one: the client asked for one, whatever it repeated."""
    wishes: set[str] = set()
    again = []
    for row in rows:
        if row.wish in wishes:
            again.append(row.id)
        wishes |= {row.wish} - {""}
    return again
