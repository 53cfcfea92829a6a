"""What clients do with conversations, and how they find them."""

from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone

from conversations import delivery
from conversations.api import conversations
from conversations.models import Conversation, Media, Message
from conversations.tests.conftest import claim, in_threads

pytestmark = pytest.mark.django_db(transaction=True)

PAIR = {"participant_from": "ann@example.com", "participant_to": "bob@EXAMPLE.com"}


@pytest.fixture(autouse=True)
def on_a_developers_machine(settings):
    settings.TRUST_LOCAL_REQUESTS = True


@pytest.fixture
def call(client):
    """Ask the API; (status, parsed body or None)."""

    def calling(method, path="", body=None):
        answer = getattr(client, method)(f"/api/v1/conversations/{path}", body, content_type="application/json")
        return answer.status_code, answer.json() if answer.content else None

    return calling


def test_a_conversation_can_be_there_before_its_first_message(call):
    status, body = call("post", "", {**PAIR, "title": "Order 5", "metadata": {"order": 5}})
    assert (status, body["participant_to"], body["channel_type"], body["type"]) == (
        201,
        "bob@example.com",
        "email",
        "direct",
    )
    assert (body["title"], body["metadata"], body["message_count"], body["last_message_at"]) == (
        "Order 5",
        {"order": 5},
        0,
        None,
    )
    assert call("get", body["id"])[0] == 200


def test_the_open_direct_one_is_returned_unchanged_whoever_asks_for_it(call):
    first = call("post", "", {**PAIR, "title": "Order 5"})[1]
    other_way = {"participant_from": PAIR["participant_to"], "participant_to": PAIR["participant_from"]}
    assert call("post", "", {**other_way, "title": "Other"}) == (201, first)
    assert call("post", "", {**PAIR, "type": "thread"})[1]["id"] != first["id"]
    assert call("post", "", {**PAIR, "type": "thread"})[1]["title"] is None
    assert Conversation.objects.count() == 3


def test_of_many_who_ask_for_the_same_one_all_get_it(call):
    ids = in_threads(8, lambda number: call("post", "", PAIR)[1]["id"])
    assert len(set(ids)) == Conversation.objects.count() == 1


def test_messages_join_the_conversation_that_was_made_for_them(call, accept):
    made = call("post", "", PAIR)[1]
    message = accept(type="email", sender="ann@example.com", recipient="bob@example.com", provider="sendgrid")
    assert str(message.conversation_id) == made["id"]


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"participant_to": "nobody"}, "participant_to", "invalid_email"),
        ({"channel_type": "sms"}, "participant_from", "invalid_phone"),
        ({"channel_type": "fax"}, "channel_type", "invalid_choice"),
        ({"type": "group"}, "type", "invalid_choice"),
        ({"title": "x" * 201}, "title", "max_length"),
        ({"title": "a\nb"}, "title", "control_character"),
        ({"metadata": []}, "metadata", "not_an_object"),
        ({"colour": "red"}, "colour", "unknown_field"),
    ],
)
def test_what_is_no_conversation_is_refused(call, change, field, code):
    status, body = call("post", "", {**PAIR, **change})
    assert (status, body["errors"][0]["loc"], body["errors"][0]["code"]) == (422, ["body", field], code)


def test_a_change_is_really_saved_and_leaves_the_rest(call, accept):
    conversation = accept().conversation_id
    call("patch", str(conversation), {"title": "Order 5"})
    status, body = call("patch", str(conversation), {"status": "archived", "metadata": {"a": 1}})
    assert (status, body["title"], body["status"], body["metadata"]) == (200, "Order 5", "archived", {"a": 1})
    assert (body["message_count"], call("get", str(conversation))[1]) == (1, body)
    assert call("patch", str(conversation), {"title": None})[1]["title"] is None


def test_a_closed_one_is_not_reopened_beside_another(call):
    old = call("post", "", PAIR)[1]
    call("delete", old["id"])
    new = call("post", "", PAIR)[1]
    assert new["id"] != old["id"]
    status, body = call("patch", old["id"], {"status": "active"})
    assert (status, body["code"]) == (409, "open_conversation_exists")
    call("delete", new["id"])
    assert call("patch", old["id"], {"status": "active"})[0] == 200


def test_what_waits_in_a_closed_conversation_still_goes_out(call, accept, providers):
    message = accept()
    assert call("delete", str(message.conversation_id)) == (204, None)
    assert call("get", str(message.conversation_id))[1]["status"] == "closed"
    assert delivery.deliver_due("sms") == {"sent": 1}


def test_a_hard_delete_leaves_nothing(call, accept, providers):
    message = accept()
    name = default_storage.save("media/test", ContentFile(b"picture"))
    Media.objects.create(message=message, number=0, status="stored", content_type="image/png", file=name)
    assert call("delete", f"{message.conversation_id}?hard_delete=true") == (204, None)
    assert [each.objects.count() for each in (Conversation, Message, Media)] == [0, 0, 0]
    assert not default_storage.exists(name)
    assert call("get", str(message.conversation_id))[0] == 404
    assert (delivery.deliver_due("sms"), providers.ledger()) == ({}, [])


