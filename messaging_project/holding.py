"""Lets `manage.py verify_queue` hold a queue for moments: its workers leave it alone, then take it up again.

Celery's own `cancel_consumer` and `add_consumer` would do it with a price: the worker forgets a queue that came back
that way when it next reconnects to the broker, and nobody takes back the hold of somebody who was killed. Here a hold
ends by itself, is counted by holder so that two of them do not end each other's, and is forgotten by a reconnect.
"""

import time
from collections import defaultdict
from typing import Any

from celery.worker.control import control_command

LONGEST_HOLD_SECONDS = 60.0
# By queue and holder, until when; on the consumer's own thread only.
_holds: dict[str, dict[str, float]] = defaultdict(dict)


@control_command(args=[("queue", str), ("holder", str), ("seconds", float)], signature="<queue> <holder> <seconds>")
def hold_queue(state: Any, queue: str, holder: str, seconds: float) -> dict[str, str]:
    """Leave a queue alone until its holder releases it, for at most so many seconds, and never above a minute."""
    seconds = min(float(seconds), LONGEST_HOLD_SECONDS)
    _holds[queue][holder] = time.monotonic() + seconds
    state.consumer.call_soon(leave_alone, state.consumer, queue)
    state.consumer.timer.call_after(seconds + 0.1, take_up_unless_held, (state.consumer, queue))
    return {"ok": f"{queue} is held for {seconds:g} s"}


@control_command(args=[("queue", str), ("holder", str)], signature="<queue> <holder>")
def release_queue(state: Any, queue: str, holder: str) -> dict[str, str]:
    """End what one holder holds; the queue is taken up again unless somebody else holds it."""
    _holds[queue].pop(holder, None)
    state.consumer.call_soon(take_up_unless_held, state.consumer, queue)
    return {"ok": f"{queue} is released by {holder}"}


def leave_alone(consumer: Any, queue: str) -> None:
    """Take nothing more from a queue. What is running runs on."""
    if consumer.task_consumer.consuming_from(queue):
        consumer.task_consumer.cancel_by_queue(queue)


def take_up_unless_held(consumer: Any, queue: str) -> None:
    """Take from a queue again that is this worker's, once nobody holds it."""
    now = time.monotonic()
    _holds[queue] = {holder: until for holder, until in _holds[queue].items() if until > now}
    own, tasks = consumer.app.amqp.queues.consume_from, consumer.task_consumer
    if queue in own and tasks and not _holds[queue] and not tasks.consuming_from(queue):
        tasks.add_queue(own[queue])
        tasks.consume()
