"""Settling doubts with the provider: what became of a message whose call ended without an answer, or whose report was
lost. Nothing is sent again unless the provider's own records prove that it was not sent.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from conversations.event_loop import event_loop
from conversations.log_context import about
from conversations.models import Message, MessageEvent
from conversations.models.status import Status
from providers import routes
from providers.base import DeliveryReport, FoundMessage, Provider
from providers.errors import NotSent, ProviderError

logger = logging.getLogger(__name__)

LOOKED_AT_ONCE = 50
ASKED_AT_ONCE = 16
# One look may come before the provider shows what it has just taken over.
LOOKS_THAT_PROVE_ABSENCE = 2
# The provider's clock and ours need not agree. What is older and ours has its row, so a wide margin costs little.
CLOCKS_DIFFER = timedelta(minutes=5)
ASK_AGAIN = timedelta(minutes=10)
ASKED_FOR = timedelta(hours=72)
PUT_OFF_FOR = timedelta(days=1)

Answer = TypeVar("Answer")


def settle_due() -> Counter[str]:
    """Ask about the doubts that are due; return how many ended with which status, and how many still wait."""
    tally: Counter[str] = Counter()
    due = Message.objects.take_doubts(limit=LOOKED_AT_ONCE)
    # Where only some can be asked about, these are not the same every time.
    random.shuffle(due)
    tally += ask_by_id([each for each in due if is_asked_by_id(each)])
    taken = [each for each in due if not is_asked_by_id(each)]
    looks = {twins_key(each): each for each in taken}
    answers = ask_each(list(looks.values()), look_up)
    answered = {message.pk for message, _ in answers}
    # Mails have an end for doubts that no records settle; about texts Twilio is asked until it answers.
    unanswered = [each for each in looks.values() if each.type == Message.Type.EMAIL and each.pk not in answered]
    for message, found in [*answers, *((message, None) for message in unanswered)]:
        tally.update(put_off(message) if isinstance(found, NotSent) else settle(message, found))
    return tally


def is_asked_by_id(message: Message) -> bool:
    """Say whether a doubt is about a text that its provider has named, so that no list has to be searched."""
    return message.type != Message.Type.EMAIL and message.provider_message_id != ""


def ask_by_id(named: Sequence[Message]) -> Counter[str]:
    """Ask about texts in doubt that the provider has named already, by a report that did not say what became of them;
    return how many ended with which status. Those that it does not answer come due again.
    """
    tally: Counter[str] = Counter()
    for message, report in ask_each(named, ask):
        if report is not None:
            told = replace(report, message_id=message.pk, attempt=message.attempts, status=report.status or "sent")
            Message.objects.apply_report(message.provider, told)
            tally[str(told.status)] += 1
    return tally


def put_off(message: Message) -> Counter[str]:
    """Give a mail of which nobody was asked as much more time as passes until the next look, for a day at most.

    Texts have no end but an answer, and come due again by themselves.
    """
    if message.type != Message.Type.EMAIL:
        return Counter()
    gap = timedelta(seconds=settings.SETTLE_GAP_SECONDS)
    same = Message.objects.filter(pk=message.pk, status=Status.UNCERTAIN, settle_at=message.settle_at)
    if same.filter(updated_at__gt=timezone.now() - PUT_OFF_FOR).update(settle_by=F("settle_by") + gap):
        return Counter(waiting=1)
    return settle(message, None)


def ask_overdue() -> int:
    """Ask about sent messages whose report is overdue, and let the answers take effect; return how many came."""
    overdue = Message.objects.take_overdue_reports(limit=LOOKED_AT_ONCE)
    answers = ask_each(overdue, ask)
    come_back_to({message.pk for message in overdue} - {message.pk for message, _ in answers})
    count = 0
    for message, report in answers:
        if report is None:
            Message.objects.filter(pk=message.pk, status=Status.SENT).update(report_due_at=None)
        else:
            own = replace(report, message_id=message.pk, attempt=message.attempts)
            count += Message.objects.apply_report(message.provider, own)
    return count


def come_back_to(unanswered: set[UUID]) -> None:
    """Ask soon again about messages whose provider did not answer, also where it was the last time to ask."""
    now = timezone.now()
    sent = Message.objects.filter(pk__in=unanswered, status=Status.SENT, sent_at__gt=now - ASKED_FOR)
    sent.filter(report_due_at=None).update(report_due_at=now + ASK_AGAIN)


async def look_up(account: Provider, message: Message) -> Sequence[FoundMessage] | NotSent | None:
    """Return what the provider holds that could be this message, or that the question never reached it.

    Raises `ProviderError`.
    """
    try:
        return await account.find(message.as_outbound(), begin_of_look(message))
    except NotSent as not_asked:
        return not_asked


def begin_of_look(message: Message) -> datetime:
    """Return since when the provider's records are searched for a message."""
    return (message.send_at or message.created_at) - CLOCKS_DIFFER


