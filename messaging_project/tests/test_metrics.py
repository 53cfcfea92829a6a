"""What Prometheus reads."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from conversations.models import Message
from conversations.models.outcome import Outcome
from conversations.models.status import Status
from conversations.tests.conftest import accept, claim  # noqa: F401
from messaging_project import tally
from messaging_project.celery import say_gone, say_started
from messaging_project.models import Counted, Heartbeat
from providers.models import AccountState
from webhooks.models import Receipt, Refusal

# Only what is committed is counted: the counter reads behind every transaction that is under way.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def read(client, settings):
    """What stands at /metrics: values by the name of each sample and its labels, which are sorted by name."""
    settings.TRUST_LOCAL_REQUESTS = True

    def reading():
        answer = client.get("/metrics")
        assert answer.status_code == 200
        families = text_string_to_metric_families(answer.content.decode())
        return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}

    return reading


def end(message, status, **more):
    """End an attempt."""
    outcome = Outcome(message_id=message.id, attempt=message.attempts, status=Status(status), **more)
    assert Message.objects.record_outcomes([outcome])


def test_due_messages_are_counted_for_each_queue_and_the_longest_due_tells_since_when(accept, read):  # noqa: F811
    accept(), accept(), accept(type="mms"), accept(type="mms", send_at=timezone.now() + timedelta(hours=1))
    Message.objects.filter(type="sms").update(next_attempt_at=timezone.now() - timedelta(minutes=5))
    found = read()
    assert [found["queue_depth", queue] for queue in ("sms", "mms", "email")] == [2, 1, 0]
    assert 300 <= found["oldest_pending_seconds", "sms"] < 310
    assert found["oldest_pending_seconds", "email"] == 0


def test_doubts_are_counted(accept, read):  # noqa: F811
    accept()
    claim()
    Message.objects.update(lease_expires_at=timezone.now())
    Message.objects.doubt_expired_leases(limit=1)
    assert read()["messages_uncertain",] == 1


def test_a_stopped_account_shows(read):
    AccountState.objects.pause("twilio", ["sms"], code="20003", sentence="Refused.", probe_at=None)
    found = read()
    states = {key[1:]: value for key, value in found.items() if key[0] == "provider_account_state"}
    assert (states["twilio", "sms", "paused"], states["twilio", "sms", "running"]) == (1, 0)
    assert (states["twilio", "mms", "running"], states["sendgrid", "email", "running"]) == (1, 1)


@pytest.mark.parametrize(
    ("token", "shown", "status"),
    [
        ("", "", 401),
        ("", "Bearer ", 401),
        ("a-token", "", 401),
        ("a-token", "Bearer a-tok", 401),
        ("a-token", "Bearer a-token", 200),
    ],
)
def test_strangers_read_nothing(client, settings, token, shown, status):
    settings.TRUST_LOCAL_REQUESTS, settings.METRICS_TOKEN = False, token
    assert client.get("/metrics", headers={"Authorization": shown}).status_code == status


def test_moves_are_counted_once_and_those_of_tests_not_at_all(accept, read):  # noqa: F811
    first = accept()
    accept(test=True)
    read()
    end(claim()[0], "sent")
    found = read()
    assert found["messages_total", "outbound", "twilio", "pending", "sms"] == 1
    assert found["messages_total", "outbound", "twilio", "sent", "sms"] == 1
    first.refresh_from_db()
    first.conversation.delete()
    assert read()["messages_total", "outbound", "twilio", "sent", "sms"] == 1


def test_the_time_until_a_message_is_handed_over_is_counted_from_when_it_fell_due(accept, read):  # noqa: F811
    now = timezone.now()
    accept()
    Message.objects.update(created_at=now - timedelta(hours=3), send_at=now - timedelta(seconds=20))
    end(claim()[0], "sent")
    found = read()
    assert found["message_delivery_seconds_count", "sms"] == 1
    buckets = [found["message_delivery_seconds_bucket", bound, "sms"] for bound in ("10.0", "30.0", "+Inf")]
    assert buckets == [0, 1, 1]
    assert 20 <= found["message_delivery_seconds_sum", "sms"] < 30


@pytest.mark.parametrize(
    ("status", "kind"), [("failed", "rejected"), ("uncertain", "uncertain"), ("pending", "not_sent")]
)
def test_what_a_provider_did_not_accept_is_counted_by_how_it_ended(accept, read, status, kind):  # noqa: F811
    accept()
    end(claim()[0], status, error_code="30001", retry_in=5.0 if status == "pending" else None)
    assert read()["provider_errors_total", kind, "twilio"] == 1


def test_callbacks_are_counted_with_what_became_of_them(read):
    Receipt.objects.create(provider="twilio", kind="status", dedupe_key="a", payload={}, verified=True)
    Receipt.objects.create(
        provider="twilio", kind="inbound", dedupe_key="b", payload={}, verified=True, result="applied"
    )
    Receipt.objects.create(provider="sandbox", kind="status", dedupe_key="c", payload={}, verified=True)
    Receipt.objects.update(received_at=timezone.now() - timedelta(seconds=11))
    Refusal.objects.count_one("sendgrid", Refusal.Reason.FORGED)
    read()
    Receipt.objects.all().delete()  # as old ones are
    found = read()
    assert found["webhooks_total", "inbound", "twilio", "applied"] == 1
    assert found["webhooks_total", "status", "twilio", "waiting"] == 1
    assert found["webhooks_total", "refused", "sendgrid", "forged"] == 1
    assert not [key for key in found if key[0] == "webhooks_total" and "sandbox" in key]


def test_what_is_too_much_for_one_reading_is_counted_by_the_next(accept, read, monkeypatch):  # noqa: F811
    monkeypatch.setattr(tally, "EVENTS_AT_ONCE", 2)
    for _ in range(3):
        accept()
    pending = ("messages_total", "outbound", "twilio", "pending", "sms")
    assert [read()[pending] for _ in range(3)] == [2, 3, 3]


def test_requests_are_counted_by_their_route_and_strangers_make_up_no_labels(client, read):
    for number in range(3):
        client.get(f"/api/v1/messages/0190000{number}-0000-7000-8000-000000000000")
        client.generic("BREW", f"/made-up/{number}")
    found = read()
    assert found["http_requests_total", "/api/v1/messages/<message_id>/", "GET", "404"] >= 3
    assert found["http_requests_total", "unmatched", "other", "404"] >= 3
    assert found["http_request_duration_seconds_count", "unmatched", "other"] >= 3
    assert not [key for key in found if "BREW" in key or any("made-up" in str(part) for part in key)]


def test_rings_workers_and_sweeps_show(read):
    Heartbeat.beat(["queue sms"], "sms@one")
    Heartbeat.objects.create(part="queue mms", worker="mms@one", seen_at=timezone.now() - timedelta(seconds=20))
    Heartbeat.objects.create(part="sweep webhooks", worker="s", seen_at=timezone.now() - timedelta(seconds=40))
    found = read()
    assert (found["workers", "sms"], found["workers", "mms"]) == (1, 0)
    assert found["broker_queue_length", "sms"] >= 0
    assert 40 <= found["sweep_silent_seconds", "webhooks"] < 50
    assert found["sweep_silent_seconds", "conversations"] == float("inf")


def start(*workers):
    for worker in workers:
        say_started.send(sender=None, worker=worker, queues=["sms"])


def test_workers_that_start_again_are_counted_and_more_of_them_are_not(read):
    start("sms@one", "sms@two", "sms@three", "sms@four", "sms@five", "sms@six")
    assert read()["worker_restarts_total", "sms"] == 0
    say_gone.send(sender=None, worker="sms@one")
    start("sms@one", "sms@two")
    assert read()["worker_restarts_total", "sms"] == 2


def test_who_starts_again_long_after_it_did_is_no_restart(read):
    start("sms@one")
    Heartbeat.objects.update(seen_at=timezone.now() - timedelta(minutes=16))
    start("sms@one")
    assert read()["worker_restarts_total", "sms"] == 0


def test_what_may_still_happen_at_an_account_that_was_taken_off_its_route_is_exported_as_0(accept, read):  # noqa: F811
    accept(provider="twilio_former")
    found = read()
    assert found["messages_total", "outbound", "twilio_former", "pending", "sms"] == 1
    assert found["messages_total", "outbound", "twilio_former", "unresolved", "sms"] == 0


def test_who_reads_while_another_counts_waits_for_nobody(accept, read):  # noqa: F811
    accept()
    read()

    def reading():
        try:
            return read()
        finally:
            connection.close()

    with transaction.atomic():
        Counted.objects.select_for_update().get()
        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(reading).result(10)
    assert found["messages_total", "outbound", "twilio", "pending", "sms"] == 1


def test_all_web_processes_of_a_stack_are_counted_together(stack):
    def counted():
        families = text_string_to_metric_families(stack.get("/metrics").text)
        samples = [each for family in families for each in family.samples if each.name == "http_requests_total"]
        return sum(each.value for each in samples if each.labels["endpoint"] == "/live/")

    before = counted()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: stack.get("/live"), range(40)))
    assert counted() == before + 40
