import json
from datetime import timedelta

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from conversations.models import Message
from conversations.tests.conftest import accept  # noqa: F401
from messaging_project import health
from messaging_project.celery import QUEUES, HeartbeatStep, beat_for_sweep
from messaging_project.models import Heartbeat
from providers.models import AccountState

pytestmark = pytest.mark.django_db


@pytest.fixture
def alive(settings):
    """Workers for every queue, both sweeps, and accounts at real providers."""
    settings.TWILIO_BASE_URL = settings.SENDGRID_BASE_URL = "https://api.example.com"
    Heartbeat.beat([f"queue {queue}" for queue in QUEUES], "worker@one")
    Heartbeat.beat([f"sweep {name}" for name in health.SWEEPS], "worker@one")


@pytest.fixture
def no_redis(monkeypatch):
    monkeypatch.setattr(health, "redis_client", lambda: redis.Redis(host="127.0.0.1", port=9))


@pytest.fixture
def no_database(monkeypatch):
    def away():
        raise OperationalError

    monkeypatch.setattr(health.connection, "cursor", away)


def ask(client, path):
    response = client.get(path)
    assert b'": ' not in response.content
    return response.status_code, response.json()


@pytest.mark.parametrize("path", ["/live", "/startup", "/live/"])
def test_a_process_that_answers_is_alive(client, path, no_redis):
    status, body = ask(client, path)
    assert (status, body["status"]) == (200, "alive")
    assert body["timestamp"]


@pytest.mark.parametrize("path", ["/dependencies", "/dependencies/"])
def test_the_servers_that_it_depends_on_are_named_with_how_they_answer(client, path):
    status, body = ask(client, path)
    assert (status, set(body)) == (200, {"dependencies", "timestamp"})
    assert {name: each["status"] for name, each in body["dependencies"].items()} == {"postgresql": "ok", "redis": "ok"}


def test_a_server_that_is_away_is_named_and_answered_200(client, no_redis):
    status, body = ask(client, "/dependencies")
    assert (status, body["dependencies"]["redis"]) == (200, {"status": "away", "error": "ConnectionError"})


def test_all_is_well(client, alive):
    status, body = ask(client, "/health")
    assert (status, body["status"]) == (200, "healthy")
    assert set(body["checks"]) == {"database", "redis", "migrations", "restore", "queues", "sweep", "providers"}
    running = {"status": "running"}
    assert body["checks"]["providers"] == {"status": "ok", "twilio": running, "sendgrid": running}


def test_a_stopped_account_is_named_and_no_reason_to_restart_us(client, alive):
    AccountState.objects.pause("twilio", ["sms", "mms"], code="20003", sentence="Refused.", probe_at=None)
    status, body = ask(client, "/health")
    assert (status, body["status"], body["checks"]["providers"]["status"]) == (200, "degraded", "degraded")
    twilio, sendgrid = body["checks"]["providers"]["twilio"], body["checks"]["providers"]["sendgrid"]
    assert (twilio["status"], sorted(twilio["channels"]), twilio["reason"]) == ("paused", ["mms", "sms"], "20003")
    assert twilio["since"]
    assert sendgrid == {"status": "running"}


def test_doubts_of_an_account_that_is_no_more_are_counted(client, alive, accept):  # noqa: F811
    accept(provider="twilio_former")
    now = timezone.now()
    Message.objects.update(status="uncertain", next_attempt_at=None, settle_at=now, settle_by=now)
    providers = ask(client, "/health")[1]["checks"]["providers"]
    assert (providers["status"], providers["twilio_former"]) == ("degraded", {"status": "missing", "uncertain": 1})


def test_a_stopped_account_hides_no_trouble_of_our_own(client):
    AccountState.objects.pause("twilio", ["sms"], code="20003", sentence="Refused.", probe_at=None)
    assert ask(client, "/health")[1]["status"] == "unhealthy"


def test_a_queue_without_a_worker_is_named(client, alive):
    Heartbeat.objects.filter(part="queue mms").update(seen_at=timezone.now() - timedelta(seconds=16))
    status, body = ask(client, "/health")
    assert (status, body["checks"]["queues"]["without_worker"]) == (503, ["mms"])


