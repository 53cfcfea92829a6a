"""The sweep of the doors, and telling subscribers."""

import threading
import time

from celery import shared_task

from webhooks import telling
from webhooks.models import Delivery, Receipt

SWEEP_BATCH = 200
# A sweep that is silent for longer is taken for a dead one; what is left waits for the next.
SWEEP_SECONDS = 10.0
_sweeping, _telling = threading.Lock(), threading.Lock()


@shared_task(name="webhooks.sweep")
def sweep() -> str:
    """Apply the receipts that have not taken effect yet: their first try failed, they are large, or their message is
    not there yet. Forget those that are past their time.

    One at a time in each process: strangers decide how long a mail takes to read, and other sweeps need their threads.
    """
    if not _sweeping.acquire(blocking=False):
        return "busy"
    try:
        return f"receipts {apply_due()}, forgotten {Receipt.objects.forget_old(SWEEP_BATCH)}"
    finally:
        _sweeping.release()


def apply_due() -> int:
    """Apply what is due, for some seconds at most; return how many."""
    give_up_at, count = time.monotonic() + SWEEP_SECONDS, 0
    for receipt in Receipt.objects.due()[:SWEEP_BATCH]:
        if time.monotonic() > give_up_at:
            break
        receipt.apply()
        count += 1
    return count


@shared_task(name="webhooks.tell")
def tell() -> str:
    """Tell subscribers what is new, and again what they did not take. One at a time in each process."""
    if not _telling.acquire(blocking=False):
        return "busy"
    try:
        new, tally = telling.note_events(), telling.tell_due()
        forgotten = Delivery.objects.forget_old(SWEEP_BATCH)
        return f"new {new}, taken {tally['taken']}, refused {tally['refused']}, forgotten {forgotten}"
    finally:
        _telling.release()
