"""This process's ways to Redis and to the broker, for those who can do without either. Mostly both are one Redis."""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError as BrokerUnreachable

from conversations.redis_url import TIMEOUTS, redis_at

logger = logging.getLogger(__name__)

REST_SECONDS = 5.0
AWAY = (redis.RedisError, BrokerUnreachable, OSError)

Answer = TypeVar("Answer")


class Server:
    """A server that is asked what has another answer while it is away. After a failure it is left alone for a while.

    So one that hangs slows one request, not all of them.
    """

    def __init__(self) -> None:
        self._resting_until = 0.0

    @property
    def is_resting(self) -> bool:
        """Whether it is left alone just now."""
        return time.monotonic() < self._resting_until

    def try_to(self, ask: Callable[[], Answer], otherwise: Answer) -> Answer:
        """Return what it answers, or `otherwise` while it is away. Never raises for that."""
        if self.is_resting:
            return otherwise
        try:
            return ask()
        except AWAY as error:
            self.rest(error)
            return otherwise

    def rest(self, error: Exception) -> None:
        """Leave it alone for a while."""
        self._resting_until = time.monotonic() + REST_SECONDS
        logger.warning("the broker is away (%s); what is due waits, and the sweep will ring", type(error).__name__)


class RedisServer(Server):
    """Redis, for counting and, mostly, as the broker."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._redis = redis_at(url, TIMEOUTS)

    def ask(self, question: "Callable[[redis.Redis], Answer]", otherwise: Answer) -> Answer:
        """Return what Redis answers, or `otherwise` while it is away."""
        return self.try_to(lambda: question(self._redis), otherwise)

    def waiting(self, queue: str) -> float:
        """Return how many rings lie in a queue; infinitely many while Redis is away, so that nobody adds one."""
        return self.ask(lambda server: float(server.llen(queue)), float("inf"))  # type: ignore[arg-type]


class AmqpServer(Server):
    """RabbitMQ as the broker, over the connections that rings are published on."""

    def waiting(self, queue: str) -> float:
        """Return how many rings lie in a queue; infinitely many while the broker is away."""

        def count() -> float:
            with current_app.producer_or_acquire() as producer, producer.connection._reraise_as_library_errors():
                declared: Any = current_app.amqp.queues[queue](producer.channel).queue_declare()
                return float(declared.message_count)

        return self.try_to(count, float("inf"))


redis_server = RedisServer(settings.REDIS_URL)
broker: RedisServer | AmqpServer = redis_server
if settings.BROKER_URL.startswith("amqp"):
    broker = AmqpServer()
elif settings.BROKER_URL != settings.REDIS_URL:
    broker = RedisServer(settings.BROKER_URL)
