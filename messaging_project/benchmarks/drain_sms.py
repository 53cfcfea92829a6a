"""How fast does a queue drain, with one worker process? Against a Celery task that does nothing."""

import time
from collections.abc import Sequence

from messaging_project.benchmarks.field import DRAINED_SECONDS, Field
from messaging_project.benchmarks.processes import busy_seconds, cpu_seconds, frozen
from messaging_project.benchmarks.question import Goal, Question, Row, Run
from messaging_project.local import LocalError
from messaging_project.local.processes import wait_until


def drain(field: Field, kind: str, number: int, beside: Sequence[int] = ()) -> Run:
    """Have so many messages wait, then let the worker have them, with other processes beside it; compare when all are
    sent.
    """
    field.clear()
    worker = [*field.workers(kind), *beside]
    before = cpu_seconds(worker)
    with frozen(worker):
        volley = field.accept_batches(kind, number)
        ids = volley.ids
    began, busy_before = time.time(), busy_seconds()
    field.await_drained()
    cores = (busy_seconds() - busy_before) / (time.time() - began)
    seconds = field.sent_at() - began
    books = field.compare(ids)
    sent = len(ids) - books["unsent"]
    cpu = (cpu_seconds(worker) - before) / sent * 1000
    figures = {"rate": sent / seconds, "cpu": cpu, "cores": cores}
    return Run(figures=figures, errors=volley.errors + number - len(ids), **books)


def drain_sms(field: Field, number: int) -> Run:
    """Drain SMS."""
    return drain(field, "sms", number)


def drain_nothing(field: Field, number: int) -> Run:
    """Have as many tasks wait that do nothing, then let their worker have them."""
    worker = field.yardstick_workers("nothing")
    before = cpu_seconds(worker)
    with field.yardstick_broker() as broker:
        with frozen(worker):
            volley = field.ask_yardstick("/nothing", [{"count": number}])
        began = time.time()
        if not wait_until(
            lambda: not broker.llen("nothing") and not broker.hlen("unacked"), seconds=DRAINED_SECONDS, pause=0.01
        ):
            raise LocalError("The tasks that do nothing came to no end.")
    # The last ones are acknowledged up to a second after they ended, when their worker next looks up from its queue.
    seconds = field.last_line_at("nothing") - began
    figures = {"rate": number / seconds, "cpu": (cpu_seconds(worker) - before) / number * 1000}
    return Run(figures=figures, errors=volley.errors)


QUESTION = Question(
    name="drain_sms",
    sides={"ours": drain_sms, "Celery no-op": drain_nothing},
    sizes={"ours": 5_000, "Celery no-op": 5_000},
    rows=[
        Row(name="drain_sms", unit="messages/s", figure="rate", yardstick="Celery no-op", goal=Goal(least_ratio=2.0)),
        Row(
            name="drain_sms, worker CPU",
            unit="ms/message",
            figure="cpu",
            yardstick="Celery no-op",
            goal=Goal(most_ratio=0.5),
        ),
    ],
)
