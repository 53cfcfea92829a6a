"""The sweep of the doors."""

from celery import shared_task

from webhooks.models import Receipt

SWEEP_BATCH = 200


@shared_task(name="webhooks.sweep")
def sweep() -> str:
    """Apply the receipts that have not taken effect yet: their first try failed, they are large, or their message is
    not there yet. Forget those that are past their time.
    """
    receipts = list(Receipt.objects.due()[:SWEEP_BATCH])
    for receipt in receipts:
        receipt.apply()
    forgotten = Receipt.objects.forget_old(SWEEP_BATCH)
    return f"receipts {len(receipts)}, forgotten {forgotten}"
