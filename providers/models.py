"""The state of an account with a provider: may it be offered messages?"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models, transaction
from django.db.models import Q
from django.dispatch import Signal
from django.utils import timezone

from providers import routes

logger = logging.getLogger(__name__)

REHEARSED = "pretended_down"
"""The reason of a pause that is an exercise."""

account_resumed = Signal()
"""Sent in the transaction that lets an account's channel run again, with `channel`, `test` (whether it carries test
messages) and `stopped_at`: since when its messages' clock stood still, None where it did not."""


class AccountStateQuerySet(models.QuerySet["AccountState"]):
    """How accounts are stopped, tried and let go on. Whoever decides second finds no row left to change."""

    def pause(
        self, account: str, channels: Sequence[str], *, code: str, sentence: str, probe_at: datetime | None
    ) -> None:
        """Stop these channels of an account until a probe succeeds, or without `probe_at` until somebody resumes them.

        What is paused already stays so for its old reason, but a person's pause outlasts any probe.
        """
        with transaction.atomic():
            for row in self._locked(account, channels):
                if row.state != AccountState.State.PAUSED:
                    row.failures, row.failing_since = 0, None
                    row.move(AccountState.State.PAUSED, code, sentence, probe_at)
                elif probe_at is None:
                    row.move(row.state, code, sentence, None)

    def rehearse(self, row: "AccountState", lasts: timedelta) -> bool:
        """Pretend that this channel of an account is down: a pause that ends by itself after `lasts`.

        Return False for one that is stopped already, which stays as it is. Nothing fails and nothing grows old in it.
        """
        with transaction.atomic():
            for locked in self._locked(row.account, [row.channel]):
                if locked.state != AccountState.State.RUNNING:
                    return False
                until = timezone.now() + lasts
                sentence = f"Somebody pretends that it is down, until {until:%H:%M} UTC."
                locked.move(AccountState.State.PAUSED, REHEARSED, sentence, until)
        return True

    def end_rehearsals(self) -> "list[AccountState]":
        """Let those run again whose rehearsal is over; return them."""
        paused = self.filter(state=AccountState.State.PAUSED, code=REHEARSED)
        return paused.filter(probe_at__lte=timezone.now()).resume()

    def open_breaker(
        self, account: str, channel: str, *, failures: int, failing_since: datetime, last: str, probe_at: datetime
    ) -> None:
        """Stop a running channel of an account after so many failures in a row; `last` says what the last one was."""
        with transaction.atomic():
            for row in self._locked(account, [channel]):
                if row.state == AccountState.State.RUNNING:
                    row.failures, row.failing_since = failures, failing_since
                    sentence = f"{failures} calls in a row failed, at last with: {last}"
                    row.move(AccountState.State.OPEN, "provider_failing", sentence, probe_at)

    def _locked(self, account: str, channels: Sequence[str]) -> "list[AccountState]":
        self.add_missing((account, channel) for channel in channels)
        rows = self.filter(account=account, channel__in=channels)
        return list(rows.select_for_update().order_by("pk"))

    def add_missing(self, pairs: Iterable[tuple[str, str]]) -> None:
        """See to it that there is a row for each (account, channel)."""
        rows = [AccountState(account=account, channel=channel) for account, channel in pairs]
        self.bulk_create(rows, ignore_conflicts=True)

    @transaction.atomic
    def resume(self) -> "list[AccountState]":
        """Let those of these that are stopped run again, with what waited for them; return them."""
        stopped = self.exclude(state=AccountState.State.RUNNING)
        rows = list(stopped.select_for_update().order_by("pk"))
        for row in rows:
            test = routes.is_test(row.account)
            ChannelClock.objects.turn(row.channel, test=test)
            row.failures, row.failing_since = 0, None
            row.move(AccountState.State.RUNNING, "", "", None)
            stopped_at = ChannelClock.objects.turn(row.channel, test=test).stood_since
            account_resumed.send(AccountState, channel=row.channel, test=test, stopped_at=stopped_at)
        return rows

    def clock_stopped_at(self, channel: str, route: Sequence[str]) -> datetime | None:
        """Return since when messages of a channel do not grow older: since the last of its accounts was paused. None
        while one of them is not paused; an open breaker stops no clock.
        """
        paused = self.filter(account__in=route, channel=channel, state=AccountState.State.PAUSED)
        since = list(paused.values_list("since", flat=True))
        return max(filter(None, since), default=None) if len(since) == len(route) else None

    def decided_by_probe(self, row: "AccountState") -> "AccountStateQuerySet":
        """Return what one probe decides about: all of a paused account, or the one channel whose breaker is open.

        Nothing that has moved on since `row` was read, and nothing that a person paused.
        """
        rows = self.filter(account=row.account, state=row.state, probe_at__isnull=False)
        return rows if row.state == AccountState.State.PAUSED else rows.filter(channel=row.channel)

    def take_probe(self, row: "AccountState", lasts: timedelta) -> bool:
        """Take the right to offer one message; False if it is too early for that or somebody else has it.

        It comes back when it is put off, and by itself after `lasts`.
        """
        now = timezone.now()
        return bool(self.decided_by_probe(row).filter(probe_at__lte=now).update(probe_at=now + lasts))

    def put_off_probe(self, row: "AccountState", wait: timedelta) -> None:
        """Let the next probe be due after `wait`."""
        self.decided_by_probe(row).update(probe_at=timezone.now() + wait)


