"""Messages that somebody has to look after: lists with a page and permissions of their own in the admin."""

from typing import ClassVar, TypeVar

from django.db import models
from django.db.models import QuerySet
from django.utils import timezone

from conversations.models.intervention import RETRYABLE
from conversations.models.message import Message
from conversations.models.status import Status

Row = TypeVar("Row", bound=Message)


class NotReachedManager(models.Manager["NotReached"]):
    """Finds them; those of tests are nobody's work."""

    def get_queryset(self) -> QuerySet["NotReached"]:
        """Return what did not arrive, and may be sent again."""
        return super().get_queryset().filter(status__in=RETRYABLE, test=False)


class NotReached(Message):
    """A message whose recipient was not reached, as far as anybody knows."""

    objects: ClassVar[models.Manager["NotReached"]] = NotReachedManager()  # type: ignore[assignment]

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "not reached"
        verbose_name_plural = "not reached"

    @property
    def asked_about(self) -> str:
        """What somebody reads who is asked whether to send it again."""
        return f"{'email' if self.type == self.Type.EMAIL else self.type.upper()} to {self.recipient}"


class ScheduledManager(models.Manager["Scheduled"]):
    """Finds them; those of tests are nobody's work."""

    def get_queryset(self) -> QuerySet["Scheduled"]:
        """Return what waits for a time that is still to come."""
        waiting = super().get_queryset().filter(status=Status.PENDING, test=False)
        return waiting.filter(send_at__gt=timezone.now())


class Scheduled(Message):
    """A message that is to be sent later."""

    objects: ClassVar[models.Manager["Scheduled"]] = ScheduledManager()  # type: ignore[assignment]

    class Meta:
        proxy = True
        default_permissions = ("view",)
        permissions = [("cancel_scheduled", "Can cancel scheduled messages")]
        verbose_name = "scheduled message"
        verbose_name_plural = "scheduled"


def may_have_been_sent(messages: QuerySet[Row]) -> QuerySet[Row]:
    """Return those of which some attempt ended without an answer: to send them again may double them."""
    return messages.filter(events__status__in=[Status.UNCERTAIN, Status.UNRESOLVED]).distinct()