@pytest.mark.parametrize("status", ["sending", "uncertain"])
def test_what_may_be_on_its_way_is_not_deleted(call, accept, status):
    message = accept()
    claim()
    if status == "uncertain":
        Message.objects.update(lease_expires_at=timezone.now())
        Message.objects.doubt_expired_leases(limit=1)
    code, body = call("delete", f"{message.conversation_id}?hard_delete=true")
    assert (code, body["code"], Message.objects.count()) == (409, "conversation_busy", 1)


def test_of_a_hard_delete_and_a_worker_one_decides(call, accept, providers):
    messages = [accept("thread", recipient=f"+155500000{number:02}") for number in range(12)]
    answers = []

    def one(number):
        if number:
            answers.extend(call("delete", f"{each.conversation_id}?hard_delete=true")[0] for each in messages)
        else:
            delivery.deliver_due("sms")

    in_threads(2, one)
    left = {str(pk) for pk in Message.objects.values_list("pk", flat=True)}
    sent = {entry["message_id"] for entry in providers.ledger()}
    assert answers.count(409) == len(left)
    assert left <= sent


def test_reading_a_conversation_leaves_nothing_unread(call, accept):
    conversation = accept().conversation_id
    Conversation.objects.update(unread_count=3)
    assert call("post", f"{conversation}/read") == (204, None)
    assert call("get", str(conversation))[1]["unread_count"] == 0


@pytest.mark.parametrize(
    ("method", "path"), [("patch", ""), ("delete", ""), ("delete", "?hard_delete=true"), ("post", "/read")]
)
def test_a_conversation_that_is_not_there_is_not_found(call, method, path):
    assert call(method, f"{uuid4()}{path}", {})[0] == 404


@pytest.mark.parametrize(("method", "body"), [("delete", None), ("patch", {"title": "Later"})])
def test_one_that_is_deleted_while_it_is_asked_for_is_not_found(call, accept, monkeypatch, method, body):
    conversation = accept().conversation
    find = conversations.visible

    def and_deletes_it(*asked):
        found = find(*asked)
        Conversation.objects.all().delete()
        return found

    monkeypatch.setattr(conversations, "visible", and_deletes_it)
    status, answer = call(method, str(conversation.pk), body)
    assert (status, answer["code"]) == (404, "not_found")


@pytest.fixture
def world(accept):
    """Five conversations, in the order of their last messages."""
    mails = {"type": "email", "sender": "ann@example.com", "provider": "sendgrid"}
    accept(body="The red umbrella is 100% yours", recipient="+15550000001")
    accept(body="Nothing here", recipient="+15550000002")
    accept(**mails, recipient="umbrella@example.com", subject="Hello", body="Rain")
    accept(**mails, recipient="bob@example.com", subject="Your UMBRELLA", body="umbrella umbrella")
    titled = accept(body="x", recipient="+15550000003").conversation
    Conversation.objects.filter(pk=titled.pk).update(title="Umbrella_shop")


def found(call, query, **more):
    status, body = call("post", "search", {"query": query, **more})
    assert status == 200
    return [each["participant_to"] for each in body["conversations"]], body["total"]


def test_a_search_finds_a_text_wherever_it_stands_each_conversation_once_the_newest_first(call, world):
    everywhere = ["+15550000003", "bob@example.com", "umbrella@example.com", "+15550000001"]
    assert found(call, "umbrella") == (everywhere, 4)
    assert found(call, "umbrella", limit=2) == (everywhere[:2], 4)
    assert found(call, "0000002") == (["+15550000002"], 1)
    assert found(call, "Nobody") == ([], 0)


@pytest.mark.parametrize(
    ("query", "count"), [("100%", 1), ("%", 1), ("_", 1), ("a_s", 1), ("r_d", 0), ("\\", 0), ("'", 0)]
)
def test_signs_that_mean_something_to_sql_are_plain_characters(call, world, query, count):
    assert found(call, query)[1] == count


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": ""}, "blank"),
        ({"query": "   "}, "blank"),
        ({}, "required"),
        ({"query": "x" * 201}, "max_length"),
        ({"query": 5}, "not_text"),
        ({"query": "a\x00"}, "unstorable_character"),
        ({"query": "x", "limit": 0}, "min_value"),
        ({"query": "x", "limit": 51}, "max_value"),
        ({"query": "x", "limit": "5"}, "not_a_number"),
        ({"query": "x", "limit": True}, "not_a_number"),
        ({"query": "x", "offset": 1}, "unknown_field"),
    ],
)
def test_what_can_not_be_searched_for_is_refused(call, body, code):
    status, problem = call("post", "search", body)
    assert (status, problem["errors"][0]["code"]) == (422, code)


def test_an_index_answers_each_part_of_a_search(call, world):
    with connection.cursor() as cursor:
        # Of a nearly empty table any index may be read from end to end: left are those that answer the question.
        cursor.execute("SET enable_seqscan = off; SET enable_indexscan = off")
        plan = Conversation.objects.all().containing("umbrella").explain()
        cursor.execute("RESET enable_seqscan; RESET enable_indexscan")
    names = ["from_containing", "to_containing", "title_containing", "subject_containing", "body_containing"]
    assert [name for name in names if name not in plan] == []
