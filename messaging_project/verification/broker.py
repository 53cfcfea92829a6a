"""The broker that is verified: what lies in its queues, who takes it out, and how they are held for moments."""

import secrets
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError as BrokerUnreachable

from conversations.redis_url import SENTINEL, redis_at, sentinel_options
from messaging_project.local.processes import wait_until
from messaging_project.verification import CannotVerify

REPLY_SECONDS = 1.5
# A claim takes 20 s and a call to a provider as many more.
IDLE_SECONDS = 45.0
HOLD_SECONDS = 60.0
SOCKET_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 2, "socket_keepalive": True}


class Broker:
    """A Redis broker and the workers behind it. Every question raises `CannotVerify` while it is away."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("redis://", "rediss://", SENTINEL)):
            raise CannotVerify("BROKER_URL is no Redis, which is what this looks into: redis://:PASSWORD@HOST:6379/0")
        self.holder = secrets.token_hex(8)
        self._redis = redis_at(url, SOCKET_OPTIONS)
        self._celery = Celery("verification", broker=url, set_as_current=False)
        self._celery.conf.broker_transport_options = {**SOCKET_OPTIONS, **sentinel_options(url, SOCKET_OPTIONS)}
        self._celery.conf.broker_connection_retry = False
        self._celery.conf.broker_pool_limit = None  # a connection that was kept may be dead by the next question

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, BrokerUnreachable, OSError) as error:
            raise CannotVerify(f"The broker does not answer ({type(error).__name__}): check BROKER_URL.") from None

    def workers(self) -> dict[str, list[str]]:
        """The workers that take from each queue, by their own word, given within some seconds."""
        with self._asking():
            replies = self._celery.control.inspect(timeout=REPLY_SECONDS).active_queues() or {}
        workers: dict[str, list[str]] = defaultdict(list)
        for name in sorted(replies):
            for queue in replies[name]:
                workers[queue["name"]].append(name)
        return workers

    @contextmanager
    def hold(self, queue: str, workers: list[str]) -> Iterator[None]:
        """Keep the workers of a queue from taking anything out of it, once they have finished what they had begun.

        At the end they are released; without that, as after a kill, by themselves a minute after they were held. Raises
        `CannotVerify` when they can't be held or do not come to rest.
        """
        try:
            if workers:
                self._tell(workers, "hold_queue", queue=queue, seconds=HOLD_SECONDS)
            if not wait_until(lambda: not self._busy(workers), seconds=IDLE_SECONDS):
                raise CannotVerify(f"The workers of {queue} were busy all the time: try again when less is due.")
            yield
        finally:
            if workers:
                self._tell(workers, "release_queue", queue=queue)

    def _tell(self, workers: list[str], command: str, **arguments: Any) -> None:
        with self._asking():
            replies = self._celery.control.broadcast(
                command,
                arguments={**arguments, "holder": self.holder},
                destination=workers,
                reply=True,
                timeout=REPLY_SECONDS,
                limit=len(workers),
            )
        refused = [
            f"{name}: {word['error']}" for each in replies or [] for name, word in each.items() if "error" in word
        ]
        if refused or not replies:
            raise CannotVerify(f"The workers could not be told to {command}: {'; '.join(refused) or 'no answer'}.")

    def _busy(self, workers: list[str]) -> bool:
        if not workers:
            return False
        with self._asking():
            active = self._celery.control.inspect(workers, timeout=REPLY_SECONDS, limit=len(workers)).active() or {}
        return any(active.values()) or len(active) < len(workers)

    def rings(self, queue: str) -> list[bytes]:
        """What lies in a queue."""
        with self._asking():
            return list(self._redis.lrange(queue, 0, -1))  # type: ignore[arg-type]

    def remove_rings(self, queues: tuple[str, ...], message_ids: list[str]) -> None:
        """Take out the rings for messages that are no more; also after an end that came while a connection was made."""
        self._redis.connection_pool.disconnect()
        for queue in queues:
            for ring in self.rings(queue):
                if any(message_id.encode() in ring for message_id in message_ids):
                    with self._asking():
                        self._redis.lrem(queue, 1, ring)  # type: ignore[arg-type]

    def take_part(self) -> str:
        """Put something into a list of our own, count it and take it out; "" when all went well, else what did not."""
        key = f"verification:{self.holder}"
        with self._asking():
            try:
                self._redis.lpush(key, "ring")
                self._redis.expire(key, 60)
                counted, taken = self._redis.llen(key), self._redis.brpop([key], timeout=1)
            except redis.ResponseError as error:
                return f"Redis refused: {error}"
        return "" if counted == 1 and taken else f"of one entry {counted} were counted, and {taken} came out"

    def evicts(self) -> str:
        """The policy by which a full Redis throws away rings; "" for none, or where that may not be asked."""
        try:
            found: Any = self._redis.config_get("maxmemory-policy")
        except redis.RedisError:
            return ""
        policy = str(found.get("maxmemory-policy", ""))
        return policy if policy.startswith("allkeys") else ""
