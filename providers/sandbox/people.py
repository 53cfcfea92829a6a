"""Everybody on the other side: who has a phone or a mailbox here, and what went to and fro, by last activity."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import parseaddr
from itertools import takewhile
from typing import Literal

from providers.sandbox.ledger import Entry, Ledger

Kind = Literal["phone", "mailbox"]


@dataclass(slots=True)
class Person:
    """One number or one address, and what it got and wrote: by number of ours on a phone, all under "" in a mailbox.

    The threads lie in the order of their last activity, the entries of each oldest first.
    """

    kind: Kind
    address: str
    threads: dict[str, list[Entry]] = field(default_factory=dict)

    @property
    def latest(self) -> Entry:
        """The newest entry of all threads."""
        return self.threads[next(reversed(self.threads))][-1]


class People:
    """An index over both ledgers. It reads what is new in them when it is asked, and looks at nothing twice."""

    def __init__(self, outbound: Ledger, inbound: Ledger) -> None:
        self._ledgers = (outbound, inbound)
        self._seen: dict[Ledger, Entry] = {}
        self._people: dict[tuple[Kind, str], Person] = {}
        self._ours: dict[Kind, dict[str, None]] = {"phone": {}, "mailbox": {}}

    def latest_first(self) -> Iterator[Person]:
        """All of them, whoever got or wrote something last at first."""
        self._catch_up()
        return reversed(self._people.values())

    def find(self, kind: Kind, address: str) -> Person | None:
        """Whoever has this number or address; None for nobody."""
        self._catch_up()
        return self._people.get((kind, address))

    def ours(self, kind: Kind) -> Iterator[str]:
        """Numbers or addresses of ours, the one used last at first; none to which only answers go."""
        self._catch_up()
        return reversed(self._ours[kind])

    def _catch_up(self) -> None:
        for entry in heapq.merge(*map(self._news, self._ledgers), key=lambda entry: entry.at):
            self._add(entry)

    def _news(self, ledger: Ledger) -> list[Entry]:
        seen = self._seen.get(ledger)
        news = [*takewhile(lambda entry: entry is not seen, ledger.newest_first())]
        if news:
            self._seen[ledger] = news[0]
        return news[::-1]

    def _add(self, entry: Entry) -> None:
        kind: Kind = "phone" if entry.provider == "twilio" else "mailbox"
        for address in theirs(entry):
            person = self._people.pop((kind, address), None) or Person(kind, address)
            thread = ours(entry) if kind == "phone" else ""
            entries = person.threads.pop(thread, [])
            entries.append(entry)
            person.threads[thread] = entries
            self._people[kind, address] = person
        if kind == "phone" or entry.direction == "outbound":
            self._ours[kind].pop(ours(entry), None)
            self._ours[kind][ours(entry)] = None


def theirs(entry: Entry) -> list[str]:
    """Whose phone or mailboxes an entry belongs to."""
    if entry.direction == "inbound":
        return [_address(entry, entry.sender)]
    if entry.provider == "twilio":
        return [entry.recipient]
    return list(dict.fromkeys(_address(entry, to["email"]) for to in entry.details["to"]))


def ours(entry: Entry) -> str:
    """The number or address on our side."""
    return _address(entry, entry.recipient if entry.direction == "inbound" else entry.sender)


def _address(entry: Entry, text: str) -> str:
    return text if entry.provider == "twilio" else parseaddr(text)[1].lower() or text
