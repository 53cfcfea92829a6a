"""How fast do we take signed events of SendGrid's, in arrays of a hundred?"""

import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from messaging_project.benchmarks.callbacks_single import counted
from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.posting import post, request
from messaging_project.benchmarks.question import Goal, Question, Row, Run
from providers.sandbox.callbacks import SENDGRID_PATH, private_key, sendgrid_stages, sign_like_sendgrid
from providers.sandbox.ledger import Entry

ARRAY = 100
CONNECTIONS = 4


def take_events(field: Field, number: int) -> Run:
    """Send so many mails, then post that each was delivered; each has to count, and once."""
    field.clear()
    ids = field.accept_batches("email", number).ids
    field.await_drained()
    books = field.compare(ids)
    lines = field.ledgers["email"].read_on()
    arrays = [events(field, lines[start : start + ARRAY]) for start in range(0, len(lines), ARRAY)]
    volley = post(field.stack.url, arrays, connections=CONNECTIONS)
    figures = {"rate": len(lines) / volley.seconds}
    return Run(figures=figures, errors=volley.errors, **counted(field, len(lines), books))


def events(field: Field, lines: Sequence[dict[str, Any]]) -> bytes:
    """Return the request with which SendGrid says that these mails were delivered."""
    entries = [Entry(**{**line, "at": datetime.fromisoformat(line["at"])}) for line in lines]
    told = [{**event, "timestamp": int(time.time())} for each in entries for event in sendgrid_stages(each)[1]]
    body = json.dumps(told).encode()
    headers = sign_like_sendgrid(private_key(field.stack.env["SANDBOX_SENDGRID_PRIVATE_KEY"]), body)
    return request(field.stack.url, SENDGRID_PATH, body, headers)


QUESTION = Question(
    name="callbacks_array",
    sides={"ours": take_events},
    sizes={"ours": 3_000},
    rows=[Row(name="callbacks_array", unit="events/s", figure="rate", goal=Goal(least=5_000))],
)