def twins_key(message: Message) -> Hashable:
    """Return what messages share for which one look is enough: being twins."""
    if message.type == Message.Type.EMAIL:
        return message.pk
    return message.provider, message.sender, message.recipient, same_text(message.body)


async def ask(account: Provider, message: Message) -> DeliveryReport | None:
    """Return what the provider says became of this message. Raises `ProviderError`."""
    return await account.ask(message.provider_message_id)


def ask_each(
    messages: Sequence[Message], question: Callable[[Provider, Message], Awaitable[Answer]]
) -> list[tuple[Message, Answer]]:
    """Put a question about each message to its provider, some at a time; return those that were answered.

    No transaction is open meanwhile. What could not be asked comes due again by itself.
    """
    gate = asyncio.Semaphore(ASKED_AT_ONCE)

    async def put(message: Message) -> tuple[Message, Answer] | None:
        with about(**message.log_fields()):
            account = routes.account_named(message.provider)
            if account is None:
                logger.error("there is no such account to be asked what became of it")
                return None
            try:
                async with gate:
                    return message, await question(account, message)
            except ProviderError as error:
                logger.warning("its account could not be asked what became of it", extra={"error_code": error.code})
                return None

    async def put_all() -> list[tuple[Message, Answer] | None]:
        return await asyncio.gather(*map(put, messages))

    answers = asyncio.run_coroutine_threadsafe(put_all(), event_loop()).result()
    return [answer for answer in answers if answer is not None]


@transaction.atomic
def settle(message: Message, found: Sequence[FoundMessage] | None) -> Counter[str]:
    """Decide about a message in doubt and all its twins at once, by what the provider holds (None: it can't say).

    `message` is as it was taken for the look. What was found may belong to a twin in flight, to one whose time to be
    looked at has not come, or to one of which a callback has told meanwhile: so nothing is given out before the counts
    agree. When the time for doubt is up, twins that differ in nothing are settled by their number.
    """
    twins = locked_twins(message)
    if not any(twin.pk == message.pk and twin.settle_at == message.settle_at for twin in twins):
        return Counter()  # it moved on while the provider was asked
    now = timezone.now()
    doubts = [twin for twin in twins if twin.settle_at == message.settle_at or is_looked_at(twin, now)]
    late = all(twin.settle_by is not None and twin.settle_by <= now for twin in doubts)
    if found is None:
        return end_unproven_ones(doubts) if late else wait(doubts, message)
    if any(twin.status == Status.SENDING for twin in twins):
        return wait(doubts, message)
    unowned = [each for each in found if not Message.objects.owns(message.provider, each.provider_message_id)]
    candidates = [each for each in unowned if same_text(each.body) == same_text(message.body)]
    if any(not each.body and message.body for each in unowned):  # the account hides texts: this could be anybody's
        return end_unproven_ones(doubts) if late else wait(doubts, message)
    if len(doubts) == len(twins) and len(candidates) in (0, len(doubts)):
        return give_out(doubts, candidates) if candidates else note_absence(doubts, message)
    if not late:
        return wait(doubts, message)
    alike = len({(twin.type, str(twin.attachments), twin.body) for twin in twins}) == 1
    return give_out(doubts, candidates) if alike and len(doubts) == len(twins) else end_unproven_ones(doubts)


