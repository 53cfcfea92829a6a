"""Telling subscribers what happened: events become deliveries, and deliveries are posted until they are taken.

The timelines of messages and conversations are the outbox. They are read by what is over in the database, in the order
in which it was written: so each event is seen once, whoever commits late.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import Error, connection, transaction
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from standardwebhooks import Webhook

from conversations.api.conversations import represent as represent_conversation
from conversations.api.messages import represent as represent_message
from conversations.delivery import STOPPING
from conversations.models import Conversation, ConversationEvent, Message
from providers import fetch
from providers.wire import is_loopback
from webhooks.models import Delivery, Subscription
from webhooks.models.delivery import Told
from webhooks.models.outbox import Event, OutboxPosition, oldest_unseen, shows

logger = logging.getLogger(__name__)

EVENTS_AT_ONCE = 500
NOTE_SECONDS = 10.0
# A page of long mails for many subscribers is written in parts.
CHARACTERS_AT_ONCE = 4_000_000
TOLD_AT_ONCE = 64
# Of one subscriber and of one client, so that a slow one leaves room for the others.
TOLD_AT_ONCE_TO_ONE = 4
TOLD_AT_ONCE_TO_CLIENT = 16


def note_events() -> int:
    """Make a delivery of each new event for each subscription that wants it; return how many. One at a time.

    For some seconds at most; the next goes on from there.
    """
    made, until = 0, time.monotonic() + NOTE_SECONDS
    while time.monotonic() < until:
        events, count = note_some()
        made += count
        if not events:
            break
    return made


@transaction.atomic
def note_some() -> tuple[int, int]:
    """Read on from where the last one ended; return how many events there were, and how many deliveries they made."""
    position = OutboxPosition.objects.take()
    if position is None:
        return 0, 0
    subscriptions = list(Subscription.objects.select_related("client"))
    if not subscriptions:
        position.skip_all()
        return 0, 0
    since = min(oldest_unseen(each.since) for each in subscriptions)
    found, events = position.read_on(EVENTS_AT_ONCE, since=since)
    count, unsaved, characters = 0, list[Delivery](), 0
    for delivery in deliveries(subscriptions, events):
        unsaved.append(delivery)
        characters += len(delivery.payload)
        if characters > CHARACTERS_AT_ONCE:
            count += len(Delivery.objects.bulk_create(unsaved))
            unsaved, characters = [], 0
    count += len(Delivery.objects.bulk_create(unsaved))
    return found, count


def wants(subscription: Subscription, event: Event) -> bool:
    """Say whether an event is for a subscription: it came after it, is of a type it names, and it may see it."""
    is_later = not shows(subscription.since, event.transaction_number)
    return is_later and event_type(event) in subscription.events and subscription.sees(subject(event))


def event_type(event: Event) -> str:
    """Return what subscribers call an event."""
    if isinstance(event, ConversationEvent):
        return f"conversation.{event.kind}"
    return f"message.{event.status}"


def subject(event: Event) -> Message | Conversation:
    """Return what an event is about."""
    return event.conversation if isinstance(event, ConversationEvent) else event.message


def deliveries(subscriptions: Sequence[Subscription], events: Iterable[Event]) -> Iterator[Delivery]:
    """Yield an unsaved delivery of each event for each subscription that wants it, numbered in this order."""
    give_up_at = timezone.now() + timedelta(seconds=settings.EVENT_GIVE_UP_SECONDS)
    for event in events:
        wanting = [each for each in subscriptions if wants(each, event)]
        if not wanting:
            continue
        about, data = subject(event), as_json(shown(event))
        for subscription, sequence in zip(wanting, next_numbers(len(wanting)), strict=True):
            yield Delivery(
                subscription=subscription,
                conversation_id=about.conversation_id if isinstance(about, Message) else about.pk,
                event=event_type(event),
                sequence=sequence,
                payload=payload(event, sequence, data),
                give_up_at=give_up_at,
            )


def next_numbers(count: int) -> list[int]:
    """Return so many numbers, each greater than any that was given out before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('webhooks_delivery_sequence') FROM generate_series(1, %s)", [count])
        return [row[0] for row in cursor.fetchall()]


