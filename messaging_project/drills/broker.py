"""Redis that is killed, away, frozen, emptied or full of poison. The table is the truth, so none of it may matter."""

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import kombu

from messaging_project.drills.ground import Ground, drill

RATE = 15.0
QUEUES = ("sms", "mms", "email", "sweep", "events")
RING_MADE_GOOD_SECONDS = 61.0
# What a worker, a sweeper or beat says of a broker that is not there.
BROKER_AWAY = (
    r"Cannot connect to redis|Failed to capture events|[Bb]roker",
    r"(ConnectionError|TimeoutError|OperationalError|ConnectionResetError|ConnectionRefusedError|BrokenPipe)",
)
# A worker may end over what it can't read; the supervisor starts another one.
POISONED = (
    r"Unrecoverable error|JSONDecodeError|KeyError|ContentDisallowed|unregistered task|DoesNotExist|DecodeError",
)


@contextmanager
def valkey_away(ground: Ground) -> Iterator[None]:
    """Valkey is dead while the block runs, and comes back empty."""
    with ground.fault():
        ground.stack.kill_valkey()
        try:
            yield
        finally:
            ground.stack.valkey.start()


@drill("redis-kill", short=True, timed=True, expects=BROKER_AWAY)
def redis_kill(ground: Ground) -> None:
    """Redis is killed with all its data, and comes back empty at once; 60 post at that moment."""
    with ground.client.load(RATE):
        for _ in range(3):
            ground.wait(3)
            with valkey_away(ground):
                ground.sixty_at_once()


@drill("redis-away", timed=True, expects=BROKER_AWAY)
def redis_away(ground: Ground) -> None:
    """Redis is away for a minute."""
    with ground.client.load(RATE):
        ground.wait(3)
        with valkey_away(ground):
            ground.wait(30)
            ground.sixty_at_once()
            ground.wait(30)


@drill("redis-frozen", short=True, timed=True, expects=BROKER_AWAY)
def redis_frozen(ground: Ground) -> None:
    """Redis is frozen (SIGSTOP): it takes connections and never answers."""
    process = ground.stack.valkey.process
    assert process is not None
    with ground.client.load(RATE):
        ground.wait(3)
        with ground.fault():
            os.kill(process.pid, signal.SIGSTOP)
            try:
                ground.sixty_at_once()
                ground.wait(10)
                ground.sixty_at_once()
            finally:
                os.kill(process.pid, signal.SIGCONT)


@drill("lost-rings", within=RING_MADE_GOOD_SECONDS)
def lost_rings(ground: Ground) -> None:
    """Every ring is lost while nobody is there to hear it, and nothing more is posted."""
    with ground.fault():
        ground.stack.running.stop_workers()
        with ground.client.load(30):
            ground.wait(5)
        with ground.stack.rings() as broker:
            broker.delete(*QUEUES)
        ground.stack.running.start_workers()


@drill("poison", expects=POISONED)
def poison(ground: Ground) -> None:
    """Malformed JSON, an unknown task and the id of a deleted row lie in every queue."""
    with ground.client.load(RATE), ground.fault():
        for name in ("sms", "mms", "email"):
            ground.wait(3)
            drop_poison(ground, name)


def drop_poison(ground: Ground, queue: str) -> None:
    """Put into one queue what no worker can answer."""
    with ground.stack.rings() as broker:
        broker.lpush(queue, "{", '{"headers": {"task": "conversations.no_such_task", "id": "1"}}')
    with kombu.Connection(ground.stack.valkey.url) as connection:
        producer = connection.Producer()
        for task, ids in (("no_such_task", []), (f"send_{queue}", [str(uuid.uuid4())])):
            producer.publish(
                [ids, {}, {}],
                routing_key=queue,
                headers={"task": f"conversations.{task}", "id": str(uuid.uuid4()), "lang": "py"},
                serializer="json",
            )
