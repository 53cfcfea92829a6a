"""The sweep of the doors, and telling subscribers."""

import threading
import time
from collections.abc import Callable

from celery import shared_task

from webhooks import telling
from webhooks.models import Delivery, Receipt
from webhooks.models.receipt import applied_at_once

SWEEP_BATCH = 200
# A sweep that is silent for longer is taken for a dead one; what is left waits for the next.
SWEEP_SECONDS = 10.0
_sweeping, _noting, _telling = threading.Lock(), threading.Lock(), threading.Lock()


@shared_task(name="webhooks.sweep")
def sweep() -> str:
    """Apply the receipts that have not taken effect yet: their first try failed, they are large, or their message is
    not there yet. Forget those that are past their time.

    One at a time in each process: strangers decide how long a mail takes to read, and other sweeps need their threads.
    """
    return one_at_a_time(
        _sweeping, lambda: f"receipts {apply_due()}, forgotten {Receipt.objects.forget_old(SWEEP_BATCH)}"
    )


def apply_due() -> int:
    """Apply what is due, for some seconds at most; return how many."""
    give_up_at, count = time.monotonic() + SWEEP_SECONDS, 0
    for some in applied_at_once(list(Receipt.objects.due()[:SWEEP_BATCH])):
        if time.monotonic() > give_up_at:
            break
        Receipt.objects.apply(some)
        count += len(some)
    return count


@shared_task(name="webhooks.tell")
def tell() -> str:
    """Note what is new, and tell subscribers that, and again what they did not take.

    In each process one at a time notes, and one tells for as long as there is something to tell: so what happens while
    somebody is slow is noted all the same, and told to the others by the one that tells.
    """
    try:
        noted = one_at_a_time(_noting, note)
    finally:  # whatever is wrong with what is new, what was noted is told
        told = one_at_a_time(_telling, tell_due)
    return f"{noted}; {told}"


def note() -> str:
    """Note what is new; forget what is past its time."""
    return f"new {telling.note_events()}, forgotten {Delivery.objects.forget_old(SWEEP_BATCH)}"


def tell_due() -> str:
    """Tell what is due."""
    tally = telling.tell_due()
    return f"taken {tally['taken']}, refused {tally['refused']}"


def one_at_a_time(lock: threading.Lock, work: Callable[[], str]) -> str:
    """Do some work and return what it says, or "busy" while somebody else in this process is at it."""
    if not lock.acquire(blocking=False):
        return "busy"
    try:
        return work()
    finally:
        lock.release()