class AccountState(models.Model):
    """What one account does on one channel. No row is the same as `running`.

        running ──▶ paused    the account can't send (Misconfigured), or a person said so
           ▲  └───▶ open      its circuit breaker: too many calls in a row failed
           └────── a probe that the provider answers, or a person

    While it is not running its messages wait, and one of them is offered now and then to see whether it works again.
    """

    class State(models.TextChoices):
        """Lower case everywhere."""

        RUNNING = "running", "running"
        PAUSED = "paused", "paused"
        OPEN = "open", "open"

    account = models.CharField(max_length=50)
    channel = models.CharField(max_length=5)
    state = models.CharField(max_length=7, choices=State.choices, default=State.RUNNING)
    code = models.CharField("reason", max_length=50, blank=True)
    sentence = models.CharField(max_length=500, blank=True)
    # When it became so; none where it never was anything else.
    since = models.DateTimeField(null=True)
    probe_at = models.DateTimeField("next probe", null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager["AccountState"]] = AccountStateQuerySet.as_manager()

    class Meta:
        verbose_name = "account"
        constraints = [
            models.UniqueConstraint(fields=["account", "channel"], name="one_state_per_account_and_channel"),
            models.CheckConstraint(condition=Q(state__in=["running", "paused", "open"]), name="account_state_in_words"),
        ]

    def __str__(self) -> str:
        return f"{self.account}, {self.channel}: {self.state}"

    @property
    def label(self) -> str:
        """The account as staff read it."""
        return routes.label_of(self.account)

    def move(self, state: str, code: str, sentence: str, probe_at: datetime | None) -> None:
        """Write down what this locked row becomes, and log it. A reason that changes does not restart the time."""
        if state != self.state:
            self.since = timezone.now()
        self.state, self.code, self.sentence, self.probe_at = state, code[:50], sentence[:500], probe_at
        self.save()
        level = logging.INFO if state == self.State.RUNNING else logging.ERROR
        fields = {"account": self.account, "queue": self.channel}
        logger.log(level, "account %s, %s: %s (%s)", self.account, self.channel, state, code or "resumed", extra=fields)


class ChannelClockQuerySet(models.QuerySet["ChannelClock"]):
    """How clocks are stopped, and go on."""

    def all_go(self) -> bool:
        """Say whether no clock stands, nor has to be stopped."""
        stands = self.filter(stopped_at__isnull=False).exists()
        return not stands and not AccountState.objects.filter(state=AccountState.State.PAUSED).exists()

    @transaction.atomic
    def turn(self, channel: str, *, test: bool) -> "ChannelClock":
        """Let a channel's clock stand or go as its accounts, by the route of now, have it; return it, locked.

        With `stood_since` it goes again from this moment on, for whatever reason: whoever gets that has to let its
        messages live on, in the same transaction. While it stands, nothing makes the time since when later.
        """
        self.bulk_create([ChannelClock(channel=channel, test=test)], ignore_conflicts=True)
        clock = self.select_for_update().get(channel=channel, test=test)
        stood_since = clock.stopped_at
        stopped_at = AccountState.objects.clock_stopped_at(channel, routes.names_for(channel, test=test))
        clock.stopped_at = min(filter(None, (stopped_at, stood_since))) if stopped_at else None
        if clock.stopped_at != stood_since:
            clock.save(update_fields=["stopped_at"])
        clock.stood_since = None if stopped_at else stood_since
        return clock


class ChannelClock(models.Model):
    """Since when the messages of a channel, or of its tests, do not grow older: none of its accounts can send."""

    channel = models.CharField(max_length=5)
    test = models.BooleanField()
    stopped_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager["ChannelClock"]] = ChannelClockQuerySet.as_manager()

    stood_since: datetime | None = None
    """What `turn` found."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["channel", "test"], name="one_clock_per_channel")]

    def __str__(self) -> str:
        return f"{self.channel}: {self.stopped_at or 'goes'}"
