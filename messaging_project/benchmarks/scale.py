"""How much faster do two worker processes drain a queue than one? Where the cores are the limit, their time says so."""

from messaging_project.benchmarks.drain_sms import drain
from messaging_project.benchmarks.field import START_SECONDS, Field
from messaging_project.benchmarks.processes import command_of, frozen
from messaging_project.benchmarks.question import Goal, Question, Row, Run
from messaging_project.local import LocalError
from messaging_project.local.processes import wait_until
from messaging_project.local.running import family

SECOND = "sms2"


def drain_with_two(field: Field, number: int) -> Run:
    """Drain with two worker processes."""
    return drain(field, "sms", number, beside=second_worker(field))


def drain_with_one(field: Field, number: int) -> Run:
    """Drain with one, while the other stands still."""
    with frozen(second_worker(field)):
        return drain(field, "sms", number)


def second_worker(field: Field) -> list[int]:
    """Return the processes of a second worker like the first, which is started when first asked for."""
    if SECOND not in field.children:
        command = command_of(field.workers("sms")[0])
        field.spawn(SECOND, [part.replace("sms@", f"{SECOND}@") for part in command], {})
        if not wait_until(lambda: field.is_ready(SECOND), seconds=START_SECONDS):
            raise LocalError(f"A second worker did not start: {field.last_words()}")
    return family(field.children[SECOND].pid)


QUESTION = Question(
    name="scale",
    sides={"two workers": drain_with_two, "one worker": drain_with_one},
    sizes={"two workers": 6_000, "one worker": 6_000},
    rows=[
        Row(
            name="scale",
            unit="messages/s",
            figure="rate",
            side="two workers",
            yardstick="one worker",
            goal=Goal(least_ratio=1.6),
        ),
        Row(name="scale, worker CPU", unit="ms/message", figure="cpu", side="two workers", yardstick="one worker"),
        Row(name="scale, busy cores", unit="cores", figure="cores", side="two workers", yardstick="one worker"),
    ],
)
