"""The doorbell, those who answer it, and the sweep that makes good every ring that was lost."""

import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import Task, shared_task
from celery.signals import worker_shutting_down
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.dispatch import receiver
from django.utils import timezone

from conversations import delivery, redaction, settling
from conversations.broker import AWAY, broker
from conversations.models import DatabaseIdentity, IdempotencyKey, Media, Message
from conversations.models.pace import PACED
from conversations.models.status import Status
from providers import breaker, routes
from providers.base import Channel
from providers.models import AccountState, ChannelClock, account_resumed

logger = logging.getLogger(__name__)

CHANNELS: tuple[Channel, ...] = ("sms", "mms", "email")
RINGS_ENOUGH = 32
RING_GRACE_SECONDS = 2.0
LONGEST_COUNTDOWN_SECONDS = 300.0
SWEEP_BATCH = 500
FETCHES_AT_ONCE = 4
# Of each sweep: some ten million a day, and never enough at once to hold up those who write.
REDACTED_AT_ONCE = 200
RESTORED_COPY = "restored copy: manage.py after_restore"


class WaitsForRetry(Exception):
    """Shown by Flower as the reason of a retry."""


def ring(message: Message) -> None:
    """Wake a worker for this message once the transaction is committed. Never raises: the row stays, the sweep rings.

    Above some 32 rings in a queue no more are added, since whoever answers one takes along everything due.
    """
    channel, message_id = message.type, str(message.id)
    transaction.on_commit(lambda: _doorbell.ring(channel, message_id), robust=True)


class Doorbell:
    """Rings where that is needed and possible."""

    def ring(self, channel: str, message_id: str) -> None:
        """Publish a ring unless enough lie there already. Never raises."""
        if broker.waiting(channel) < RINGS_ENOUGH:
            self.publish(ANSWERS[channel], message_id)

    def publish(self, task: "Task[Any, str]", *arguments: str) -> None:
        """Publish a task. Never raises."""
        try:
            task.apply_async(arguments)
        except AWAY as error:
            broker.rest(error)


_doorbell = Doorbell()
_fetching, _settling, _redacting = threading.Lock(), threading.Lock(), threading.Lock()


@shared_task(bind=True, name="conversations.send_sms", max_retries=None)
def send_sms(self: "Task[[str], str]", message_id: str) -> str:
    """Send this SMS and whatever else is due on its queue."""
    return answer(self, "sms", message_id)


@shared_task(bind=True, name="conversations.send_mms", max_retries=None)
def send_mms(self: "Task[[str], str]", message_id: str) -> str:
    """Send this MMS and whatever else is due on its queue."""
    return answer(self, "mms", message_id)


@shared_task(bind=True, name="conversations.send_email", max_retries=None)
def send_email(self: "Task[[str], str]", message_id: str) -> str:
    """Send this email and whatever else is due on its queue."""
    return answer(self, "email", message_id)


ANSWERS = {"sms": send_sms, "mms": send_mms, "email": send_email}


def answer(task: "Task[[str], str]", channel: Channel, message_id: str) -> str:
    """Deliver what is due; return one line for Flower. Raises Celery's Retry if the message itself has to wait."""
    began = time.monotonic()
    tally = delivery.deliver_due(channel)
    if time.monotonic() - began >= settings.CLAIM_SECONDS:
        ring_next_due(channel)
    wait = seconds_until_retry(message_id)
    if wait is not None:
        raise task.retry(countdown=wait, exc=WaitsForRetry(summary(tally)))
    return summary(tally)


def summary(tally: Counter[str]) -> str:
    """Return a tally as a line, such as "sent 37, waiting 1"."""
    words = {Status.PENDING.value: "waiting"}
    return ", ".join(f"{words.get(status, status)} {count}" for status, count in tally.most_common()) or "nothing due"


def ring_next_due(channel: Channel) -> None:
    """Hand over what is left to whoever answers next.

    Only for those who stopped for the time: what is due and can't be claimed is behind a message in flight, and whoever
    has that one looks again.
    """
    for test in routes.lanes():
        message = Message.objects.due(channel, test=test).only("id", "type").first()
        if message is not None:
            ring(message)
            return


def seconds_until_retry(message_id: str) -> float | None:
    """Return how long a message that was tried or held back has to wait, if that is short enough for a countdown.

    Longer waits stay in the row: a countdown past the broker's visibility timeout would run again and again. None for
    what is due already, too: if it could not be claimed just now, ringing at once would ring for ever.
    """
    waiting = Q(attempts__gt=0) | Q(error_code=PACED)
    message = Message.objects.filter(waiting, pk=UUID(message_id), status=Status.PENDING).first()
    if message is None or message.next_attempt_at is None:
        return None
    wait = (message.next_attempt_at - timezone.now()).total_seconds()
    return wait if 0 < wait <= LONGEST_COUNTDOWN_SECONDS else None


