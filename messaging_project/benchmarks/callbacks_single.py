"""How fast do we take signed statuses of Twilio's, one by one?"""

from typing import Any
from urllib.parse import urlencode

from messaging_project.benchmarks.accept import accept
from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.posting import post, request
from messaging_project.benchmarks.question import Goal, Question, Row, Run
from providers.sandbox.callbacks import sign_like_twilio

FORM = "application/x-www-form-urlencoded"
DELIVERED = """
SELECT count(DISTINCT message.id) FILTER (WHERE message.status = 'delivered'), count(*)
FROM conversations_message AS message JOIN conversations_messageevent AS event ON event.message_id = message.id
WHERE message.created_at >= %s AND event.status = 'delivered'"""


def take_statuses(field: Field, number: int) -> Run:
    """Send so many messages, then post that each was delivered; each has to count, and once."""
    field.clear()
    ids = field.accept_batches("sms", number).ids
    field.await_drained()
    books = field.compare(ids)
    statuses = [status(field, line) for line in field.ledgers["sms"].read_on()]
    volley = post(field.stack.url, statuses)
    return Run(figures={"rate": volley.rate}, errors=volley.errors, **counted(field, len(statuses), books))


def status(field: Field, line: dict[str, Any]) -> bytes:
    """Return the request with which Twilio says that a message of its ledger was delivered."""
    url = str(line["details"]["status_callback"]).partition("#")[0]
    form = {
        "AccountSid": field.stack.env["TWILIO_ACCOUNT_SID"],
        "ApiVersion": "2010-04-01",
        "From": line["sender"],
        "MessageSid": line["provider_message_id"],
        "MessageStatus": "delivered",
        "SmsSid": line["provider_message_id"],
        "SmsStatus": "delivered",
        "To": line["recipient"],
    }
    headers = sign_like_twilio(field.stack.env["TWILIO_AUTH_TOKEN"], url, form)
    del headers["Content-Type"]
    path = url.removeprefix(field.stack.url)
    return request(field.stack.url, path, urlencode(form).encode(), headers, content_type=FORM)


def counted(field: Field, number: int, books: dict[str, int]) -> dict[str, int]:
    """Add to the faults of sending which reports had no effect, or more than one."""
    with field.database() as connection:
        delivered, reported = connection.execute(DELIVERED, [field.cleared_at]).fetchall()[0]
    return {"unsent": books["unsent"] + number - delivered, "doubled": books["doubled"] + reported - delivered}


QUESTION = Question(
    name="callbacks_single",
    sides={"ours": take_statuses, "accept": accept},
    sizes={"ours": 2_000, "accept": 2_000},
    rows=[
        Row(name="callbacks_single", unit="callbacks/s", figure="rate", yardstick="accept", goal=Goal(least_ratio=1))
    ],
)
