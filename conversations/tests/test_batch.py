"""Many messages in one request."""

import json
import threading
from datetime import timedelta

import pytest
from django.test import Client as Browser
from django.utils import timezone

from conversations import delivery, tasks
from conversations.models import Conversation, IdempotencyKey, Message, OptOut
from conversations.tests.conftest import claim, in_threads

pytestmark = pytest.mark.django_db(transaction=True)

SMS = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": "Hello"}
MAIL = {"from": "ann@example.com", "to": "bob@example.com", "type": "email", "subject": "Hi", "body": "Hello"}


@pytest.fixture(autouse=True)
def on_a_developers_machine(settings):
    settings.TRUST_LOCAL_REQUESTS = True


@pytest.fixture
def rung(monkeypatch):
    rung = []
    monkeypatch.setattr(tasks, "ring", lambda message: rung.append(message.type))
    return rung


def post(messages, key="", body=None):
    """Ask for a batch; (status, its results or the problem)."""
    headers = {"Idempotency-Key": key} if key else {}
    body = {"messages": messages} if body is None else body
    answer = Browser().post("/api/v1/messages/batch", body, content_type="application/json", headers=headers)
    return answer.status_code, answer.json().get("results", answer.json())


def to(number, **more):
    return {**SMS, "to": f"+1555{number:07}", **more}


def test_each_message_has_its_result_in_its_place_and_none_sinks_another(rung):
    status, results = post([to(1), {**SMS, "to": "nobody"}, MAIL, 5, {**SMS, "colour": "red"}])
    assert (status, [each["status"] for each in results]) == (207, [201, 422, 201, 422, 422])
    assert results[1]["errors"] == [
        {
            "loc": ["body", "messages", 1, "to"],
            "code": "invalid_phone",
            "msg": "This is not a phone number. Write it as E.164, with + and the country code, such as +15551234567.",
        }
    ]
    assert [each["errors"][0]["code"] for each in (results[3], results[4])] == ["not_an_object", "unknown_field"]
    assert [str(pk) for pk in Message.objects.order_by("created_at").values_list("pk", flat=True)] == [
        results[0]["message"]["id"],
        results[2]["message"]["id"],
    ]


def test_a_message_of_a_batch_is_what_a_single_send_makes(rung):
    wish = {**MAIL, "html": "<p>Hello</p>", "metadata": {"a": [1, None]}, "attachments": ["https://example.com/a.png"]}
    wish |= {"send_at": (timezone.now() + timedelta(hours=1)).isoformat(), "on_unresolved": "resend"}
    single = Browser().post("/api/v1/messages/send", wish, content_type="application/json").json()
    [row] = post([wish])[1]
    varying = {"id", "conversation_id", "created_at", "updated_at", "expires_at"}
    assert {k: v for k, v in row["message"].items() if k not in varying} == {
        k: v for k, v in single.items() if k not in varying
    }
    assert row["message"]["conversation_id"] == single["conversation_id"]
    one, other = Message.objects.all()
    assert (one.message_id_header, other.message_id_header) == (f"<{one.pk}@example.com>", f"<{other.pk}@example.com>")


def test_messages_of_one_pair_share_a_conversation_in_their_order(rung):
    post([to(1)])
    results = post([to(1, body=f"{number}") for number in range(20)] + [to(2)])[1]
    first = Conversation.objects.get(participant_to="+15550000001")
    assert (Conversation.objects.count(), first.message_count, first.unread_count) == (2, 21, 0)
    in_order = first.messages.order_by("created_at").values_list("body", flat=True)
    assert list(in_order) == ["Hello", *map(str, range(20))]
    assert {each["message"]["conversation_id"] for each in results[:20]} == {str(first.pk)}


def test_an_archived_conversation_wakes_and_a_closed_one_stays_closed(rung):
    post([to(1), to(2)])
    Conversation.objects.filter(participant_to="+15550000001").update(status="archived")
    Conversation.objects.filter(participant_to="+15550000002").update(status="closed")
    post([to(1), to(2)])
    statuses = Conversation.objects.order_by("participant_to", "created_at").values_list("participant_to", "status")
    assert list(statuses) == [("+15550000001", "active"), ("+15550000002", "closed"), ("+15550000002", "active")]


def test_threads_and_answers_go_where_they_belong(rung):
    parent = post([to(1)])[1][0]["message"]
    results = post([to(1, conversation_type="thread"), to(1, parent_id=parent["id"]), to(2)])[1]
    thread, answer, other = (each["message"]["conversation_id"] for each in results)
    assert answer == parent["conversation_id"]
    assert len({thread, answer, other}) == 3


def test_who_opted_out_is_failed_at_once(rung):
    OptOut.objects.opt_out("sms", SMS["from"], "+15550000001", source="keyword")
    results = post([to(1), to(2)])[1]
    told = [(each["status"], each["message"]["status"], each["message"]["error_code"]) for each in results]
    assert told == [(201, "failed", "recipient_opted_out"), (201, "pending", None)]
    assert [event.status for event in Message.objects.get(status="failed").events.all()] == ["failed"]


