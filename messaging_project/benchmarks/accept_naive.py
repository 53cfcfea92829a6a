"""How fast can we accept, against what people write by hand?"""

from messaging_project.benchmarks.accept import accept
from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.processes import frozen
from messaging_project.benchmarks.question import Goal, Question, Row, Run


def accept_naively(field: Field, number: int) -> Run:
    """Post so many messages to the naive design; then let it send them, and compare."""
    field.clear()
    wishes = field.wishes("sms", number)
    with frozen(field.yardstick_workers("naive")):
        volley = field.ask_yardstick("/naive", wishes)
    field.await_naive(number)
    books = field.compare_naive([str(wish["to"]) for wish in wishes])
    return Run(figures={"rate": volley.rate}, errors=volley.errors, **books)


QUESTION = Question(
    name="accept_naive",
    sides={"ours": accept, "naive": accept_naively},
    sizes={"ours": 2_000, "naive": 600},
    rows=[
        Row(name="accept_naive", unit="messages/s", figure="rate", yardstick="naive", goal=Goal(least_ratio=2.5)),
    ],
)
