"""SendGrid's Email Activity feed, a paid add-on: whether a mail was sent under our id, and what became of it.

The feed is asked by `GET /v3/messages` with a query. What a mail's `custom_args` say is searched there as
`unique_args`, the older name for the same thing. A row tells a mail's addresses, subject, status and the time of its
last event, but neither its text nor our id and attempt. The feed lags behind: what it shows was sent, and what it does
not show may still come. It takes 6 requests a minute for a whole account.

Sources: https://www.twilio.com/docs/sendgrid/for-developers/sending-email/getting-started-email-activity-api (queries),
https://www.twilio.com/docs/sendgrid/api-reference/email-activity/filter-all-messages (rows),
https://www.twilio.com/docs/sendgrid/api-reference/email-activity (limit) and
https://www.twilio.com/docs/sendgrid/for-developers/sending-email/unique-arguments.
"""

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from providers.base import DeliveryReport, FoundMessage, OutboundMessage, ReportedStatus
from providers.errors import NotSent, Uncertain
from providers.transport import Refusal
from providers.wire import as_provider_id, json_object

logger = logging.getLogger(__name__)

REQUESTS_A_MINUTE = 6
WINDOW_SECONDS = 60.0
COMPLAINT_SECONDS = 3600.0
MOST_ROWS = 10

# SendGrid's word → ours. The page on queries says "processing" where the one on rows says "processed".
_STATUSES: Mapping[str, ReportedStatus] = {
    "processed": "sent",
    "processing": "sent",
    "delivered": "delivered",
    "not_delivered": "undelivered",
}


class EmailActivity:
    """The feed of one account, for one process and the loop that it asks on.

    `client` is the SDK's, with calls that are awaited; `account` is what the log calls the account.
    """

    def __init__(self, client: Any, account: str) -> None:
        self._client = client
        self._account = account
        self._asked: deque[float] = deque(maxlen=REQUESTS_A_MINUTE)
        self._complained: float | None = None

    async def find(self, message: OutboundMessage, since: datetime) -> Sequence[FoundMessage] | None:
        """The mails that were sent under this message's id, whichever attempt they were, oldest first.

        None when the feed shows none, or is closed to this API key. Raises `NotSent` when it was asked too often in
        this minute, `Uncertain` for an answer that can't be read, and whatever the transport raises.
        """
        if not self._may_ask():
            raise NotSent("SendGrid's Email Activity takes no more questions in this minute.", code="not_asked")
        wanted = f"(unique_args['message_id']=\"{message.message_id}\")"
        try:
            answer = await self._client.messages.get(query_params={"limit": MOST_ROWS, "query": wanted})
        except Refusal as refusal:
            if not _is_closed(refusal):
                self._heed(refusal)
                raise
            self._complain(refusal.status)
            return None
        return _read(answer.text, message, since) or None

    def _may_ask(self) -> bool:
        """Whether one more request fits into the limit; it counts as made."""
        now = time.monotonic()
        if len(self._asked) == REQUESTS_A_MINUTE and now - self._asked[0] < WINDOW_SECONDS:
            return False
        self._asked.append(now)
        return True

    def _heed(self, refusal: Refusal) -> None:
        """Other processes share the limit: where SendGrid calls it used up, ours is, too."""
        if refusal.status == 429:
            self._asked.extend([time.monotonic()] * REQUESTS_A_MINUTE)

    def _complain(self, status: int) -> None:
        """Log it, once an hour at most: mail is sent all the same, and each doubt would say it again."""
        now = time.monotonic()
        if self._complained is not None and now - self._complained < COMPLAINT_SECONDS:
            return
        self._complained = now
        logger.error(
            "%s: SendGrid does not show its Email Activity (status %s): the account needs the add-on, and the API key"
            " access to it; until then doubts wait for events alone",
            self._account,
            status,
        )


def _is_closed(refusal: Refusal) -> bool:
    """Whether add-on or permission are missing. SendGrid has been seen to say so with a 400, too."""
    return refusal.status in (401, 403) or (refusal.status == 400 and "authorization required" in refusal.text)


def _read(body: str, message: OutboundMessage, since: datetime) -> list[FoundMessage]:
    rows = json_object(body).get("messages")
    if not isinstance(rows, list):
        raise Uncertain("SendGrid's answer could not be read.", code="unreadable_answer")
    found = [each for row in rows if isinstance(row, dict) and (each := _found(row, message, since))]
    return sorted(found, key=lambda each: each.created_at)


def _found(row: Mapping[str, Any], message: OutboundMessage, since: datetime) -> FoundMessage | None:
    """A row in our words, None for one that can't be read or, were the query ignored, is another mail's.

    `created_at` is the time of the mail's last event, the only one in a row. `body` is the message's own: it was asked
    for by its id.
    """
    moment = _moment(row.get("last_event_time"))
    provider_id = as_provider_id(_text(row, "msg_id").partition(".")[0])
    pair = (_text(row, "from_email").lower(), _text(row, "to_email").lower())
    if moment is None or moment < since or not provider_id:
        return None
    if pair != (message.sender.lower(), message.recipient.lower()):
        return None
    report = _report(_text(row, "status"), provider_id, message, moment)
    return FoundMessage(provider_message_id=provider_id, body=message.body, created_at=moment, report=report)


def _report(word: str, provider_id: str, message: OutboundMessage, moment: datetime) -> DeliveryReport:
    """The attempt stays open, as the feed does not tell it; that any of them was sent is what counts."""
    status = _STATUSES.get(word)
    failed = status == "undelivered"
    return DeliveryReport(
        provider_message_id=provider_id,
        status=status,
        provider_status=word,
        message_id=message.message_id,
        error_code=word if failed else "",
        error_message="The message was not delivered; SendGrid's Email Activity shows why." if failed else "",
        occurred_at=moment,
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""


def _moment(text: object) -> datetime | None:
    """A time in ISO 8601, in UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