def test_a_thousand_messages_are_one_request_and_a_few_rings(rung):
    later = (timezone.now() + timedelta(hours=1)).isoformat()
    status, results = post([to(number) for number in range(999)] + [{**MAIL, "send_at": later}])
    assert (status, {each["status"] for each in results}, Message.objects.count()) == (207, {201}, 1000)
    assert rung == ["sms"] * 4


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"messages": [SMS] * 1001}, 422, "too_many_messages"),
        ({"messages": []}, 422, "required"),
        ({"messages": SMS}, 422, "required"),
        ({}, 422, "required"),
        ([SMS], 422, "not_an_object"),
        ({"messages": [SMS], "to": "x"}, 422, "unknown_field"),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(body, status, code):
    answered, problem = post([], body=body)
    assert (answered, problem["errors"][0]["code"]) == (status, code)
    assert not Message.objects.exists()


def test_a_list_is_answered_with_what_to_put_it_into():
    assert post([], body=[SMS])[1]["errors"][0]["msg"] == 'Give a JSON object, {"messages": […]}.'


def test_a_batch_may_have_4_mb_where_a_single_send_has_256_kb(rung):
    big = [{**MAIL, "body": "x" * 300_000}] * 10
    assert post(big)[0] == 207
    answer = Browser().post("/api/v1/messages/send", big[0], content_type="application/json")
    assert answer.status_code == 413
    assert post([{**MAIL, "body": "x" * 1_000_000}] * 5)[0] == 413


def test_a_single_send_goes_before_a_batch_that_is_due_longer(accept, rung):
    post([to(number) for number in range(3)])
    single = accept()
    assert [message.pk for message in claim("sms", 1)] == [single.pk]
    assert len(claim("sms", 10)) == 3


def test_the_same_key_and_body_make_one_batch(rung):
    messages = [to(1), {**SMS, "to": "nobody"}]
    status, made = post(messages, "key-1")
    assert status == 207
    Message.objects.update(status="delivered", next_attempt_at=None)
    status, again = post(messages, "key-1")
    assert (status, again[0]["message"]["id"], again[0]["message"]["status"]) == (
        200,
        made[0]["message"]["id"],
        "delivered",
    )
    assert again[1] == made[1]
    assert (Message.objects.count(), IdempotencyKey.objects.count()) == (1, 1)


def test_what_a_key_keeps_of_a_bad_row_may_have_been_anything(rung):
    odd = {**SMS, "a\0b": 1, "type": "\0"}
    assert [row["status"] for row in post([odd], "k-1")[1]] == [422]
    assert post([odd], "k-1") == (200, post([odd], "k-2")[1])


def test_a_key_is_of_one_body_be_it_a_batch_or_a_single_send(rung):
    post([to(1)], "key-1")
    assert post([to(2)], "key-1")[1]["code"] == "idempotency_key_reused"
    single = Browser().post(
        "/api/v1/messages/send", SMS, content_type="application/json", headers={"Idempotency-Key": "key-1"}
    )
    assert single.json()["code"] == "idempotency_key_reused"


def test_of_ten_at_once_with_one_key_one_makes_the_batch(rung):
    answers = in_threads(10, lambda number: post([to(each) for each in range(20)], "key-1")[0])
    assert sorted(answers) == [200] * 9 + [207]
    assert Message.objects.count() == 20


def test_batches_that_cross_each_other_do_not_block_each_other(rung):
    gate = threading.Barrier(4)

    def one(number):
        numbers = range(50) if number % 2 else reversed(range(50))
        gate.wait()
        return post([to(each, conversation_type="thread" if each == 25 else "direct") for each in numbers])[0]

    assert in_threads(4, one) == [207] * 4
    counts = Conversation.objects.filter(type="direct").values_list("message_count", flat=True)
    assert (len(counts), set(counts)) == (49, {4})


def test_where_there_are_no_workers_a_batch_is_sent_in_the_request(settings, providers):
    settings.SYNC_MESSAGE_PROCESSING = True
    results = post([to(1), to(2)])[1]
    assert [each["message"]["status"] for each in results] == ["sent", "sent"]


def test_a_worker_carries_a_batch(rung, providers):
    post([to(number) for number in range(30)])
    assert delivery.deliver_due("sms") == {"sent": 30}
    assert len({entry["message_id"] for entry in providers.ledger()}) == 30


def test_odd_texts_arrive_as_they_were_written(rung):
    odd = 'Ünï "quoted" \\ back\\u0041 %s %(x)s {x} 😀 \u2028'
    [row] = post([to(1, body=odd, metadata={"k": odd})])[1]
    assert json.dumps(row["message"]["body"]) == json.dumps(odd)
    assert Message.objects.get().metadata == {"k": odd}
