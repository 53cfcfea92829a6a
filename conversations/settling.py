"""Settling doubts with the provider: what became of a message whose call ended without an answer, or whose report was
lost. Nothing is sent again unless the provider's own records prove that it was not sent.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from conversations.delivery import event_loop
from conversations.models import Message, MessageEvent
from conversations.models.status import Status
from providers import routes
from providers.base import DeliveryReport, FoundMessage, Provider
from providers.errors import ProviderError

logger = logging.getLogger(__name__)

LOOKED_AT_ONCE = 50
ASKED_AT_ONCE = 16
# One look may come before the provider shows what it has just taken over.
LOOKS_THAT_PROVE_ABSENCE = 2
# The provider's clock and ours need not agree, and its times may be whole seconds.
CLOCKS_DIFFER = timedelta(seconds=30)

Answer = TypeVar("Answer")
Twins = tuple[str, str, str, str]


def settle_due() -> Counter[str]:
    """Ask about the doubts that are due; return how many ended with which status, and how many still wait."""
    tally: Counter[str] = Counter()
    doubts = {twins_of(message): message for message in Message.objects.take_doubts(limit=LOOKED_AT_ONCE)}
    for message, found in ask_each(list(doubts.values()), look_up):
        tally.update(settle(message, found))
    return tally


def ask_overdue() -> int:
    """Ask about sent messages whose report is overdue, and let the answers take effect; return how many came."""
    count = 0
    for message, report in ask_each(Message.objects.take_overdue_reports(limit=LOOKED_AT_ONCE), ask):
        if report is None:
            Message.objects.filter(pk=message.pk, status=Status.SENT).update(report_due_at=None)
        else:
            own = replace(report, message_id=message.pk, attempt=message.attempts)
            count += Message.objects.apply_report(message.provider, own)
    return count


def twins_of(message: Message) -> Twins:
    """Return what a provider's records can't tell two messages apart by."""
    return message.provider, message.sender, message.recipient, message.body


async def look_up(account: Provider, message: Message) -> Sequence[FoundMessage] | None:
    """Return what the provider holds that could be this message. Raises `ProviderError`."""
    return await account.find(message.as_outbound(), (message.send_at or message.created_at) - CLOCKS_DIFFER)


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
        account = routes.account_named(message.provider)
        try:
            async with gate:
                return (message, await question(account, message)) if account else None
        except ProviderError as error:
            logger.warning("message %s: %s could not be asked (%s)", message.pk, message.provider, error.code)
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
    agree, or the time for doubt is up.
    """
    twins = list(Message.objects.twins(*twins_of(message)).select_for_update().order_by("created_at", "id"))
    if not any(twin.pk == message.pk and twin.settle_at == message.settle_at for twin in twins):
        return Counter()  # it moved on while the provider was asked
    now = timezone.now()
    if found is None:
        return Counter(end_unproven(twin) if is_late(twin, now) else "waiting" for twin in twins)
    doubts = [
        twin for twin in twins if twin.settle_at and (twin.settle_at <= now or twin.settle_at == message.settle_at)
    ]
    unowned = [each for each in found if not Message.objects.owns(message.provider, each.provider_message_id)]
    counts_agree = len(doubts) == len(twins) and len(unowned) in (0, len(doubts))
    if not counts_agree and not is_late(doubts[0], now):
        return Counter(waiting=len(doubts))
    return give_out(doubts, unowned) if unowned else Counter(note_absence(twin) for twin in doubts)


def is_late(message: Message, now: datetime) -> bool:
    """Say whether a message has been in doubt for as long as it may be."""
    return message.settle_by is not None and message.status == Status.UNCERTAIN and message.settle_by <= now


def give_out(doubts: Sequence[Message], unowned: Sequence[FoundMessage]) -> Counter[str]:
    """Give each doubt one of the provider's messages, oldest first; send those again for which there is none left."""
    tally: Counter[str] = Counter()
    for twin, found in zip(doubts, unowned, strict=False):
        take_found(twin, found)
        tally[twin.status] += 1
    for twin in doubts[len(unowned) :]:
        tally[send_again(twin, "The provider holds fewer of these messages than there were calls.")] += 1
    if len(unowned) > len(doubts):
        record_possible_duplicate(doubts[-1], "The provider holds more of these messages than there are here.")
    return tally


def take_found(message: Message, found: FoundMessage) -> None:
    """Let a doubt end as what the provider's records say became of it."""
    status = found.report.status or "sent"
    report = replace(found.report, message_id=message.pk, attempt=message.attempts, status=status)
    message.take_report(report, found.created_at)


def note_absence(message: Message) -> str:
    """Count a look that found nothing; after enough of them the message was not sent. Return its status then."""
    message.looks += 1
    if message.looks >= LOOKS_THAT_PROVE_ABSENCE:
        return send_again(message, "The provider holds no such message: it was not sent.")
    message.save(update_fields=["looks"])
    return "waiting"


def end_unproven(message: Message) -> str:
    """End a doubt that nobody can settle: held for a person, or sent again where that was asked for."""
    policy = message.on_unresolved or settings.ON_UNRESOLVED[message.type]
    if policy == Message.OnUnresolved.RESEND:
        record_possible_duplicate(message, "Sent again by policy, although it may have been sent.")
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


def record_possible_duplicate(message: Message, detail: str) -> None:
    """Say in the timeline that somebody may get it twice."""
    message.events.create(
        status="possible_duplicate",
        evidence=MessageEvent.Evidence.ASSUMED,
        attempt=message.attempts,
        code="possible_duplicate",
        detail=detail,
    )
