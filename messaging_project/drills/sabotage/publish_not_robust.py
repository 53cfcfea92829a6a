"""A ring that can't be published is an error of the request, although its message is committed."""

from typing import Any

from django.db import transaction

from messaging_project.settings import *  # noqa: F403
from messaging_project.settings import INSTALLED_APPS as PRODUCTS_APPS


def ring_or_fail(ring: Any) -> Any:
    """`ring` as somebody would write it who does not think of a broker that is away."""
    answers = ring.__globals__["ANSWERS"]

    def broken(message: Any) -> None:
        transaction.on_commit(lambda: answers[message.type].apply_async([str(message.id)]))

    return broken


INSTALLED_APPS = [*PRODUCTS_APPS, "messaging_project.drills.sabotage.Sabotage"]
SABOTAGE = {"conversations.tasks:ring": ring_or_fail}
