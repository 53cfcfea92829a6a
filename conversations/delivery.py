"""Carrying messages to their providers: claim what is due, call, write down how each call ended.

One event loop in each process holds all calls in flight and the kept-alive connections; the thread that asked for the
delivery keeps the database to itself, and no transaction is open while a provider is called.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from uuid import UUID

from django.conf import settings
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection

from conversations.attempt import call, not_begun, outcome_of, paced
from conversations.event_loop import event_loop
from conversations.log_context import about
from conversations.models import Message, OptOut, SenderPace
from conversations.models.claim import Offer
from conversations.models.outcome import Outcome
from providers import breaker, routes
from providers.base import Channel
from providers.errors import NotSent, Uncertain
from providers.models import AccountState

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 0.2
# Calls that end within this time of one another are written down together, and what takes their place is claimed
# together: under load that halves the statements for each message. The last one under way waits for nobody.
GATHER_SECONDS = 0.03
DATABASE_AWAY = (OperationalError, InterfaceError)
STOPPING = threading.Event()
"""Set when the process is told to go: nothing more is claimed, the calls in flight are finished."""


def deliver_due(channel: Channel) -> Counter[str]:
    """Send what is due on a channel, for some 20 s at most; return how many ended with which status.

    Rows are claimed only as calls end, so that a message waits for no slower neighbour and no claimed row lies idle.
    Whatever keeps it from claiming on, the calls in flight are brought home.
    """
    calls = Calls(channel)
    tally: Counter[str] = Counter()
    claim_until = time.monotonic() + settings.CLAIM_SECONDS
    claiming = True
    try:
        while True:
            claiming = claiming and not STOPPING.is_set() and time.monotonic() < claim_until
            claiming = claiming and claim_what_fits(calls)
            if not calls.in_flight:
                return tally
            tally.update(outcome.status.value for outcome in calls.bring_home())
    finally:
        while calls.in_flight:
            calls.bring_home()


def claim_what_fits(calls: "Calls") -> bool:
    """Begin as many due calls as there is room for. Return False if the database is away, so that nobody asks on.

    What is in flight then is brought home all the same.
    """
    try:
        if calls.free:
            calls.claim()
    except IntegrityError:
        return True  # a neighbour began the same line at the same moment: look again
    except DATABASE_AWAY as error:
        logger.warning("the database is away (%s); what is due on %s waits", type(error).__name__, calls.channel)
        connection.close()
        return False
    return True


def deliver_now(message: Message) -> bool:
    """Send this one message here and now; return False if it is not due, not first in its line, or somebody has it, or
    while all its accounts are stopped.
    """
    calls = Calls(message.channel)
    claimed = calls.claim(only=message)
    while calls.in_flight:
        calls.bring_home()
    return claimed > 0


def lease() -> timedelta:
    """Return how long a claimed message is a worker's own."""
    return timedelta(seconds=settings.LEASE_SECONDS)


