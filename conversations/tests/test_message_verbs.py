"""What clients do with messages that exist."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from conversations import delivery, tasks
from conversations.models import Message, OptOut
from conversations.tests.conftest import claim, in_threads
from providers.base import DeliveryReport
from providers.models import AccountState

pytestmark = pytest.mark.django_db(transaction=True)

NOW_AND_LATER = ["delivered", "undelivered", "sent", "failed", "expired", "canceled", "unresolved", "uncertain"]


@pytest.fixture(autouse=True)
def on_a_developers_machine(settings):
    settings.TRUST_LOCAL_REQUESTS = True


@pytest.fixture
def call(client):
    """Ask the API; (status, parsed body)."""

    def calling(method, path, body=None):
        answer = getattr(client, method)(f"/api/v1/messages/{path}", body, content_type="application/json")
        return answer.status_code, answer.json()

    return calling


@pytest.fixture
def rung(monkeypatch):
    rung = []
    monkeypatch.setattr(tasks, "ring", lambda message: rung.append(message.pk))
    return rung


def stands(message, status, **values):
    """Let a message be in a state, however it came there."""
    now = timezone.now()
    times = {"settle_at": now, "settle_by": now} if status == "uncertain" else {}
    lease = now if status == "sending" else None
    next_attempt_at = now if status == "pending" else None
    values = {"status": status, "next_attempt_at": next_attempt_at, "lease_expires_at": lease, **times, **values}
    Message.objects.filter(pk=message.pk).update(**values)


def last_event(message):
    event = message.events.last()
    return event.status, event.code, event.detail


def test_a_message_that_waits_is_canceled_and_never_sent(accept, call, providers):
    message = accept(send_at=timezone.now() + timedelta(hours=1))
    status, body = call("post", f"{message.pk}/cancel")
    assert (status, body["status"], body["next_attempt_at"]) == (200, "canceled", None)
    assert last_event(message) == ("canceled", "canceled", "Canceled by local development.")
    assert delivery.deliver_due("sms") == {}
    assert call("post", f"{message.pk}/cancel")[0] == 200
    assert message.events.count() == 2


@pytest.mark.parametrize("status", ["sending", *(set(NOW_AND_LATER) - {"canceled"})])
def test_what_has_left_can_not_be_canceled(accept, call, status):
    message = accept()
    stands(message, status)
    code, body = call("post", f"{message.pk}/cancel")
    assert (code, body["code"], status in body["detail"]) == (409, "not_pending", True)


def test_of_cancel_and_a_worker_one_decides(accept, call, providers):
    messages = [accept("thread", recipient=f"+155500000{number:02}") for number in range(12)]
    answers = []

    def one(number):
        if number:
            answers.extend(call("post", f"{message.pk}/cancel")[0] for message in messages)
        else:
            delivery.deliver_due("sms")

    in_threads(2, one)
    sent = {entry["message_id"] for entry in providers.ledger()}
    canceled = {str(pk) for pk in Message.objects.filter(status="canceled").values_list("pk", flat=True)}
    assert (sent & canceled, len(sent) + len(canceled)) == (set(), 12)
    assert sorted(answers) == sorted([200] * len(canceled) + [409] * len(sent))


@pytest.mark.parametrize("status", ["failed", "undelivered", "unresolved", "expired"])
def test_what_did_not_arrive_is_queued_again_with_a_new_life(accept, call, rung, status):
    message = accept()
    past = timezone.now() - timedelta(days=2)
    stands(message, status, attempts=2, expires_at=past, provider_message_id="SM1", error_code="30003", failed_at=past)
    code, body = call("post", f"{message.pk}/retry")
    assert (code, body["status"], body["attempts"], body["error_code"]) == (200, "pending", 2, None)
    assert (body["provider_message_id"], body["failed_at"]) == (None, None)
    message.refresh_from_db()
    assert message.expires_at - timezone.now() > timedelta(hours=23)
    assert rung == [message.pk]
    assert last_event(message) == ("pending", "", "Queued again by local development.")


def test_what_nobody_could_settle_says_that_it_may_arrive_twice_now(accept, call, rung):
    message = accept()
    stands(message, "unresolved")
    call("post", f"{message.pk}/retry")
    assert [event.code for event in message.events.all()] == ["", "possible_duplicate", ""]


@pytest.mark.parametrize("status", ["pending", "sending", "sent", "delivered", "canceled", "uncertain"])
def test_what_is_on_its_way_or_arrived_is_not_sent_again(accept, call, status):
    message = accept()
    stands(message, status)
    code, body = call("post", f"{message.pk}/retry")
    assert (code, body["code"]) == (400, "not_retryable")


def test_a_retry_is_one_message_more_at_the_provider_however_often_it_is_asked_for(accept, call, providers):
    message = accept()
    stands(message, "failed", attempts=1)
    answers = in_threads(4, lambda number: call("post", f"{message.pk}/retry")[0])
    assert sorted(answers) == [200, 400, 400, 400]
    delivery.deliver_due("sms")
    assert [(entry["attempt"]) for entry in providers.ledger()] == [2]


def test_a_word_on_the_attempt_before_the_retry_may_only_raise_the_message(accept, call, rung):
    message = accept()
    stands(message, "undelivered", attempts=1, provider_message_id="SM1")
    call("post", f"{message.pk}/retry")
    claim()
    for status, then in [("undelivered", "sending"), ("delivered", "delivered")]:
        word = DeliveryReport(
            provider_message_id="SM1", status=status, provider_status=status, message_id=message.pk, attempt=1
        )
        assert Message.objects.apply_report("twilio", word)
        message.refresh_from_db()
        assert message.status == then


def test_who_opted_out_gets_nothing_by_a_retry_either(accept, call, providers):
    message = accept()
    stands(message, "failed")
    OptOut.objects.opt_out("sms", message.sender, message.recipient, source="keyword")
    call("post", f"{message.pk}/retry")
    delivery.deliver_due("sms")
    message.refresh_from_db()
    assert (message.status, message.error_code) == ("failed", "recipient_opted_out")


def test_a_message_that_waits_can_be_changed(accept, call, rung):
    message = accept(send_at=timezone.now() + timedelta(hours=1))
    later = (timezone.now() + timedelta(days=3)).isoformat()
    code, body = call("patch", str(message.pk), {"body": "Changed", "send_at": later})
    assert (code, body["body"], body["next_attempt_at"], rung) == (200, "Changed", body["send_at"], [])
    assert body["expires_at"] > body["send_at"]
    assert last_event(message) == ("pending", "changed", "Changed by local development: body, send_at.")
    code, body = call("patch", str(message.pk), {"send_at": None})
    assert (code, body["send_at"], rung) == (200, None, [message.pk])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"body": ""}, "empty_message"),
        ({"body": "x" * 1601}, "too_long"),
        ({"body": 5}, "not_text"),
        ({"send_at": "2099-01-01T00:00:00Z"}, "too_far_ahead"),
        ({"to": "+15550000001"}, "unknown_field"),
        ([], "not_an_object"),
    ],
)
def test_a_change_is_held_to_what_a_send_is(accept, call, change, code):
    status, body = call("patch", str(accept().pk), change)
    assert (status, body["errors"][0]["code"]) == (422, code)


@pytest.mark.parametrize("status", ["sending", *NOW_AND_LATER])
def test_what_a_worker_has_or_had_can_not_be_changed(accept, call, status):
    message = accept()
    stands(message, status)
    assert call("patch", str(message.pk), {"body": "x"})[0] == 409


@pytest.mark.parametrize("status", NOW_AND_LATER)
def test_somebody_may_say_what_became_of_a_message(accept, call, status):
    message = accept()
    code, body = call("patch", f"{message.pk}/status", {"status": status, "metadata": {"by": "phone"}})
    assert (code, body["status"], body["metadata"]) == (200, status, {"by": "phone"})
    assert last_event(message) == (status, "set_by_hand", f"Set to {status} by local development.")
    assert call("patch", f"{message.pk}/status", {"status": status})[0] == 200


@pytest.mark.parametrize("status", ["pending", "sending", "received", "lost", None, 5])
def test_nobody_says_what_only_we_or_the_provider_know(accept, call, status):
    assert call("patch", f"{accept().pk}/status", {"status": status})[0] == 422


def test_while_a_worker_has_a_message_nobody_says_anything(accept, call):
    message = accept()
    claim()
    assert call("patch", f"{message.pk}/status", {"status": "failed"})[1]["code"] == "not_pending"


def test_the_timeline_tells_what_was_known_when_and_on_whose_word(accept, call, providers):
    message = accept()
    delivery.deliver_due("sms")
    _, body = call("get", f"{message.pk}/events")
    assert [(each["status"], each["evidence"], each["attempt"]) for each in body["events"]] == [
        ("pending", "observed", 0),
        ("sent", "observed", 1),
    ]
    assert set(body["events"][0]) == {"at", "status", "evidence", "attempt", "code", "detail"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("patch", ""), ("patch", "/status"), ("post", "/retry"), ("post", "/cancel"), ("get", "/events")],
)
def test_a_message_that_is_not_there_is_not_found(call, method, path):
    body = {"status": "failed"} if path == "/status" else {}
    assert call(method, f"{uuid4()}{path}", body)[0] == 404


def test_what_came_in_is_nobodys_to_cancel_or_send_again(accept, call):
    message = accept()
    Message.objects.update(direction="inbound", status="failed", next_attempt_at=None)
    assert [call("post", f"{message.pk}/{verb}")[0] for verb in ("cancel", "retry")] == [409, 400]


SMS = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": "Tschüß 😀"}


def test_a_preview_tells_what_a_send_would_meet_and_writes_nothing(call):
    code, body = call("post", "preview", SMS)
    assert code == 200
    assert body == {
        "type": "sms",
        "encoding": "UCS-2",
        "segments": 1,
        "characters": 8,
        "ucs2_characters": ["😀"],
        "provider": "twilio",
        "reason": "twilio is the first account for sms.",
        "opted_out": False,
        "send_at": None,
    }
    assert not Message.objects.exists()


def test_a_preview_of_anything_but_a_text_counts_no_segments(call):
    body = call("post", "preview", {**SMS, "attachments": ["https://example.com/a.png"]})[1]
    assert (body["type"], body["encoding"], body["segments"]) == ("mms", None, None)


def test_a_preview_knows_of_opt_outs_and_stopped_accounts(call):
    OptOut.objects.opt_out("sms", SMS["from"], SMS["to"], source="keyword")
    AccountState.objects.pause("twilio", ["sms"], code="20003", sentence="Refused.", probe_at=None)
    body = call("post", "preview", SMS)[1]
    assert (body["opted_out"], body["provider"]) == (True, "twilio")
    assert body["reason"].startswith("twilio is paused: Refused. All accounts for sms are stopped")


def test_a_preview_refuses_what_a_send_refuses(call):
    assert call("post", "preview", {**SMS, "to": "nobody"})[1]["errors"][0]["code"] == "invalid_phone"


@pytest.mark.parametrize("later", ["sent", "undelivered"])
def test_what_is_said_late_of_an_attempt_that_failed_does_not_stop_the_next_one(accept, later):
    message = accept()
    claim()

    def report(status):
        told = DeliveryReport(provider_message_id="SM1", status=status, provider_status=status, attempt=1)
        Message.objects.apply_report("twilio", replace(told, message_id=message.pk))
        return Message.objects.get(pk=message.pk)

    report("undelivered")
    Message.objects.retry(message.pk, "a person")
    again = report(later)
    assert (again.status, again.provider_message_id, again.earlier_provider_ids) == ("pending", "", ["SM1"])
    assert [each.attempts for each in claim()] == [2]
    assert report("delivered").status == "delivered"


def test_who_is_sent_again_although_it_may_have_arrived_is_stopped_by_the_word_that_it_did(accept):
    message = accept()
    claim()
    Message.objects.filter(pk=message.pk).update(status="unresolved", lease_expires_at=None)
    Message.objects.retry(message.pk, "a person")
    told = DeliveryReport(message_id=message.pk, provider_message_id="SM1", status="sent", provider_status="sent")
    Message.objects.apply_report("twilio", replace(told, attempt=1))
    assert (Message.objects.get(pk=message.pk).status, claim()) == ("sent", [])
