"""Does the memory of a worker or of a web process grow with what they did?"""

from collections.abc import Sequence
from typing import Any

from messaging_project.benchmarks.accept import SEND
from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.posting import Volley
from messaging_project.benchmarks.processes import frozen, resident_bytes
from messaging_project.benchmarks.question import Goal, Question, Row, Run

WARM_UP = 5
"""One part in so many is done before memory is looked at for the first time."""


def hold(field: Field, number: int) -> Run:
    """Post so many messages and let the worker send them; return by how many percent processes grew after warm-up."""
    field.clear()
    wishes, warm = field.wishes("sms", number + number // WARM_UP), number // WARM_UP
    first = posted_and_sent(field, wishes[:warm])
    names = {"web": field.stack.pids("web"), "worker": field.workers("sms")}
    before = {name: resident_bytes(pids) for name, pids in names.items()}
    rest = posted_and_sent(field, wishes[warm:])
    figures = {name: (resident_bytes(pids) / before[name] - 1) * 100 for name, pids in names.items()}
    return Run(figures=figures, errors=first.errors + rest.errors, **field.compare([*first.ids, *rest.ids]))


def posted_and_sent(field: Field, wishes: Sequence[dict[str, Any]]) -> Volley:
    """Post messages one by one, then let the worker have them, which takes less time than both at once."""
    with frozen(field.workers("sms")):
        volley = field.ask(SEND, wishes)
    field.await_drained()
    return volley


QUESTION = Question(
    name="memory",
    sides={"ours": hold},
    sizes={"ours": 50_000},
    rows=[
        Row(name="memory, worker", unit="% more", figure="worker", goal=Goal(most=5)),
        Row(name="memory, web", unit="% more", figure="web", goal=Goal(most=5)),
    ],
    rounds=1,
    is_short=False,
)