class Calls:
    """The calls that one delivery has in flight on a channel.

    The accounts are made before anything is claimed: importing an SDK takes a while, and a lease should not pay for it.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._accounts = routes.accounts_for(channel)
        self._most = routes.calls_in_flight(channel)
        self._ended: SimpleQueue[Outcome] = SimpleQueue()
        self._probes: dict[UUID, AccountState] = {}
        self._waiting: dict[UUID, Waiting] = {}

    @property
    def in_flight(self) -> int:
        """How many calls have not been brought home."""
        return len(self._waiting)

    @property
    def free(self) -> int:
        """How many more calls may begin. Those that got stuck take up no room, or a provider that hangs would keep
        messages from the next.
        """
        return self._most - self._under_way

    @property
    def _under_way(self) -> int:
        """How many calls have not been brought home, those that got stuck left out."""
        return sum(not each.is_stalled for each in self._waiting.values())

    def claim(self, only: Message | None = None) -> int:
        """Take due messages, as many as there is room for and accounts may be offered, and begin their calls.

        With `only`, that one. Return how many.
        """
        claimed = 0
        for permit in breaker.permits(self.channel):
            claimed += self._claim_by(permit, only)
        return claimed

    def _claim_by(self, permit: breaker.Permit, only: Message | None) -> int:
        lease_began = time.monotonic()
        limit = 1 if permit.probing or only else self.free
        reasons = breaker.reasons(self.channel, test=permit.test)
        offer = Offer(permit.accounts, reasons, lease(), permit.as_of, permit.test)
        claimed: list[Message] = []
        unheard: list[Outcome] = []
        held_back: list[Outcome] = []
        try:
            if only:
                claimed = Message.objects.claim_one(only, offer)
            else:
                claimed = Message.objects.claim(self.channel, offer, limit=limit)
            claimed, unheard = part_by_opt_outs(claimed)
            claimed, held_back = part_by_turn(claimed)
        finally:
            if permit.probing and claimed:
                self._probes[claimed[0].pk] = permit.probing
            elif permit.probing:
                breaker.end_probe(permit.probing, None)
        self.begin(claimed, lease_began)
        record([*unheard, *held_back])
        return len(claimed)

    def begin(self, messages: list[Message], lease_began: float) -> None:
        """Start a call for each of these claimed messages. `lease_began` is the monotonic time before the claim."""
        if not messages:
            return
        self._waiting.update((message.pk, Waiting(message.provider)) for message in messages)
        begin_before = lease_began + settings.LEASE_SECONDS - settings.PROVIDER_TIMEOUT_SECONDS
        begin_before -= settings.LEASE_MARGIN_SECONDS
        loop = event_loop()
        loop.call_soon_threadsafe(self._start, loop, messages, begin_before)

    def _start(self, loop: asyncio.AbstractEventLoop, messages: list[Message], begin_before: float) -> None:
        for message in messages:
            task = loop.create_task(call(self._accounts[message.provider], message, begin_before))
            task.add_done_callback(partial(self._end, message))

    def _end(self, message: Message, task: asyncio.Task[Outcome]) -> None:
        """Bring home whatever came of a call, so that nobody waits for it for ever."""
        try:
            self._ended.put(task.result())
        except BaseException:
            with about(**message.log_fields()):
                logger.exception("the adapter broke")
            text = "The call broke in a way that says nothing about whether it was sent."
            self._ended.put(outcome_of(message, Uncertain(text, code="unexpected"), time.monotonic()))

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the calls that have ended, waiting up to `seconds` for the first of them and a moment for others."""
        outcomes: list[Outcome] = []
        try:
            outcomes.append(self._ended.get(timeout=seconds))
            if self._under_way > self._ended.qsize() + len(outcomes):
                time.sleep(GATHER_SECONDS)
            while True:
                outcomes.append(self._ended.get_nowait())
        except Empty:
            return outcomes

    def bring_home(self) -> list[Outcome]:
        """Wait a little for calls to end; write down how they did, and what that says about their accounts.

        The accounts first: a message that waits for one must not be claimed again in between.
        """
        outcomes = self.wait(LOOK_AGAIN_SECONDS)
        waited = [self._waiting.pop(outcome.message_id) for outcome in outcomes]
        try:
            outcomes = [self._learn(*each) for each in zip(outcomes, waited, strict=True)]
            self._note_stalls()
        except DATABASE_AWAY as error:
            logger.warning("the database is away (%s); the accounts' state waits", type(error).__name__)
            connection.close()
        finally:
            record(outcomes)
        return outcomes

    def _note_stalls(self) -> None:
        """Count calls that have had no answer for long as failures, without giving them up."""
        for each in self._waiting.values():
            if not each.is_stalled and time.monotonic() - each.began > settings.BREAKER_STALL_SECONDS:
                each.is_stalled = True
                sentence = f"No answer for {settings.BREAKER_STALL_SECONDS:g} s."
                breaker.note(each.account, self.channel, Uncertain(sentence, code="stalled"), each.began)

    def _learn(self, outcome: Outcome, waited: "Waiting") -> Outcome:
        """Let the account's state know how a call ended; return the outcome with the account to be tried next."""
        is_counted = waited.is_stalled and isinstance(outcome.ended, (NotSent, Uncertain))
        if not is_counted:
            breaker.note(waited.account, self.channel, outcome.ended, outcome.began)
        probed = self._probes.pop(outcome.message_id, None)
        if probed is not None:
            breaker.end_probe(probed, outcome.ended)
        return self._failed_over(outcome, waited.account)

    def _failed_over(self, outcome: Outcome, failed: str) -> Outcome:
        """Plan another account for a message whose own could not be reached: at once for one further down the route,
        after the usual pause for one that comes before it.
        """
        if not (isinstance(outcome.ended, NotSent) and outcome.ended.unreachable):
            return outcome
        test = routes.is_test(failed)
        names = routes.names_for(self.channel, test=test)
        place = names.index(failed)
        running = breaker.running(self.channel, test=test)
        for name in [*names[place + 1 :], *names[:place]]:
            if name in running:
                later = names.index(name) > place
                return replace(outcome, next_account=name, retry_in=0 if later else outcome.retry_in)
        return outcome


