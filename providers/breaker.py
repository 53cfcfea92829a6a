"""Whether an account may be offered messages now, and what the ends of calls say about it.

What every process has to know is a row (`AccountState`), written when something changes and read once a second at
most; failures in a row are counted in each process for itself, as a write for each would cost more than it tells.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf

from django.conf import settings
from django.utils import timezone

from providers import routes
from providers.base import Accepted, Channel
from providers.errors import Misconfigured, NotSent, ProviderError, Rejected, Uncertain
from providers.models import AccountState

READ_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Permit:
    """Messages may be claimed for these accounts, the preferred one first; with `probing` one message, as a probe.

    `as_of` is the time that counts for their expiry, None for now. Test messages are claimed apart from others.
    """

    accounts: Sequence[str]
    as_of: datetime | None = None
    probing: AccountState | None = None
    test: bool = False


@dataclass(slots=True)
class Streak:
    """Failures in a row, by this process's monotonic clock: when the first of their calls began, and what was last
    heard of success.
    """

    failures: int = 0
    began: float = inf
    succeeded: float = -inf

    def succeed(self) -> None:
        """Begin anew."""
        self.failures, self.began, self.succeeded = 0, inf, time.monotonic()

    def fail(self, began: float) -> None:
        """Count the failure of a call that began then."""
        self.failures, self.began = self.failures + 1, min(self.began, began)

    @property
    def seconds(self) -> float:
        """How long nothing but failures was seen. A call that hung for long is evidence of all that time."""
        return time.monotonic() - max(self.began, self.succeeded)

    @property
    def is_sustained(self) -> bool:
        """Whether there is more than a burst of them."""
        return self.failures >= settings.BREAKER_FAILURES and self.seconds >= settings.BREAKER_AFTER_SECONDS


@dataclass(slots=True)
class Memory:
    """What this process knows: the rows of stopped accounts and the streaks of all."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: dict[tuple[str, str], AccountState] = field(default_factory=dict)
    streaks: dict[tuple[str, str], Streak] = field(default_factory=dict)
    read_again_at: float = -inf


_memory = Memory()


def forget() -> None:
    """Know nothing, as after the start of a process."""
    global _memory
    _memory = Memory()


os.register_at_fork(after_in_child=forget)


def stopped(account: str, channel: Channel) -> AccountState | None:
    """The row that says why this account is offered nothing on this channel, up to a second old; None while it runs."""
    with _memory.lock:
        if time.monotonic() >= _memory.read_again_at:
            rows = AccountState.objects.exclude(state=AccountState.State.RUNNING)
            _memory.stopped = {(row.account, row.channel): row for row in rows}
            for key in _memory.stopped:
                _memory.streaks.pop(key, None)  # what failed before a stop is no reason for the next one
            _memory.read_again_at = time.monotonic() + READ_AGAIN_SECONDS
        return _memory.stopped.get((account, channel))


def running(channel: Channel, *, test: bool) -> list[str]:
    """The accounts that may be offered what is due on a channel, the preferred one first."""
    return [name for name in routes.names_for(channel, test=test) if stopped(name, channel) is None]


def reasons(channel: Channel, *, test: bool) -> dict[str, dict[str, str]]:
    """Why accounts are stopped on a channel, by their names: `code` and `sentence`."""
    rows = {name: stopped(name, channel) for name in routes.names_for(channel, test=test)}
    return {name: {"code": row.code, "sentence": row.sentence} for name, row in rows.items() if row}


def clock_stopped_at(channel: Channel, *, test: bool) -> datetime | None:
    """Since when messages of a channel do not grow older, up to a second old; None while they do."""
    if running(channel, test=test):
        return None
    return AccountState.objects.clock_stopped_at(channel, routes.names_for(channel, test=test))


def read_again() -> None:
    """Let the next question be answered by the database."""
    with _memory.lock:
        _memory.read_again_at = -inf


def permits(channel: Channel) -> Iterator[Permit]:
    """Say for which accounts messages may be claimed now. For each probe among them the right to it is taken."""
    lease = timedelta(seconds=settings.LEASE_SECONDS)
    for test in routes.lanes():
        for name in routes.names_for(channel, test=test):
            row = stopped(name, channel)
            if row and is_probe_due(row) and AccountState.objects.take_probe(row, lease):
                read_again()
                yield Permit([name], clock_stopped_at(channel, test=test), probing=row, test=test)
        if accounts := running(channel, test=test):
            yield Permit(accounts, test=test)


def is_offered(channel: Channel, *, test: bool) -> bool:
    """Say whether anything that is due on a channel may be claimed now, be it as a probe."""
    rows = [stopped(name, channel) for name in routes.names_for(channel, test=test)]
    return any(row is None or is_probe_due(row) for row in rows)


def is_probe_due(row: AccountState) -> bool:
    """Say whether a stopped account is to be tried now."""
    return row.probe_at is not None and row.probe_at <= timezone.now()


def note(account: str, channel: Channel, ended: Accepted | ProviderError | None, began: float) -> None:
    """Learn from the end of a call that began then (monotonic). None, a 429 and the like say nothing."""
    match ended:
        case Accepted() | Rejected():
            count(account, channel, None)
        case Misconfigured():
            pause(account, channel, ended)
        case Uncertain() | NotSent(unreachable=True):
            streak = count(account, channel, began)
            if streak.is_sustained and stopped(account, channel) is None:
                open_breaker(account, channel, streak, ended)


def count(account: str, channel: Channel, failed_since: float | None) -> Streak:
    """Add to the failures in a row one whose call began then, or with None end them."""
    with _memory.lock:
        streak = _memory.streaks.setdefault((account, channel), Streak())
        if failed_since is None:
            streak.succeed()
        else:
            streak.fail(failed_since)
        return streak


def pause(account: str, channel: Channel, error: Misconfigured) -> None:
    """Stop every channel of an account that can't send."""
    row = stopped(account, channel)
    if row is not None and row.state == AccountState.State.PAUSED:
        return
    AccountState.objects.pause(
        account,
        routes.channels_of(account),
        code=error.code[:50],
        sentence=error.message,
        probe_at=timezone.now() + timedelta(seconds=settings.PROBE_SECONDS),
    )
    read_again()


def open_breaker(account: str, channel: Channel, streak: Streak, error: ProviderError) -> None:
    """Stop one channel of an account whose calls keep failing."""
    now = timezone.now()
    AccountState.objects.open_breaker(
        account,
        channel,
        failures=streak.failures,
        failing_since=now - timedelta(seconds=streak.seconds),
        last=error.message,
        probe_at=now + timedelta(seconds=settings.BREAKER_SECONDS),
    )
    read_again()


def end_probe(row: AccountState, ended: Accepted | ProviderError | None) -> None:
    """Let an account run again whose probe the provider took or refused for its own sake; else try again later.

    None says that nothing was offered: then the next message may be the probe, at once.
    """
    if isinstance(ended, (Accepted, Rejected)):
        AccountState.objects.decided_by_probe(row).resume()
    else:
        seconds = settings.BREAKER_SECONDS if row.state == AccountState.State.OPEN else settings.PROBE_SECONDS
        AccountState.objects.put_off_probe(row, timedelta(seconds=seconds if ended else 0))
    read_again()
