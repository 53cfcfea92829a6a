"""One key and one body make one message."""

from collections import Counter
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from conversations.models import IdempotencyKey, Message
from conversations.tasks import sweep
from conversations.tests.conftest import in_threads

pytestmark = pytest.mark.django_db

BODY = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": "Hi", "metadata": {"a": 1, "b": [2]}}


def send(client, key="k1", body=None, **more):
    body = {**BODY, **more} if body is None else body
    headers = {"Idempotency-Key": key}
    return client.post("/api/v1/messages/send", body, content_type="application/json", headers=headers)


def test_the_same_key_and_body_answer_the_message_that_was_made(client):
    first = send(client)
    Message.objects.update(status="delivered", next_attempt_at=None)
    again = send(client)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json()["id"], again.json()["status"]) == (first.json()["id"], "delivered")
    assert (again["Idempotent-Replayed"], "Idempotent-Replayed" in first) == ("true", False)
    assert Message.objects.count() == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"to":"+15559876543","from":"+15551234567","metadata":{"b":[2.0],"a":1},  "type":"sms","body":"Hi"}',
        '{"from":"+15551234567","to":"+15559876543","type":"sms","body":"\\u0048i","metadata":{"a":1,"b":[2]}}',
    ],
)
def test_a_body_is_the_same_if_it_is_equal_as_parsed_json(client, text):
    send(client)
    assert send(client, body=text).status_code == 200


@pytest.mark.parametrize("other", [{"to": "+15550000001"}, {"metadata": {"a": True, "b": [2]}}, {"subject": ""}])
def test_another_body_under_the_same_key_is_refused(client, other):
    send(client)
    answer = send(client, **other)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert Message.objects.count() == 1


def test_another_key_makes_another_message(client):
    assert send(client).json()["id"] != send(client, "k2").json()["id"]


def test_what_was_refused_is_not_remembered(client):
    assert send(client, to="nobody").status_code == 422
    assert send(client).status_code == 201


@pytest.mark.parametrize("depth", [100, 700, 5000])
def test_a_used_key_with_a_body_without_end_is_refused_and_no_crash(client, depth):
    send(client)
    # How deep is too deep to be read is Python's to say; what can be read is another body.
    assert send(client, body='{"metadata":' + "[" * depth + "]" * depth + "}").status_code in (400, 422)


def test_a_body_that_would_no_longer_be_taken_is_replayed_all_the_same(client):
    soon = timezone.now() + timedelta(seconds=60)
    first = send(client, expires_at=soon.isoformat())
    Message.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    assert send(client, expires_at=soon.isoformat()).json()["id"] == first.json()["id"]


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "schlüssel"])
def test_a_key_that_is_none_is_422(client, key):
    answer = send(client, key)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["header", "Idempotency-Key"])


@pytest.mark.django_db(transaction=True)
def test_thirty_at_once_make_one_message():
    answers = in_threads(30, lambda _: send(Client()))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 29}
    assert len({answer.json()["id"] for answer in answers}) == Message.objects.count() == 1
    assert Message.objects.get().conversation.message_count == 1


@pytest.mark.django_db(transaction=True)
def test_a_crash_before_the_commit_leaves_the_key_free(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(type(Message.objects), "accept", lambda *_, **__: 1 / 0)
        assert send(client).status_code == 500
    assert send(client).status_code == 201


def test_a_key_is_remembered_for_a_week(client):
    send(client)
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=7) + timedelta(minutes=1))
    sweep()
    assert send(client).status_code == 200
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=7, minutes=1))
    sweep()
    assert send(client).status_code == 201


def test_the_key_of_a_deleted_message_makes_no_other(client):
    send(client)
    Message.objects.all().delete()
    answer = send(client)
    assert (answer.status_code, answer.json()["code"]) == (410, "message_gone")
