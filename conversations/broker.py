"""This process's way to Redis, for those who can do without it."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

REST_SECONDS = 5.0

Answer = TypeVar("Answer")


class Broker:
    """Asks Redis what has another answer while it is away. After a failure it leaves Redis alone for a while.

    So a Redis that hangs slows one request, not all of them.
    """

    def __init__(self) -> None:
        self._redis = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5, socket_keepalive=True
        )
        self._resting_until = 0.0

    @property
    def is_resting(self) -> bool:
        """Whether Redis is left alone just now."""
        return time.monotonic() < self._resting_until

    def ask(self, question: "Callable[[redis.Redis], Answer]", otherwise: Answer) -> Answer:
        """Return what Redis answers, or `otherwise` while it is away. Never raises for that."""
        if self.is_resting:
            return otherwise
        try:
            return question(self._redis)
        except (redis.RedisError, OSError) as error:
            self.rest(error)
            return otherwise

    def rest(self, error: Exception) -> None:
        """Leave Redis alone for a while."""
        self._resting_until = time.monotonic() + REST_SECONDS
        logger.warning("the broker is away (%s); what is due waits, and the sweep will ring", type(error).__name__)


broker = Broker()
