"""Where Redis is, as REDIS_URL says it: at an address, or behind Sentinel, where whoever is the master is asked."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from django.conf import settings
from redis.sentinel import Sentinel

TIMEOUTS = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "socket_keepalive": True}
SENTINEL = "sentinel://"


def redis_at(url: str, options: Mapping[str, Any]) -> "redis.Redis":
    """Return a client for a URL as REDIS_URL has it; behind Sentinel, of whoever is the master at that moment."""
    if not url.startswith(SENTINEL):
        return redis.Redis.from_url(url, **options)
    places = [urlsplit(each) for each in url.split(";")]
    given = {"username": places[0].username, "password": unquote(places[0].password or "") or None}
    number, of_sentinel = int(places[0].path.strip("/") or 0), sentinel_options(url, options)
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        [(place.hostname, place.port or 26379) for place in places], sentinel_kwargs=of_sentinel["sentinel_kwargs"]
    )
    master: redis.Redis = sentinels.master_for(of_sentinel["master_name"], db=number, **given, **options)
    return master


def sentinel_options(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what kombu has to know to find Redis behind Sentinel, {} where there is none. The Sentinels are spoken to
    with the same timeouts.
    """
    if not url.startswith(SENTINEL):
        return {}
    password = {"password": settings.REDIS_SENTINEL_PASSWORD} if settings.REDIS_SENTINEL_PASSWORD else {}
    return {"master_name": settings.REDIS_SENTINEL_MASTER, "sentinel_kwargs": {**options, **password}}
