"""How fast does a queue of mails drain, with TLS on, and how many connections does that take?"""

from dataclasses import replace

from messaging_project.benchmarks.drain_sms import drain, drain_sms
from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.question import Goal, Question, Row, Run


def drain_email(field: Field, number: int) -> Run:
    """Drain mails."""
    before = field.connections()
    run = drain(field, "email", number)
    opened = field.connections() - before - 1  # one of them asked
    return replace(run, figures={**run.figures, "connections": opened / number})


QUESTION = Question(
    name="drain_email",
    sides={"ours": drain_email, "drain_sms": drain_sms},
    sizes={"ours": 5_000, "drain_sms": 5_000},
    rows=[
        Row(name="drain_email", unit="messages/s", figure="rate", yardstick="drain_sms", goal=Goal(least_ratio=0.8)),
        Row(name="drain_email, connections", unit="/message", figure="connections", goal=Goal(most=0.05)),
    ],
)
