"""Callbacks that come often, late, in any order, too early, or never."""

import json

from messaging_project.drills.ground import Ground, drill

RATE = 12.0


@drill("callbacks-shuffled", short=True)
def callbacks_shuffled(ground: Ground) -> None:
    """Every callback comes at least five times, many of them after a later one."""
    with ground.fault():
        ground.dial(duplicate_percent=100, reorder_percent=60)
        with ground.client.load(RATE):
            ground.wait(9)
        for _ in range(2):
            ground.wait(4)
            tell_all_again(ground)
            ground.dial(duplicate_percent=100, reorder_percent=60)
        ground.wait(4)


def tell_all_again(ground: Ground) -> None:
    """Start the sandbox anew without its notes on what it has told: it tells everything once more."""
    ground.stack.kill_sandbox()
    lines = ground.stack.sandbox.ledger.read_text().splitlines(keepends=True)
    ground.stack.sandbox.ledger.write_text("".join(line for line in lines if "details" in json.loads(line)))
    ground.stack.start_sandbox()


@drill("callbacks-early")
def callbacks_early(ground: Ground) -> None:
    """Callbacks come before our own "sent": the provider reports at once and answers late."""
    with ground.fault():
        ground.dial(callback_delay_ms=0, latency_ms=1000)
        with ground.client.load(RATE):
            ground.wait(10)


@drill("callbacks-late")
def callbacks_late(ground: Ground) -> None:
    """Callbacks come 15 s late, each of them twice."""
    with ground.fault():
        ground.dial(callback_delay_ms=15_000, duplicate_percent=100)
        with ground.client.load(RATE):
            ground.wait(10)
        ground.wait(15)


@drill("callbacks-dropped")
def callbacks_dropped(ground: Ground) -> None:
    """No callback comes."""
    ground.reports_dropped = True
    with ground.fault():
        ground.dial(drop_percent=100)
        with ground.client.load(RATE):
            ground.wait(10)
        ground.wait(3)
