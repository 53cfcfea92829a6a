"""How fast does a queue drain, against what people write by hand?"""

import time

from messaging_project.benchmarks.drain_sms import drain_sms
from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.processes import frozen
from messaging_project.benchmarks.question import Goal, Question, Row, Run


def drain_naively(field: Field, number: int) -> Run:
    """Have so many messages of the naive design wait, then let its worker have them."""
    field.clear()
    wishes = field.wishes("sms", number)
    with frozen(field.yardstick_workers("naive")):
        volley = field.ask_yardstick("/naive", wishes)
    began = time.time()
    field.await_naive(number)
    rate = number / (field.naive_sent_at() - began)
    return Run(figures={"rate": rate}, errors=volley.errors, **field.compare_naive([wish["to"] for wish in wishes]))


QUESTION = Question(
    name="drain_naive",
    sides={"ours": drain_sms, "naive": drain_naively},
    sizes={"ours": 5_000, "naive": 600},
    rows=[Row(name="drain_naive", unit="messages/s", figure="rate", yardstick="naive", goal=Goal(least_ratio=12))],
)
