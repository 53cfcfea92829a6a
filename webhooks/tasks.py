"""The sweep of the doors."""

import threading
import time

from celery import shared_task

from webhooks.models import Receipt

SWEEP_BATCH = 200
# A sweep that is silent for longer is taken for a dead one; what is left waits for the next.
SWEEP_SECONDS = 10.0
_sweeping = threading.Lock()


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