def locked_twins(message: Message) -> list[Message]:
    """Return the messages that a provider's records can't tell from this one, oldest first, locked.

    A mail has none but itself: who keeps records of mails names our own ids in them.
    """
    if message.type == Message.Type.EMAIL:
        return list(Message.objects.select_for_update().filter(pk=message.pk))
    since = begin_of_look(message)
    pair = Message.objects.unnamed_between(message.provider, message.sender, message.recipient, since)
    rows = pair.select_for_update().order_by("id")
    return sorted(
        (row for row in rows if same_text(row.body) == same_text(message.body)), key=lambda row: row.created_at
    )


def same_text(body: str) -> str:
    """Return a text as a provider may give it back, which keeps no account of white space."""
    return " ".join(body.split())


def is_looked_at(message: Message, now: datetime) -> bool:
    """Say whether a message is in doubt for so long that looks at the provider tell of it."""
    if message.status != Status.UNCERTAIN or message.settle_by is None:
        return False
    return message.settle_by - timedelta(seconds=settings.SETTLE_DEADLINE_SECONDS) <= now


def wait(doubts: Sequence[Message], looked: Message) -> Counter[str]:
    """Leave doubts as they are until the next look, which is for all of them."""
    Message.objects.filter(pk__in=[twin.pk for twin in doubts]).update(settle_at=looked.settle_at)
    return Counter(waiting=len(doubts))


def end_unproven_ones(doubts: Sequence[Message]) -> Counter[str]:
    """End doubts that nobody can settle, each by its own policy."""
    return Counter(end_unproven(twin) for twin in doubts)


def give_out(doubts: Sequence[Message], unowned: Sequence[FoundMessage]) -> Counter[str]:
    """Give each doubt one of the provider's messages, oldest first; send those again for which there is none left."""
    tally: Counter[str] = Counter()
    for twin, found in zip(doubts, unowned, strict=False):
        tally[take_found(twin, found)] += 1
    for twin in doubts[len(unowned) :]:
        tally[send_again(twin, "The provider holds fewer of these messages than there were calls.")] += 1
    if len(unowned) > len(doubts):
        doubts[-1].record_possible_duplicate("The provider holds more of these messages than there are here.")
    return tally


def take_found(message: Message, found: FoundMessage) -> str:
    """Let a doubt end as what the provider's records say became of it; return that."""
    status = found.report.status or "sent"
    report = replace(found.report, message_id=message.pk, attempt=message.attempts, status=status)
    Message.objects.apply_report(message.provider, report, received_at=found.created_at)
    return status


def note_absence(doubts: Sequence[Message], looked: Message) -> Counter[str]:
    """Count a look that found nothing; after enough of them the messages were not sent."""
    for twin in doubts:
        twin.looks += 1
        twin.save(update_fields=["looks"])
    if min(twin.looks for twin in doubts) < LOOKS_THAT_PROVE_ABSENCE:
        return wait(doubts, looked)
    return Counter(send_again(twin, "The provider holds no such message: it was not sent.") for twin in doubts)


def end_unproven(message: Message) -> str:
    """End a doubt that nobody can settle: held for a person, or sent again, once, where that was asked for."""
    policy = message.on_unresolved or settings.ON_UNRESOLVED[message.type]
    was_resent = message.events.filter(code="possible_duplicate").exists()
    # The system that a copy was made of has most likely sent it: no policy means that.
    if policy == Message.OnUnresolved.RESEND and not was_resent and message.error_code != "restored":
        message.record_possible_duplicate("Sent again by policy, although it may have been sent.")
        return send_again(message, "Nobody can tell whether it was sent; it is sent again by policy.")
    move(message, Status.UNRESOLVED, MessageEvent.Evidence.ASSUMED, "Nobody can tell whether it was sent.")
    return message.status


def send_again(message: Message, reason: str) -> str:
    """Let a message be due again, now."""
    message.next_attempt_at = timezone.now()
    message.error_code = message.error_message = ""
    move(message, Status.PENDING, MessageEvent.Evidence.OBSERVED, reason)
    return message.status


def move(message: Message, status: Status, evidence: MessageEvent.Evidence, detail: str) -> None:
    """Write down what a locked doubt became, and why."""
    message.status, message.settle_at, message.updated_at = status, None, timezone.now()
    message.save(update_fields=["status", "settle_at", "next_attempt_at", "error_code", "error_message", "updated_at"])
    message.events.create(status=status, evidence=evidence, attempt=message.attempts, detail=detail)
