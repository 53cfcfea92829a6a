"""What an account's list of messages at Twilio holds: what never reached us, what became of one of ours, and whether
there is one at all.

Source: https://www.twilio.com/docs/messaging/api/message-resource. The list is filtered by the day (UTC) of DateSent,
which for a message that came in is when Twilio called us, or tried to.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from providers.base import CallbackPart, DeliveryReport, FoundMessage, OutboundMessage
from providers.twilio_callbacks import STATUSES, dedupe_key, read_report
from providers.wire import as_attempt, as_provider_id, storable

# Twilio gives up to 1,000 at once; a page has to arrive within the timeout of one call.
PAGE_SIZE = 200
TRIAL_PREFIX = "Sent from your Twilio trial account - "


async def parts(messages: Any, since: datetime, base_url: str) -> AsyncIterator[CallbackPart]:
    """See `Provider.missed`. `messages` is the SDK's list of them.

    What came in follows at the end, oldest first: a thread shows messages in the order in which they were taken in,
    and Twilio lists the newest first. Raises whatever the SDK and its transport raise.
    """
    # DateSent has whole seconds.
    begin = since.astimezone(UTC).replace(microsecond=0)
    received = []
    async for message in await messages.stream_async(date_sent_after=begin, page_size=PAGE_SIZE):
        if message.date_sent is None or message.date_sent < begin or not as_provider_id(message.sid):
            continue
        if message.direction != "inbound":
            if STATUSES.get(message.status):
                yield _status(message)
        elif message.status != "receiving":  # its callback is still to come, and may hold more
            received.append(message)
    for message in reversed(received):
        yield _inbound(message, await _media(message, base_url))


async def find(messages: Any, message: OutboundMessage, since: datetime) -> Sequence[FoundMessage]:
    """See `Provider.find`. Twilio filters by both numbers; the time is compared here.

    DateSent is empty while a message is queued, so the list can't be cut by time, and its order is not promised for
    those: it is read until a page's worth of older ones has passed. Raises whatever the SDK and its transport raise.
    """
    found, older = [], 0
    async for held in await messages.stream_async(to=message.recipient, from_=message.sender, page_size=PAGE_SIZE):
        if held.date_created is None or held.date_created < since:
            older += 1
            if older >= PAGE_SIZE:
                break
        elif held.direction != "inbound" and as_provider_id(held.sid):
            found.append(_found(held))
    return sorted(found, key=lambda each: each.created_at)


def _found(held: Any) -> FoundMessage:
    """A trial account puts a sentence of Twilio's before the text."""
    body = (held.body or "").removeprefix(TRIAL_PREFIX)
    return FoundMessage(provider_message_id=held.sid, body=body, created_at=held.date_created, report=_report(held))


async def ask(messages: Any, sid: str) -> DeliveryReport:
    """See `Provider.ask`. Raises whatever the SDK and its transport raise."""
    return _report(await messages(sid).fetch_async())


def _report(held: Any) -> DeliveryReport:
    return read_report(_status(held).payload)


async def _media(message: Any, base_url: str) -> dict[str, str]:
    if not as_attempt(str(message.num_media)):
        return {}
    params = {}
    for number, media in enumerate(await message.media.list_async()):
        params[f"MediaUrl{number}"] = f"{base_url.rstrip('/')}{media.uri.removesuffix('.json')}"
        params[f"MediaContentType{number}"] = str(media.content_type or "")
    return params


def _inbound(message: Any, media: dict[str, str]) -> CallbackPart:
    params = {
        "MessageSid": message.sid,
        "AccountSid": message.account_sid,
        "From": message.from_,
        "To": message.to,
        "Body": message.body,
        "NumMedia": message.num_media,
        "NumSegments": message.num_segments,
        "DateSent": message.date_sent.isoformat(),
        **media,
    }
    return CallbackPart(dedupe_key=dedupe_key(["inbound", message.sid]), kind="inbound", payload=_payload(params))


def _status(message: Any) -> CallbackPart:
    """Known by what it says, so that it counts once; nothing of the callback's query is known here."""
    params = {
        "MessageSid": message.sid,
        "AccountSid": message.account_sid,
        "From": message.from_,
        "To": message.to,
        "MessageStatus": message.status,
        "ErrorCode": message.error_code,
    }
    told = ["status", message.sid, message.status, message.error_code]
    return CallbackPart(dedupe_key=dedupe_key(told), kind="status", payload=_payload(params))


def _payload(params: dict[str, Any]) -> dict[str, Any]:
    """In the form of a callback's: every value is text."""
    told = {name: "" if value is None else str(value) for name, value in params.items()}
    return {"params": storable(told), "query": {}}
