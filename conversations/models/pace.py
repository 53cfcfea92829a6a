"""How fast a sender may send, where SENDER_RATES says so."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from conversations.addresses import sender_type

if TYPE_CHECKING:
    from conversations.models.message import Message

PACED = "paced"
"""The code of a message that waits for its sender's turn."""

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
# What a sender may make good at once of a time in which nobody sent for it: as late as the sweep looks, or a slow
# sender would never reach its rate.
SAVED_UP = timedelta(seconds=1)


def rate_of(sender: str) -> float | None:
    """Return how many messages a second may leave for this sender, by its own rate or its type's; None for any."""
    rates: Mapping[str, float] = settings.SENDER_RATES
    return rates.get(sender) or rates.get(sender_type(sender))


class SenderPaceQuerySet(models.QuerySet["SenderPace"]):
    """How turns are given out."""

    def turns(self, messages: Sequence["Message"]) -> dict[UUID, datetime]:
        """Give each of these claimed messages its turn; return those whose turn is yet to come, with its time.

        Those that were held back before go first, in the order in which they were accepted; those of a test take
        nobody's turn.
        """
        rates = {each.sender: rate for each in messages if not each.test and (rate := rate_of(each.sender))}
        if not rates:
            return {}
        later: dict[UUID, datetime] = {}
        with transaction.atomic():
            self.bulk_create([SenderPace(sender=sender) for sender in rates], ignore_conflicts=True)
            paces = {row.sender: row for row in self.filter(sender__in=rates).select_for_update().order_by("sender")}
            now = timezone.now()
            for message in sorted(messages, key=lambda each: (each.error_code != PACED, each.created_at, each.pk)):
                if message.sender in rates and not message.test:
                    turn = paces[message.sender].turn(now, rates[message.sender], message.error_code == PACED)
                    later.update({message.pk: turn} if turn > now else {})
            self.bulk_update(paces.values(), ["next_at", "queue_ends_at"])
        return later


class SenderPace(models.Model):
    """When a sender's next message may leave, and until when its queue is planned."""

    sender = models.CharField(max_length=254, primary_key=True)
    next_at = models.DateTimeField(default=LONG_AGO)
    queue_ends_at = models.DateTimeField(default=LONG_AGO)

    _late_line_ends_at = LONG_AGO
    """Of this claim: until when those who were held back before have turns."""

    objects: ClassVar[models.Manager["SenderPace"]] = SenderPaceQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.sender}: next at {self.next_at}"

    def turn(self, now: datetime, rate: float, was_held_back: bool) -> datetime:
        """Give out the next turn and return its time, `now` or later. Nobody new overtakes who was held back.

        Who was held back and is late, as nobody sent for a while, is first in line still: behind those only who were
        so before in the same claim.
        """
        gap = timedelta(seconds=1 / rate)
        if self.next_at <= now and (was_held_back or self.queue_ends_at <= now):
            self.next_at = max(self.next_at, now - SAVED_UP) + gap
            return now
        turn = max(self._late_line_ends_at if was_held_back else self.queue_ends_at, self.next_at, now)
        if was_held_back:
            self._late_line_ends_at = turn + gap
        self.queue_ends_at = max(self.queue_ends_at, turn + gap)
        return turn