def test_a_silent_sweep_is_named(client, alive):
    Heartbeat.objects.filter(part="sweep webhooks").update(seen_at=timezone.now() - timedelta(seconds=31))
    status, body = ask(client, "/health")
    assert (status, body["checks"]["sweep"]["silent"]) == (503, ["webhooks"])


def test_without_redis_sends_are_taken_but_the_system_is_not_well(client, alive, no_redis):
    assert ask(client, "/ready")[1]["status"] == "degraded"
    assert client.get("/ready").status_code == 200
    status, body = ask(client, "/health")
    assert (status, body["checks"]["redis"]["status"]) == (503, "away")


@pytest.mark.parametrize("path", ["/ready", "/health"])
def test_without_a_database_nothing_is_ready(client, path, no_database):
    status, body = ask(client, path)
    assert (status, body["checks"]["database"]["status"]) == (503, "away")


@pytest.mark.parametrize("path", ["/ready", "/health"])
def test_an_unmigrated_database_gets_no_traffic(client, monkeypatch, path):
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda *_: [("conversations", "0002")])
    status, body = ask(client, path)
    assert (status, body["checks"]["migrations"]["mend"]) == (503, "python manage.py migrate")


def test_a_heartbeat_is_one_row_however_often_it_beats_and_old_ones_go():
    Heartbeat.objects.create(part="queue sms", worker="gone", seen_at=timezone.now() - timedelta(days=2))
    for _ in range(3):
        Heartbeat.beat(["queue sms"], "worker@one")
    assert [str(beat) for beat in Heartbeat.objects.all()] == ["queue sms by worker@one"]


def test_a_heartbeat_that_can_not_be_written_stops_nobody(monkeypatch, caplog):
    def away(*_):
        raise OperationalError

    monkeypatch.setattr(Heartbeat, "beat", away)
    consumer = type("Consumer", (), {"task_consumer": type("Tasks", (), {"queues": []}), "hostname": "worker@one"})
    HeartbeatStep(consumer).beat(consumer)
    assert "could not be written" in caplog.text


def test_a_worker_that_goes_is_missed_at_once(alive):
    consumer = type("Consumer", (), {"hostname": "worker@one"})
    step = HeartbeatStep(consumer)
    step.beating = type("Timer", (), {"cancel": lambda self: None})()
    step.stop(consumer)
    assert not Heartbeat.objects.exists()


@pytest.mark.parametrize(("result", "beats"), [("receipts 0", 1), ("busy", 0)])
def test_a_sweep_that_ran_through_beats_and_one_that_found_another_at_work_does_not(result, beats):
    request = type("Request", (), {"hostname": "sweep@one"})
    beat_for_sweep(type("Task", (), {"name": "webhooks.sweep", "request": request}), result)
    assert Heartbeat.objects.filter(part="sweep webhooks").count() == beats


@pytest.mark.parametrize("path", ["/live", "/ready", "/health"])
def test_a_probe_can_only_be_read(client, path):
    response = client.post(path)
    assert response.status_code == 405
    assert json.loads(response.content or b"{}").get("code", "") in ("", "method_not_allowed")


def test_an_account_that_a_sandbox_plays_is_marked_and_no_other(client, alive, settings):
    settings.TWILIO_BASE_URL, settings.SENDGRID_BASE_URL = "http://127.0.0.1:8090", "https://api.sendgrid.com"
    providers = ask(client, "/health")[1]["checks"]["providers"]
    assert (providers["twilio"], providers["sendgrid"]) == (
        {"status": "running", "sandbox": True},
        {"status": "running"},
    )


def test_a_worker_is_well_while_it_beats_for_a_queue_and_is_named_when_it_does_not():
    Heartbeat.beat(["queue sms"], "sms@one")
    call_command("worker_health", "sms@one")
    Heartbeat.objects.update(seen_at=timezone.now() - timedelta(seconds=16))
    with pytest.raises(CommandError, match="sms@one was not seen"):
        call_command("worker_health", "sms@one")


def test_a_worker_that_only_sweeps_is_not_well():
    Heartbeat.beat(["sweep webhooks"], "sweep@one")
    with pytest.raises(CommandError):
        call_command("worker_health", "sweep@one")
