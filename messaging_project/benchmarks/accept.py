"""How fast can we accept, one by one? Durable, with a key, with the ring, while no worker takes any of it."""

from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.insert import insert
from messaging_project.benchmarks.posting import Volley
from messaging_project.benchmarks.processes import frozen
from messaging_project.benchmarks.question import Goal, Question, Row, Run

SEND = "/api/v1/messages/send"


def accept(field: Field, number: int) -> Run:
    """Post so many messages; then let them be sent, and compare."""
    field.clear()
    wishes = field.wishes("sms", number)
    with frozen(field.workers("sms")):
        volley = field.ask(SEND, wishes)
    field.await_drained()
    return Run(figures={"rate": volley.rate}, errors=volley.errors, **field.compare(volley.ids))


def validate(field: Field, number: int) -> Run:
    """Post as many to a view that validates them."""
    return answered(field.ask_yardstick("/validate", field.wishes("sms", number)))


def hello(field: Field, number: int) -> Run:
    """Post as many to a view that does nothing."""
    return answered(field.ask_yardstick("/hello", field.wishes("sms", number)))


def answered(volley: Volley) -> Run:
    """Return the run of a side that accepts nothing for good."""
    return Run(figures={"rate": volley.rate}, errors=volley.errors)


QUESTION = Question(
    name="accept",
    sides={"ours": accept, "DRF validate-only": validate, "DRF hello": hello, "raw INSERT": insert},
    sizes={"ours": 2_000, "DRF validate-only": 2_000, "DRF hello": 2_000, "raw INSERT": 2_000},
    rows=[
        Row(
            name="accept",
            unit="messages/s",
            figure="rate",
            yardstick="DRF validate-only",
            goal=Goal(least_ratio=0.45),
        ),
        Row(name="accept, by hello", unit="messages/s", figure="rate", yardstick="DRF hello"),
        Row(name="accept, by INSERT", unit="messages/s", figure="rate", yardstick="raw INSERT"),
    ],
)
