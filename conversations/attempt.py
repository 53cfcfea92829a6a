"""One attempt at one claimed message: the call, and what becomes of the message by how it ended."""

import logging
import random
import time
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from conversations.log_context import about
from conversations.models import Message
from conversations.models.opt_out import RECIPIENT_OPTED_OUT, REFUSED
from conversations.models.outcome import Outcome
from conversations.models.pace import PACED
from conversations.models.status import Status
from providers import breaker
from providers.base import Accepted, Provider
from providers.errors import Misconfigured, NotSent, ProviderError, Rejected

logger = logging.getLogger(__name__)

MOST_DOUBLINGS = 30


async def call(account: Provider, message: Message, begin_before: float) -> Outcome:
    """Offer one claimed message to a provider, unless its lease leaves no time for that, and say how it ended."""
    if message.recipient_opted_out:
        return opted_out(message)
    if time.monotonic() > begin_before:
        return not_begun(message)
    with about(**message.log_fields()):
        return await offer(account, message)


async def offer(account: Provider, message: Message) -> Outcome:
    """Call the provider, and write one line about it."""
    began = time.monotonic()
    try:
        accepted = await account.send(message.as_outbound())
    except ProviderError as error:
        outcome, answer = outcome_of(message, error, began), type(error).__name__
    else:
        outcome, answer = sent(message, accepted), type(accepted).__name__
    took = round((time.monotonic() - began) * 1000)
    fields = {"status": outcome.status.value, "error_code": outcome.error_code, "duration_ms": took}
    logger.info("provider called: %s", answer, extra=fields)
    return outcome


def ended(message: Message, status: Status, **values: Any) -> Outcome:
    """Return how an attempt of this message ended."""
    return Outcome(
        message_id=message.id, attempt=message.attempts, request_id=message.request_id, status=status, **values
    )


def sent(message: Message, accepted: Accepted) -> Outcome:
    """Return what becomes of a message that the provider took."""
    return ended(
        message,
        Status.SENT,
        provider_message_id=accepted.provider_message_id,
        segments=accepted.segments,
        ended=accepted,
    )


def not_begun(message: Message) -> Outcome:
    """Put back a message whose lease leaves no time for the call: as it was, without having spent an attempt."""
    return ended(message, Status.PENDING, retry_in=0, unspent_lease=message.lease_expires_at)


def paced(message: Message, turn: datetime) -> Outcome:
    """Put back a message until its sender's turn has come, without having spent an attempt."""
    return ended(
        message,
        Status.PENDING,
        error_code=PACED,
        error_message="It waits for its sender's turn.",
        retry_in=max((turn - timezone.now()).total_seconds(), 0),
        unspent_lease=message.lease_expires_at,
    )


def opted_out(message: Message) -> Outcome:
    """End a message whose recipient opted out after it was accepted, without having spent an attempt."""
    return ended(
        message,
        Status.FAILED,
        error_code=REFUSED,
        error_message=RECIPIENT_OPTED_OUT,
        unspent_lease=message.lease_expires_at,
    )


def outcome_of(message: Message, error: ProviderError, began: float) -> Outcome:
    """Return what becomes of a message whose attempt ended with this error.

    Where the account is to blame, the attempt is given back, and the message is due again once every process has seen
    that the account is paused: sooner, another thread would offer it before it has.
    """
    unspent_lease = message.lease_expires_at if isinstance(error, Misconfigured) else None
    match error:
        case Rejected():
            status, retry_in = Status.FAILED, None
        case NotSent():
            status, retry_in = Status.PENDING, retry_delay(message.attempts, error.retry_after)
        case Misconfigured():
            status, retry_in = Status.PENDING, breaker.READ_AGAIN_SECONDS
        case _:
            status, retry_in = Status.UNCERTAIN, None
    return ended(
        message,
        status,
        error_code=error.code[:50],
        error_message=error.message[:500],
        retry_in=retry_in,
        unspent_lease=unspent_lease,
        opted_out=isinstance(error, Rejected) and error.opted_out,
        ended=error,
        began=began,
    )


def retry_delay(attempt: int, retry_after: float | None) -> float:
    """Return the seconds until the next try: full jitter below a doubling ceiling, never sooner than asked for.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(settings.RETRY_CEILING_SECONDS, settings.RETRY_BASE_SECONDS * 2 ** min(attempt - 1, MOST_DOUBLINGS))
    return max(random.uniform(0, ceiling), min(retry_after or 0, settings.RETRY_CEILING_SECONDS))
