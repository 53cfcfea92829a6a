"""The doorbell on a real broker, and the sweep."""

import json
import threading
import time
from datetime import timedelta

import pytest
import redis
from celery.exceptions import Retry
from celery.signals import worker_shutting_down
from django.conf import settings as django_settings
from django.db import transaction
from django.utils import timezone

from conversations import tasks
from conversations.models import Message
from conversations.tests.conftest import offer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def broker():
    """The broker, with empty queues before and after."""
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    client.delete(*tasks.CHANNELS)
    yield client
    client.delete(*tasks.CHANNELS)
    client.close()


@pytest.fixture
def unreachable_broker(monkeypatch):
    """The way to a Redis at a port where nobody listens."""
    monkeypatch.setattr(tasks.broker, "_redis", redis.Redis(host="127.0.0.1", port=9, socket_connect_timeout=0.5))
    monkeypatch.setattr(tasks.broker, "_resting_until", 0.0)


def rings(broker, queue):
    return [json.loads(ring)["headers"] for ring in broker.lrange(queue, 0, -1)]


def overdue(message, seconds=10):
    Message.objects.filter(pk=message.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=seconds))


@pytest.mark.parametrize("channel", ["sms", "mms", "email"])
def test_each_type_rings_on_its_own_queue_with_the_id_and_nothing_else(accept, broker, channel):
    message = accept(type=channel)
    tasks.ring(message)
    [ring] = rings(broker, channel)
    assert (ring["task"], ring["argsrepr"]) == (f"conversations.send_{channel}", f"('{message.pk}',)")


def test_rings_are_left_out_once_enough_lie_there(accept, broker):
    message = accept()
    for _ in range(tasks.RINGS_ENOUGH + 5):
        tasks.ring(message)
    assert broker.llen("sms") == tasks.RINGS_ENOUGH


def test_a_ring_without_a_broker_is_only_logged_and_redis_is_left_alone_for_a_while(
    accept, broker, unreachable_broker, monkeypatch, caplog
):
    tasks.ring(accept())
    tasks.ring(accept())
    assert caplog.text.count("the broker is away") == 1
    monkeypatch.setattr(tasks.broker, "_redis", broker)
    assert tasks.broker.waiting("sms") == float("inf")
    tasks.broker._resting_until = time.monotonic()
    assert tasks.broker.waiting("sms") == 0


def test_the_sweep_runs_through_while_the_broker_is_away(accept, broker, unreachable_broker):
    overdue(accept())
    assert "rang nobody" in tasks.sweep()


def test_the_sweep_rings_for_a_message_whose_ring_was_lost(accept, broker):
    message = accept()
    overdue(message)
    assert "rang sms" in tasks.sweep()
    assert rings(broker, "sms")[0]["argsrepr"] == f"('{message.pk}',)"


def test_the_sweep_does_not_ring_where_a_ring_lies_nor_before_anybody_could_answer(accept, broker):
    message = accept()
    assert "rang nobody" in tasks.sweep()
    overdue(message)
    tasks.sweep()
    tasks.sweep()
    assert broker.llen("sms") == 1


def test_the_sweep_doubts_lost_workers_and_ends_what_is_past_its_time(accept, broker):
    held, late = accept(), accept(recipient="+15550000001")
    Message.objects.claim_one(held, offer(lease=timedelta(0)))
    Message.objects.filter(pk=late.pk).update(expires_at=timezone.now())
    assert tasks.sweep() == "uncertain 1, expired 1, rang nobody"


def test_a_ring_is_answered_with_one_line(accept, broker, providers):
    message = accept()
    accept(recipient="+15550000001")
    assert tasks.send_sms(str(message.pk)) == "sent 2"
    assert tasks.send_sms(str(message.pk)) == "nothing due"


def test_the_rung_message_is_retried_by_celery_when_its_wait_is_short(accept, broker, providers, settings):
    settings.RETRY_BASE_SECONDS = 60
    message = accept()
    providers.fault("twilio", "429")
    with pytest.raises(Retry) as retry:
        tasks.send_sms.apply(args=(str(message.pk),), throw=True).get()
    assert retry.value.when <= tasks.LONGEST_COUNTDOWN_SECONDS
    assert Message.objects.get().status == "pending"


def test_a_long_wait_stays_in_the_row(accept, broker):
    message = accept()
    Message.objects.update(attempts=1, next_attempt_at=timezone.now() + timedelta(seconds=301))
    assert tasks.seconds_until_retry(str(message.pk)) is None


@pytest.mark.parametrize("waits_for", ["the one in flight", "the sweep"])
def test_what_is_due_and_can_not_be_claimed_is_not_rung_for_at_once(accept, broker, providers, waits_for):
    in_flight, due = accept(), accept()
    Message.objects.filter(pk=due.pk).update(attempts=1)
    if waits_for == "the sweep":
        Message.objects.update(expires_at=timezone.now())
    else:
        Message.objects.claim_one(in_flight, offer())
    assert tasks.send_sms(str(due.pk)) == "nothing due"


def test_a_ring_waits_for_the_commit(accept, broker):
    with transaction.atomic():
        tasks.ring(accept())
        assert broker.llen("sms") == 0
    assert broker.llen("sms") == 1


def test_a_worker_that_is_told_to_go_stops_claiming(monkeypatch):
    monkeypatch.setattr(tasks.delivery, "STOPPING", threading.Event())
    worker_shutting_down.send(sender="worker@one")
    assert tasks.delivery.STOPPING.is_set()


def test_who_stops_for_the_time_rings_for_what_is_left(accept, broker, providers, settings):
    settings.CLAIM_SECONDS = 0
    message = accept()
    assert tasks.send_sms(str(message.pk)) == "nothing due"
    assert broker.llen("sms") == 1


def test_who_is_behind_a_message_in_flight_does_not_ring(accept, broker, providers):
    in_flight, behind = accept(), accept()
    Message.objects.claim_one(in_flight, offer())
    assert tasks.send_sms(str(behind.pk)) == "nothing due"
    assert broker.llen("sms") == 0
