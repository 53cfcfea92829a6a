"""The probes: is this process alive, may it get traffic, is the whole system well?

Each asks for real, with short timeouts. Nobody needs a key for them, so they name parts and states, never addresses.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from conversations.broker import AWAY
from conversations.models import DatabaseIdentity, Message
from conversations.models.status import Status
from conversations.redis_url import TIMEOUTS, redis_at
from messaging_project.celery import QUEUES, app
from messaging_project.models import Heartbeat
from providers import routes
from providers.models import AccountState

Check = dict[str, Any]

WORKER_SILENT_AFTER = timedelta(seconds=15)
SWEEP_SILENT_AFTER = timedelta(seconds=30)
SWEEPS = ("conversations", "webhooks")


@require_safe
def live(_: HttpRequest) -> JsonResponse:
    """Answer 200 as long as the process can answer at all."""
    return answer({"status": "alive", "timestamp": timezone.now()})


@require_safe
def ready(_: HttpRequest) -> JsonResponse:
    """May this process get traffic? 503 without a migrated database, and in a restored copy that nobody has looked
    after yet; without Redis it is 200, `degraded`.
    """
    checks = {"database": check_database(), "redis": check_redis()}
    if is_ok(checks["database"]):
        checks |= check_schema()
    unready = any(not is_ok(check) for name, check in checks.items() if name != "redis")
    status = "unready" if unready else "ready" if is_ok(checks["redis"]) else "degraded"
    return probe_response(status, checks, unwell=unready)


@require_safe
def health(_: HttpRequest) -> JsonResponse:
    """Is the whole system well? 503 names what is not: database, Redis, broker, a queue without a worker, a
    silent sweep, or that this is a restored copy, which sends nothing.

    A provider's account that is stopped is named too, but it is 200, `degraded`: restarting us would mend nothing.
    """
    checks = {"database": check_database(), "redis": check_redis()}
    if settings.BROKER_URL != settings.REDIS_URL:
        checks["broker"] = check_broker()
    if is_ok(checks["database"]):
        checks |= check_schema()
        if is_ok(checks["migrations"]):
            checks |= {"queues": check_queues(), "sweep": check_sweep(), "providers": check_providers()}
    unwell = not all(is_ok(check) for name, check in checks.items() if name != "providers")
    well = "healthy" if all(map(is_ok, checks.values())) else "degraded"
    return probe_response("unhealthy" if unwell else well, checks, unwell=unwell)


@require_safe
def dependencies(_: HttpRequest) -> JsonResponse:
    """Which servers does this process depend on, and do they answer? Always 200: it is for people, not for restarts."""
    found = {"postgresql": check_database(), "redis": check_redis()}
    if settings.BROKER_URL != settings.REDIS_URL:
        found["broker"] = check_broker()
    return answer({"dependencies": found, "timestamp": timezone.now()})


def probe_response(status: str, checks: dict[str, Check], *, unwell: bool) -> JsonResponse:
    """Return what a probe found."""
    return answer({"status": status, "timestamp": timezone.now(), "checks": checks}, status=503 if unwell else 200)


def answer(body: dict[str, Any], *, status: int = 200) -> JsonResponse:
    """Return compact JSON that no cache keeps."""
    response = JsonResponse(body, status=status, json_dumps_params={"separators": (",", ":")})
    response["Cache-Control"] = "no-store"
    return response


def is_ok(check: Check) -> bool:
    """Say whether a check passed."""
    return bool(check["status"] == "ok")


def timed(ask: Callable[[], object], *failures: type[Exception]) -> Check:
    """Ask, and say how long the answer took or which kind of failure came instead of it."""
    began = time.perf_counter()
    try:
        ask()
    except failures as error:
        return {"status": "away", "error": type(error).__name__}
    return {"status": "ok", "latency_ms": round((time.perf_counter() - began) * 1000, 1)}


def check_database() -> Check:
    """Ask the database for a row."""

    def ask() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    return timed(ask, DatabaseError)


def check_redis() -> Check:
    """Ask Redis for a sign of life."""
    return timed(redis_client().ping, redis.RedisError)


@cache
def redis_client() -> "redis.Redis":
    """Return this process's client for the probes."""
    return redis_at(settings.REDIS_URL, {**TIMEOUTS, "socket_timeout": 1})


def check_broker() -> Check:
    """Ask the broker for a connection, where it is another server than Redis."""

    def ask() -> None:
        with app.connection_for_write() as connected:
            connected.ensure_connection(max_retries=0)

    return timed(ask, *AWAY)


def check_migrations() -> Check:
    """Look for migrations of this version that the database has not seen."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return {"status": "unmigrated", "missing": len(missing), "mend": "python manage.py migrate"}
    return {"status": "ok"}


def check_schema() -> dict[str, Check]:
    """Look at the migrations, and where none is missing at where the rows came from."""
    checks = {"migrations": check_migrations()}
    return {**checks, "restore": check_restore()} if is_ok(checks["migrations"]) else checks


def check_restore() -> Check:
    """Look whether the database came out of a backup: then nothing is sent from it yet."""
    if DatabaseIdentity.objects.is_copy():
        return {"status": "restored_copy", "mend": "python manage.py after_restore"}
    return {"status": "ok"}


def check_queues() -> Check:
    """Look for queues that no worker consumes."""
    workers = {queue: recent(f"queue {queue}", WORKER_SILENT_AFTER) for queue in QUEUES}
    without = [queue for queue, count in workers.items() if not count]
    counts = {queue: {"workers": count} for queue, count in workers.items()}
    return {"status": "no_worker" if without else "ok", "without_worker": without, **counts}


def check_sweep() -> Check:
    """Look for sweeps that have not run."""
    silent = [name for name in SWEEPS if not recent(f"sweep {name}", SWEEP_SILENT_AFTER)]
    return {"status": "silent" if silent else "ok", "silent": silent}


def check_providers() -> Check:
    """Look for accounts that are offered nothing now, on any channel, and for doubts that nobody can be asked about.

    Those that a sandbox plays are marked: whoever wants to try something has to know.
    """
    stopped = AccountState.objects.exclude(state=AccountState.State.RUNNING).order_by("-since")
    accounts: dict[str, Check] = {name: {"status": "running"} for name in routes.account_names()}
    for row in stopped:  # the longest stopped comes last and stays
        accounts[row.account] = {
            "status": row.state,
            "channels": [row.channel, *accounts.get(row.account, {}).get("channels", [])],
            "reason": row.code,
            "since": row.since,
        }
    unasked = Message.objects.filter(status=Status.UNCERTAIN).exclude(provider__in=routes.account_names())
    for name in unasked.values_list("provider", flat=True).distinct():
        accounts[name] = {"status": "missing", "uncertain": unasked.filter(provider=name).count()}
    for name in filter(routes.goes_nowhere, routes.account_names()):
        accounts[name]["sandbox"] = True
    troubled = any(account["status"] != "running" for account in accounts.values())
    return {"status": "degraded" if troubled else "ok", **accounts}


def recent(part: str, silent_after: timedelta) -> int:
    """Count who was seen at work on a part lately."""
    return Heartbeat.objects.filter(part=part, seen_at__gt=timezone.now() - silent_after).count()
