"""Whether an account may be offered messages now, and what the ends of calls say about it.

What every process has to know is a row (`AccountState`), written when something changes and read once a second at
most; failures in a row are counted in each process for itself, as a write for each would cost more than it tells.
"""

import os
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf

from django.conf import settings
from django.utils import timezone

from providers import routes
from providers.base import Accepted, Channel, Provider
from providers.errors import Misconfigured, NotSent, ProviderError, Rejected, Uncertain
from providers.models import AccountState

READ_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Permit:
    """What may be claimed now: `limit` messages, None for as many as one likes.

    `as_of` is the time that counts for their expiry, None for now. `probing` is set when the one message is a probe.
    """

    limit: int | None = None
    as_of: datetime | None = None
    probing: AccountState | None = None


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


def stopped(account: Provider, channel: Channel) -> AccountState | None:
    """The row that says why this account is offered nothing on this channel, up to a second old; None while it runs."""
    with _memory.lock:
        if time.monotonic() >= _memory.read_again_at:
            rows = AccountState.objects.exclude(state=AccountState.State.RUNNING)
            _memory.stopped = {(row.account, row.channel): row for row in rows}
            for key in _memory.stopped:
                _memory.streaks.pop(key, None)  # what failed before a stop is no reason for the next one
            _memory.read_again_at = time.monotonic() + READ_AGAIN_SECONDS
        return _memory.stopped.get((account.name, channel))


def read_again() -> None:
    """Let the next question be answered by the database."""
    with _memory.lock:
        _memory.read_again_at = -inf


def permit(account: Provider, channel: Channel) -> Permit:
    """Say how many messages may be claimed for this account now. One means that the right to a probe is taken."""
    row = stopped(account, channel)
    if row is None:
        return Permit()
    if not is_probe_due(row) or not AccountState.objects.take_probe(row, timedelta(seconds=settings.LEASE_SECONDS)):
        return Permit(limit=0)
    read_again()
    return Permit(limit=1, as_of=row.clock_stopped_at, probing=row)


def is_probe_due(row: AccountState) -> bool:
    """Say whether a stopped account is to be tried now."""
    return row.probe_at is not None and row.probe_at <= timezone.now()


def note(account: Provider, channel: Channel, ended: Accepted | ProviderError | None, began: float) -> None:
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


def count(account: Provider, channel: Channel, failed_since: float | None) -> Streak:
    """Add to the failures in a row one whose call began then, or with None end them."""
    with _memory.lock:
        streak = _memory.streaks.setdefault((account.name, channel), Streak())
        if failed_since is None:
            streak.succeed()
        else:
            streak.fail(failed_since)
        return streak


def pause(account: Provider, channel: Channel, error: Misconfigured) -> None:
    """Stop every channel of an account that can't send."""
    row = stopped(account, channel)
    if row is not None and row.state == AccountState.State.PAUSED:
        return
    AccountState.objects.pause(
        account.name,
        routes.channels_of(account.name),
        code=error.code,
        sentence=error.message,
        probe_at=timezone.now() + timedelta(seconds=settings.PROBE_SECONDS),
    )
    read_again()


def open_breaker(account: Provider, channel: Channel, streak: Streak, error: ProviderError) -> None:
    """Stop one channel of an account whose calls keep failing."""
    now = timezone.now()
    AccountState.objects.open_breaker(
        account.name,
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
