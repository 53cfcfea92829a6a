"""How fast is the whole way, when messages are accepted and sent at the same time?"""

import time

from messaging_project.benchmarks.accept import SEND, accept
from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.question import Goal, Question, Row, Run


def whole_way(field: Field, number: int) -> Run:
    """Post so many messages one by one while the worker sends them; it ends with the last one sent."""
    field.clear()
    wishes = field.wishes("sms", number)
    began = time.time()
    volley = field.ask(SEND, wishes)
    field.await_drained()
    figures = {"rate": (number - volley.errors) / (field.sent_at() - began)}
    return Run(figures=figures, errors=volley.errors, **field.compare(volley.ids))


def whole_way_naively(field: Field, number: int) -> Run:
    """Do the same with the naive design."""
    field.clear()
    wishes = field.wishes("sms", number)
    began = time.time()
    volley = field.ask_yardstick("/naive", wishes)
    field.await_naive(number)
    figures = {"rate": number / (field.naive_sent_at() - began)}
    return Run(figures=figures, errors=volley.errors, **field.compare_naive([wish["to"] for wish in wishes]))


QUESTION = Question(
    name="whole_way",
    sides={"ours": whole_way, "accept": accept, "naive": whole_way_naively},
    sizes={"ours": 2_000, "accept": 2_000, "naive": 600},
    rows=[
        Row(name="whole_way", unit="messages/s", figure="rate", yardstick="accept", goal=Goal(least_ratio=0.55)),
        Row(name="whole_way, by naive", unit="messages/s", figure="rate", yardstick="naive", goal=Goal(least_ratio=4)),
    ],
)
