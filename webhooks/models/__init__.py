"""What came through the doors, and what is told to whom."""

from webhooks.models.delivery import Delivery
from webhooks.models.outbox import OutboxPosition
from webhooks.models.receipt import Receipt, Refusal, StorageAway
from webhooks.models.subscription import Subscription

__all__ = ["Delivery", "OutboxPosition", "Receipt", "Refusal", "StorageAway", "Subscription"]