@shared_task(name="conversations.sweep", ignore_result=True)
def sweep() -> str:
    """Make good what got lost: expired leases, messages past their time, due messages for which nobody rang, pauses
    that were to end by now. Forget what need not be remembered.

    What has to be asked of others is left to tasks of their own, as those decide how long it takes: what became of a
    message in doubt, files that came in and still lie at a provider, and files that the storage is to delete. In a
    restored copy nothing is made good before somebody said that it is one: what has waited too long here may have been
    sent from the original.
    """
    if DatabaseIdentity.objects.is_copy():
        return RESTORED_COPY
    doubted = Message.objects.doubt_expired_leases(limit=SWEEP_BATCH)
    AccountState.objects.end_rehearsals()
    clocks = turn_clocks()
    expired = sum(
        Message.objects.expire_overdue(channel, limit=SWEEP_BATCH, test=test, as_of=clocks.get((channel, test)))
        for channel in CHANNELS
        for test in routes.lanes()
    )
    IdempotencyKey.objects.forget_old(limit=SWEEP_BATCH)
    if Message.objects.is_settling_due() and not _settling.locked():
        _doorbell.publish(settle)
    if Media.objects.is_due() and not _fetching.locked():
        _doorbell.publish(fetch_media)
    if redaction.is_due() and not _redacting.locked():
        _doorbell.publish(redact)
    rung = [channel for channel in CHANNELS if any(ring_overdue(channel, test) for test in routes.lanes())]
    return f"uncertain {doubted}, expired {expired}, rang {', '.join(rung) or 'nobody'}"


def turn_clocks() -> dict[tuple[Channel, bool], datetime | None]:
    """Return since when the clocks of channels stand, by channel and whether it is of tests; let those go on, with what
    waited, that stand no more, as when another account was put on the route.
    """
    if ChannelClock.objects.all_go():
        return {}
    clocks = {}
    for channel in CHANNELS:
        for test in routes.lanes():
            with transaction.atomic():
                clock = ChannelClock.objects.turn(channel, test=test)
                if clock.stood_since:
                    Message.objects.wake(channel, clock.stood_since, test=test)
            clocks[channel, test] = clock.stopped_at
    return clocks


@shared_task(name="conversations.settle", ignore_result=True)
def settle() -> str:
    """Ask the providers about doubts and overdue reports; only one such task at a time in each process."""
    if not _settling.acquire(blocking=False):
        return "busy"
    try:
        tally, reported = settling.settle_due(), settling.ask_overdue()
        return f"{summary(tally)}, reported {reported}"
    finally:
        _settling.release()


@shared_task(name="conversations.fetch_media", ignore_result=True)
def fetch_media() -> str:
    """Fetch the files that are due, some at a time; only one such task at a time in each process."""
    if not _fetching.acquire(blocking=False):
        return "busy"
    try:
        media = Media.objects.take_due(FETCHES_AT_ONCE)
        with ThreadPoolExecutor(FETCHES_AT_ONCE) as threads:
            list(threads.map(Media.fetch, media))
        Media.objects.write_down(media)
        return f"media {len(media)}"
    finally:
        _fetching.release()


@shared_task(name="conversations.redact", ignore_result=True)
def redact() -> str:
    """Redact what is past its time, some at a time; only one such task at a time in each process."""
    if not _redacting.acquire(blocking=False):
        return "busy"
    try:
        return f"redacted {redaction.redact_due(REDACTED_AT_ONCE)}"
    finally:
        _redacting.release()


def ring_overdue(channel: Channel, test: bool) -> bool:
    """Ring for the longest due message of a channel if its ring must be lost; return whether it rang.

    While a ring lies in the queue, whoever answers it takes everything due, so one is enough. While all accounts are
    stopped it rings when a probe is due. For what waited for its sender's turn nobody else rings: there it is prompt.
    """
    if not breaker.is_offered(channel, test=test):
        return False
    overdue = Q(next_attempt_at__lte=timezone.now() - timedelta(seconds=RING_GRACE_SECONDS)) | Q(error_code=PACED)
    due = Message.objects.due(channel, test=test, as_of=breaker.clock_stopped_at(channel, test=test))
    message = due.filter(overdue).only("id", "type").first()
    if message is None or broker.waiting(channel):
        return False
    ring(message)
    return True


@receiver(account_resumed)
def ring_for_what_waited(channel: Channel, **_: Any) -> None:
    """Wake a worker once an account runs again."""
    ring_next_due(channel)


@worker_shutting_down.connect
def stop_claiming(**_: Any) -> None:
    """Let a worker that was told to go finish its calls, and take no more."""
    delivery.STOPPING.set()