@dataclass(slots=True)
class Waiting:
    """A call that has not been brought home."""

    account: str
    began: float = field(default_factory=time.monotonic)
    is_stalled: bool = False


def part_by_opt_outs(messages: list[Message]) -> tuple[list[Message], list[Outcome]]:
    """Return these claimed messages, with what is known of opt-outs by pseudonyms; while nobody can tell, none of them
    and how all are put back.
    """
    try:
        return OptOut.objects.heeded_by_pseudonym(messages), []
    except DATABASE_AWAY:
        connection.close()
        return [], [not_begun(message) for message in messages]


def part_by_turn(messages: list[Message]) -> tuple[list[Message], list[Outcome]]:
    """Return those of these claimed messages that may leave now, and how those are put back whose turn is to come."""
    try:
        later = SenderPace.objects.turns(messages)
    except DATABASE_AWAY:
        return messages, []  # too fast is better than claimed for nothing
    held_back = [paced(message, later[message.pk]) for message in messages if message.pk in later]
    return [message for message in messages if message.pk not in later], held_back


def record(outcomes: list[Outcome]) -> None:
    """Write outcomes down, trying again while the database is away and the leases last.

    What can't be written in that time is not lost: the leases run out and the messages stand as uncertain. One that
    can't stand as it is harms no neighbour.
    """
    give_up_at = time.monotonic() + settings.LEASE_SECONDS
    while outcomes:
        try:
            log_overtaken(outcomes, Message.objects.record_outcomes(outcomes))
            return
        except (IntegrityError, DataError, ValueError):
            if len(outcomes) > 1:
                for outcome in outcomes:
                    record([outcome])
                return
            outcomes = [explained(outcomes[0])]
        except DATABASE_AWAY:
            if time.monotonic() > give_up_at:
                raise
            logger.warning("the database is away; %s outcomes wait to be written", len(outcomes))
            connection.close()
            time.sleep(0.5)


def explained(outcome: Outcome) -> Outcome:
    """Return an outcome that can be written, in place of one that can't: the provider named another message's id, or
    something that no column holds.

    Raises ValueError if this is such an outcome already.
    """
    if outcome.error_code == "unusable_answer":
        raise ValueError(f"message {outcome.message_id}: its outcome can't be written")
    logger.error("the outcome could not be written", extra=outcome.log_fields())
    text = "The provider's answer names an id or a value that can't be kept."
    return replace(outcome, provider_message_id="", segments=None, error_code="unusable_answer", error_message=text)


def log_overtaken(outcomes: list[Outcome], written: set[UUID]) -> None:
    """Say which outcomes changed nothing, because the message had moved on without them."""
    for outcome in outcomes:
        if outcome.message_id not in written:
            logger.warning("%s came too late and changed nothing", outcome.status.value, extra=outcome.log_fields())
