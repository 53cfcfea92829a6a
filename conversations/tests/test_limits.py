"""How many requests a client may make."""

import time
from collections import Counter

import pytest
import redis
from django.test import Client as Browser

from conversations.api import limits
from conversations.broker import redis_server
from conversations.models import ApiKey, Client
from conversations.tests.conftest import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def a_new_minute(monkeypatch):
    """Of the clock, long enough for a test; nobody has counted in it."""
    now = time.time() + 86_400
    monkeypatch.setattr(limits.time, "time", lambda: now - now % 60)
    monkeypatch.setattr(limits, "_local", limits.LocalCounts())
    redis_server._redis.flushdb()


@pytest.fixture
def without_redis(monkeypatch):
    monkeypatch.setattr(redis_server, "_redis", redis.Redis(host="127.0.0.1", port=9, socket_connect_timeout=0.5))
    monkeypatch.setattr(redis_server, "_resting_until", 0.0)


def key_for(limit):
    client = Client.objects.create(name=f"client of {limit}", requests_per_minute=limit)
    return ApiKey.objects.make(client, ["messages:read"])[1]


def ask(key, path="/api/v1/messages/"):
    return Browser().get(path, headers={"Authorization": f"Bearer {key}"})


def test_every_answer_says_what_is_left_of_the_minute():
    key = key_for(3)
    answers = [ask(key), ask(key, "/api/v1/messages/?limit=0"), ask(key, "/api/v1/messages/nothing")]
    told = [(answer["X-RateLimit-Limit"], answer["X-RateLimit-Remaining"]) for answer in answers[:2]]
    assert told == [("3", "2"), ("3", "1")]
    assert int(answers[0]["X-RateLimit-Reset"]) == int(limits.time.time()) + 60


def test_who_asks_too_often_is_told_when_to_come_again(monkeypatch):
    key = key_for(2)
    answers = [ask(key) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert (answers[3]["Retry-After"], answers[3]["X-RateLimit-Remaining"]) == ("60", "0")
    assert answers[3].json()["code"] == "too_many_requests"
    in_a_minute = limits.time.time() + 60
    monkeypatch.setattr(limits.time, "time", lambda: in_a_minute)
    assert ask(key).status_code == 200


def test_one_clients_haste_is_nobody_elses():
    hasty, other = key_for(1), key_for(2)
    assert [ask(hasty).status_code for _ in range(2)] == [200, 429]
    assert ask(other).status_code == 200


@pytest.mark.parametrize("redis_is", ["well", "away"])
def test_of_200_requests_at_once_exactly_as_many_pass_as_may(redis_is, request):
    if redis_is == "away":
        request.getfixturevalue("without_redis")
    key = key_for(100)
    # No more threads than there are database connections: who waits for one too long is answered 503.
    answers = in_threads(10, lambda number: Counter(ask(key).status_code for _ in range(20)))
    assert sum(answers, Counter()) == {200: 100, 429: 100}


def test_doors_and_probes_are_not_limited(settings):
    settings.LOCAL_REQUESTS_PER_MINUTE = 1
    for path in ("/live", "/ready"):
        assert "X-RateLimit-Limit" not in Browser().get(path)
    answers = [Browser().post("/api/v1/webhooks/twilio", b"", content_type="text/plain") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {400}


def test_a_developers_own_machine_has_a_limit_of_its_own(settings):
    settings.LOCAL_REQUESTS_PER_MINUTE = 60_000
    settings.TRUST_LOCAL_REQUESTS = True
    assert Browser().get("/api/v1/messages/")["X-RateLimit-Limit"] == "60000"
