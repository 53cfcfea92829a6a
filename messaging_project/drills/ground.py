"""A drill, and the ground it is held on: the stack, the client, the dice, and what the drill says of its fault."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from messaging_project.drills.books import Allowance
from messaging_project.drills.load import Client, Post, Wishes
from messaging_project.drills.stack import SHORT_TIMES, DrillStack

# Until everybody has noticed that a fault is over.
GRACE_SECONDS = 5.0
CONVERGED_SECONDS = 120.0
PROVIDERS = ("twilio", "sendgrid")
DIALS = {"latency_ms": 50, "callback_delay_ms": 100, "duplicate_percent": 0, "drop_percent": 0, "reorder_percent": 0}
NO_ANSWER = None
# What the product says when it offers an account nothing more for a while.
STOPPED = (r"account \w+, \w+: (paused|open)",)


class Ground:
    """What a drill works with, and where it says what its fault explains."""

    def __init__(self, stack: DrillStack, seed: int, run: str) -> None:
        self.stack = stack
        self.dice = random.Random(f"{seed} {run}")
        self.client = Client(stack.running.url, Wishes(random.Random(self.dice.random()), f"{run} {seed}"))
        self.faults: list[tuple[float, float]] = []
        self.missed: list[str] = []
        self.doubtful_emails = 0
        self.ordered: Counter[str] = Counter()
        self.end_codes: frozenset[str] = frozenset()
        self.reports_dropped = False

    @property
    def allowance(self) -> Allowance:
        """What the drill has explained so far."""
        return Allowance(
            end_codes=self.end_codes, doubtful_emails=self.doubtful_emails, reports_dropped=self.reports_dropped
        )

    @contextmanager
    def fault(self) -> Iterator[None]:
        """The time in which something is broken: only then, and a moment later, is a post allowed to fail."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.faults.append((began, time.monotonic()))

    @property
    def over_at(self) -> float:
        """When the last fault ended, monotonic."""
        return max((end for _, end in self.faults), default=time.monotonic())

    def explains(self, post: Post, answers: Sequence[int | None]) -> bool:
        """Whether a refused or unanswered post fell into a fault that such an answer is natural for."""
        during = any(post.at < end + GRACE_SECONDS and post.at + post.seconds > began for began, end in self.faults)
        return during and post.status in answers

    def wait(self, seconds: float) -> None:
        """Let the load run."""
        time.sleep(seconds)

    def hold(self, bar: str, value: float, most: float) -> None:
        """Hold a measured value to its bar."""
        if value > most:
            self.missed.append(f"{bar}: {value:.2f}, at most {most:g}")

    def expect(self, fact: str, holds: bool) -> None:
        """Note a fact that has to hold and does not."""
        if not holds:
            self.missed.append(fact)

    def count_doubtful_emails(self) -> None:
        """Mails that are on their way at a kill may have left or not, and nobody can prove which."""
        query = "SELECT count(*) FROM conversations_message WHERE type = 'email' AND status IN ('sending', 'uncertain')"
        self.doubtful_emails += self.stack.rows(query)[0][0]

    def dial(self, **dials: int) -> None:
        """Turn dials of the sandbox."""
        self.stack.tell_sandbox("POST", "/settings", dials)

    def order(self, fault: str, count: int) -> None:
        """Let the next send requests of both providers meet a fault."""
        for provider in PROVIDERS:
            self.stack.tell_sandbox("POST", "/faults", {"provider": provider, "fault": fault, "count": count})
            self.ordered[provider] += count

    def take_faults_back(self) -> Counter[str]:
        """Let the next requests meet nothing any more; how many met a fault, by provider."""
        waiting = Counter(each["provider"] for each in self.stack.tell_sandbox("GET", "/faults").json["faults"])
        self.stack.tell_sandbox("DELETE", "/faults")
        met, self.ordered = self.ordered - waiting, Counter()
        return met

    def tidy(self) -> None:
        """Leave the stack as it was found."""
        with suppress(OSError):
            self.take_faults_back()
            self.dial(**DIALS)
        self.stack.stop_beside()

    def sixty_at_once(self) -> None:
        """The bar for a broker that is away: every one of 60 parallel sends is accepted, none slower than 1.5 s."""
        posts = self.client.burst(60)
        self.expect("60 parallel sends are all accepted", all(post.accepted for post in posts))
        self.hold("the slowest of 60 parallel sends, in seconds", max(post.seconds for post in posts), 1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One failure. `answers` are what a post may get instead of 2xx while it lasts, `expects` patterns in the logs.

    A timed one has a bar of a few seconds, or takes all of the machine: nothing is held beside it.
    """

    name: str
    run: Callable[[Ground], None]
    is_short: bool
    is_timed: bool
    settings: Mapping[str, str]
    within: float
    answers: Sequence[int | None]
    expects: Sequence[str]

    @property
    def title(self) -> str:
        """What happens in it, in one line."""
        return (self.run.__doc__ or "").splitlines()[0]


DRILLS: dict[str, Drill] = {}


def drill(
    name: str,
    *,
    short: bool = False,
    timed: bool = False,
    settings: Mapping[str, str] = SHORT_TIMES,
    within: float = CONVERGED_SECONDS,
    answers: Sequence[int | None] = (),
    expects: Sequence[str] = (),
) -> Callable[[Callable[[Ground], None]], Callable[[Ground], None]]:
    """Make a function a drill: it returns once its fault is over."""

    def register(run: Callable[[Ground], None]) -> Callable[[Ground], None]:
        DRILLS[name] = Drill(
            name=name,
            run=run,
            is_short=short,
            is_timed=timed,
            settings=settings,
            within=within,
            answers=answers,
            expects=expects,
        )
        return run

    return register
