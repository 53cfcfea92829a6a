"""How fast can we accept in bulk? Each of a thousand in a batch is validated and answered."""

from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.insert import copy
from messaging_project.benchmarks.processes import frozen
from messaging_project.benchmarks.question import Goal, Question, Row, Run


def accept_batches(field: Field, number: int) -> Run:
    """Post so many messages in batches, two at a time; then let them be sent, and compare."""
    field.clear()
    with frozen(field.workers("sms")):
        volley = field.accept_batches("sms", number)
    ids = volley.ids
    field.await_drained()
    figures = {"rate": len(ids) / volley.seconds}
    return Run(figures=figures, errors=volley.errors + number - len(ids), **field.compare(ids))


QUESTION = Question(
    name="accept_batch",
    sides={"ours": accept_batches, "COPY": copy},
    sizes={"ours": 10_000, "COPY": 10_000},
    rows=[
        Row(
            name="accept_batch",
            unit="messages/s",
            figure="rate",
            yardstick="COPY",
            goal=Goal(least=10_000, least_ratio=0.25),
        ),
    ],
)