def shown(event: Event) -> dict[str, Any]:
    """Return the message or conversation as the API shows it now, and of a message the line of its timeline."""
    if isinstance(event, ConversationEvent):
        return {"conversation": represent_conversation(event.conversation)}
    line = {name: getattr(event, name) for name in ("status", "evidence", "attempt", "code", "detail")}
    return {"message": represent_message(event.message), "event": line}


def payload(event: Event, sequence: int, data: str) -> str:
    """Return what is posted: `{"type", "timestamp", "sequence", "data"}` (Standard Webhooks), as compact JSON."""
    told = as_json({"type": event_type(event), "timestamp": event.at, "sequence": sequence})
    return f'{told.removesuffix("}")},"data":{data}}}'


def as_json(value: dict[str, Any]) -> str:
    """Return compact JSON."""
    return JSONRenderer().render(value).decode()


def tell_due() -> Counter[str]:
    """Post what is due until nothing is; return how many were taken and how many not.

    Raises what the database said when nothing could be claimed, once what was under way is written down.
    """
    tally: Counter[str] = Counter()
    in_flight: dict[Future[Told], Delivery] = {}
    trouble: Error | None = None
    with ThreadPoolExecutor(TOLD_AT_ONCE) as threads:
        while True:
            if trouble is None and len(in_flight) < TOLD_AT_ONCE and not STOPPING.is_set():
                try:
                    for delivery in claim(TOLD_AT_ONCE - len(in_flight)):
                        in_flight[threads.submit(post, delivery)] = delivery
                except Error as error:
                    trouble = error
                    connection.close()
            if not in_flight:
                break
            for ended in wait(in_flight, timeout=1, return_when=FIRST_COMPLETED).done:
                told = ended.result()
                write_down(in_flight.pop(ended), told)
                tally["taken" if told.is_taken else "refused"] += 1
    if trouble is not None:
        raise trouble
    return tally


def write_down(delivery: Delivery, told: Told) -> None:
    """Keep how a delivery went; where the database is in the way it is due again when its lease ends."""
    try:
        delivery.write_down(told)
    except Error:
        logger.exception("how a delivery went was not written down", extra=delivery.log_fields())
        connection.close()


def claim(room: int) -> list[Delivery]:
    """Take as many due deliveries as there is room for, and as their subscribers and clients have room left."""
    return Delivery.objects.claim(limit=room, each=TOLD_AT_ONCE_TO_ONE, each_client=TOLD_AT_ONCE_TO_CLIENT)


def post(delivery: Delivery) -> Told:
    """Post a delivery once, signed with every secret that is good now; touches no database. Never raises."""
    began = time.monotonic()

    def took() -> int:
        return int((time.monotonic() - began) * 1000)

    url, body = delivery.subscription.url, delivery.payload.encode()
    secrets = delivery.subscription.signing_secrets()
    if not secrets:
        return Told(duration_ms=0, error="SECRET_KEY has changed, so its secret can't be read: make a new one.")
    try:
        allow, seconds = allowed(url), settings.EVENT_TIMEOUT_SECONDS
        answer = fetch.post(url, body, headers(delivery, secrets), allow=allow, seconds=seconds)
    except (fetch.Refused, fetch.Unreachable) as error:
        return Told(duration_ms=took(), error=str(error))
    except Exception as error:  # whatever it is, the others are told
        logger.exception("a delivery broke", extra=delivery.log_fields())
        return Told(duration_ms=took(), error=type(error).__name__)
    is_taken = 200 <= answer.status < 300
    return Told(
        duration_ms=took(),
        status=answer.status,
        text=answer.text,
        error="" if is_taken else f"It answered {answer.status}.",
        retry_after=answer.retry_after,
    )


def headers(delivery: Delivery, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of Standard Webhooks; the id is the same for every try."""
    now, name = datetime.now(UTC), str(delivery.pk)
    signatures = [Webhook(secret).sign(name, now, delivery.payload) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def allowed(url: str) -> frozenset[str]:
    """Return what may be posted to although its address is not public: on a developer's own machine all of that.

    What media may be fetched from does not count: whoever subscribes chooses the URL, and reads what it answers.
    """
    return frozenset({fetch.authority_of(url)} if settings.TRUST_LOCAL_REQUESTS and is_loopback(url) else ())
