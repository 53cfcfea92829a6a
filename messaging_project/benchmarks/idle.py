"""How soon does one message reach the provider: from the post to the line in the provider's log?"""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from messaging_project.benchmarks.accept import SEND
from messaging_project.benchmarks.books import latencies
from messaging_project.benchmarks.field import Field
from messaging_project.benchmarks.posting import Volley
from messaging_project.benchmarks.question import Goal, Question, Row, Run
from messaging_project.benchmarks.whole_way import whole_way

IDLE_RATE = 20.0


def idle(field: Field, number: int) -> Run:
    """Post so many messages, twenty a second."""
    return soon(field, field.wishes("sms", number), IDLE_RATE)


def idle_naively(field: Field, number: int) -> Run:
    """Do the same with the naive design."""
    return soon_naively(field, field.wishes("sms", number), IDLE_RATE)


class Half:
    """Half of the rate at which we accept and send under full load, found out once and offered to both sides.

    The naive design may be unable to carry it, and then falls behind for as long as it lasts.
    """

    def __init__(self) -> None:
        self.rate = 0.0

    def loaded(self, field: Field, number: int) -> Run:
        """Post so many messages at that rate."""
        if self.rate:
            return soon(field, field.wishes("sms", number), self.rate)
        full = whole_way(field, number)
        self.rate = full.figures["rate"] / 2
        run = soon(field, field.wishes("sms", number), self.rate)
        faults = {name: getattr(full, name) + getattr(run, name) for name in ("errors", "unsent", "doubled")}
        return replace(run, **faults)

    def loaded_naively(self, field: Field, number: int) -> Run:
        """Do the same with the naive design. We come first, so the rate is known."""
        return soon_naively(field, field.wishes("sms", number), self.rate)


def soon(field: Field, wishes: Sequence[dict[str, Any]], rate: float) -> Run:
    """Post messages at a rate; return how soon the provider had them."""
    field.clear()
    volley = field.ask(SEND, wishes, rate=rate)
    field.await_drained()
    books = field.compare(volley.ids)
    return Run(figures=percentiles(field, volley, wishes), errors=volley.errors, **books)


def soon_naively(field: Field, wishes: Sequence[dict[str, Any]], rate: float) -> Run:
    """Do the same with the naive design."""
    field.clear()
    volley = field.ask_yardstick("/naive", wishes, rate=rate)
    field.await_naive(len(wishes))
    books = field.compare_naive([wish["to"] for wish in wishes])
    return Run(figures=percentiles(field, volley, wishes), errors=volley.errors, **books)


def percentiles(field: Field, volley: Volley, wishes: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds."""
    posted = [(wish["to"], answer.at) for wish, answer in zip(wishes, volley.answers, strict=True)]
    cuts = statistics.quantiles(latencies(posted, field.ledgers["sms"].read_on()), n=100, method="inclusive")
    return {"p50": cuts[49] * 1000, "p99": cuts[98] * 1000}


half = Half()
QUESTION = Question(
    name="idle",
    sides={"ours": idle, "naive": idle_naively, "ours, loaded": half.loaded, "naive, loaded": half.loaded_naively},
    sizes={"ours": 200, "naive": 200, "ours, loaded": 800, "naive, loaded": 800},
    rows=[
        Row(name="idle, p50", unit="ms", figure="p50", yardstick="naive", goal=Goal(most=15, most_ratio=1)),
        Row(name="idle, p99", unit="ms", figure="p99", yardstick="naive", goal=Goal(most=60, most_ratio=1)),
        Row(
            name="idle, p99 at half load",
            unit="ms",
            figure="p99",
            side="ours, loaded",
            yardstick="naive, loaded",
            goal=Goal(most=250, most_ratio=1),
        ),
    ],
)
