"""The three books, and what may not be between them: the client's answers, the database, the provider's ledger."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf

ACCEPTED = frozenset({"sent", "delivered", "undelivered"})
ENDED = frozenset({"failed", "expired", "canceled"})
MOVING = frozenset({"pending", "sending", "uncertain"})
# Providers that never tell what became of a message.
WITHOUT_REPORTS = frozenset({"smtp"})
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A message as the database has it. `deliveries` counts the events that say it was delivered, `account` is the one
    that it was last offered to.

    The client never says the same twice, so its `wish` (the body) is one message's alone.
    """

    id: str
    type: str
    status: str
    error_code: str = ""
    deliveries: int = 0
    wish: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A request that an account accepted; `outcome` is what it reported, or would have, in the end."""

    message_id: str
    outcome: str = "delivered"
    account: str = ""
    sender: str = ""
    at: datetime = LONG_AGO


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a drill explains: everything else is a fault of the product.

    `end_codes` are error codes with which messages may end unsent. `doubtful_emails` is how many mails may stay
    unresolved. With `reports_dropped`, `sent` is final.
    """

    end_codes: frozenset[str] = frozenset()
    doubtful_emails: int = 0
    reports_dropped: bool = False

    def is_final(self, status: str, account: str) -> bool:
        """Whether a message of this account may stand so for good."""
        is_reported_on = account.partition("_")[0] not in WITHOUT_REPORTS
        return status not in MOVING and (status != "sent" or self.reports_dropped or not is_reported_on)


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
    if not allowance.is_final(row.status, row.account):
        return "stuck"
    if row.status in ACCEPTED and not entries:
        return "lost"
    if row.status in ACCEPTED and row.account != entries[0].account:
        return "wrong account"
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


def seconds_until_first(entries: Iterable[Entry], account: str, since: datetime) -> float:
    """How long after that moment an account accepted its next message; infinite if it never did."""
    times = [entry.at for entry in entries if entry.account == account and entry.at >= since]
    return (min(times) - since).total_seconds() if times else inf


def longest_wait(asked: Mapping[str, datetime], entries: Iterable[Entry], since: datetime, until: datetime) -> float:
    """The longest time, in seconds, from when the client asked to when a provider accepted, of all messages that were
    asked for in that time; infinite if one was never accepted, 0 if there were none.
    """
    accepted = {entry.message_id: entry.at for entry in entries}
    meant = {each: at for each, at in asked.items() if since <= at < until}
    if not meant.keys() <= accepted.keys():
        return inf
    return max(((accepted[each] - at).total_seconds() for each, at in meant.items()), default=0.0)


def most_in_a_second(times: Iterable[datetime]) -> int:
    """The most of these moments that lie in any one second."""
    inside: list[datetime] = []
    most = 0
    for at in sorted(times):
        inside = [each for each in inside if at - each < timedelta(seconds=1)] + [at]
        most = max(most, len(inside))
    return most
