"""Messages over HTTP, as a backend developer meets them."""

import base64
import json
from datetime import timedelta
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError
from django.utils import timezone

from conversations import delivery, tasks
from conversations.models import Conversation, Message

pytestmark = pytest.mark.django_db

SMS = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": "Hello"}
EMAIL = {"from": "ann@example.com", "to": "bob@example.com", "type": "email", "body": "Hello"}
KEYS = [
    "id", "conversation_id", "parent_id", "provider", "provider_message_id", "direction", "status", "type", "from",
    "to", "body", "attachments", "segments", "attempts", "next_attempt_at", "send_at", "expires_at", "sent_at",
    "delivered_at", "failed_at", "error_code", "error_message", "created_at", "updated_at", "metadata",
]  # fmt: skip


@pytest.fixture(autouse=True)
def rung(monkeypatch):
    """The messages that were rung for, instead of ringing."""
    messages = []
    monkeypatch.setattr(tasks, "ring", messages.append)
    return messages


@pytest.fixture
def send(client):
    def sent(path="send", /, **values):
        body = {name: value for name, value in {**SMS, **values}.items() if value is not ...}
        return client.post(f"/api/v1/messages/{path}", json.dumps(body), content_type="application/json")

    return sent


def codes(response):
    assert response.status_code == 422, response.content
    assert response["Content-Type"] == "application/problem+json"
    return {(tuple(error["loc"]), error["code"]) for error in response.json()["errors"]}


@pytest.mark.parametrize("path", ["send", "send/", ""])
def test_a_send_answers_201_with_the_pending_message_and_rings(send, rung, path):
    response = send(path)
    message = response.json()
    assert response.status_code == 201
    assert list(message) == KEYS
    assert (message["status"], message["provider"], message["attempts"]) == ("pending", "twilio", 0)
    assert response["Location"] == f"/api/v1/messages/{message['id']}"
    assert [str(each.pk) for each in rung] == [message["id"]]


def test_the_answer_is_compact_and_what_a_get_answers(send, client):
    response = send()
    assert b'": ' not in response.content
    assert client.get(response["Location"]).content == response.content


def test_an_email_shows_subject_and_html(send):
    message = send(**EMAIL, subject="Hi", html="<p>Hello</p>").json()
    assert (message["subject"], message["html"], message["provider"]) == ("Hi", "<p>Hello</p>", "sendgrid")
    assert list(message)[10:13] == ["subject", "body", "html"]


def test_an_sms_with_attachments_is_an_mms(send):
    assert send(attachments=["https://example.com/a.png"]).json()["type"] == "mms"


def test_attachments_alone_are_enough(send):
    assert send(type="mms", body=..., attachments=["https://example.com/a.png"]).status_code == 201


def test_addresses_come_back_normalised(send):
    message = send(to="+1 (555) 987-6543").json()
    assert message["to"] == "+15559876543"


def test_national_numbers_are_read_with_the_region_of_the_settings(send, settings):
    settings.DEFAULT_PHONE_REGION = "US"
    assert send(to="(212) 555-0123").json()["to"] == "+12125550123"


def test_timestamp_is_accepted_and_ignored(send):
    assert send(timestamp="yesterday").status_code == 201


def test_a_scheduled_message_is_not_rung_for_yet(send, rung):
    send_at = (timezone.now() + timedelta(hours=1)).isoformat()
    message = send(send_at=send_at).json()
    assert message["send_at"] == message["next_attempt_at"]
    assert rung == []


def test_a_time_that_has_passed_is_rung_for_at_once(send, rung):
    send(send_at="2020-01-01T00:00:00Z")
    assert len(rung) == 1


def test_a_reply_joins_its_parent(send):
    parent = send(conversation_type="thread").json()
    reply = send(parent_id=parent["id"]).json()
    assert (reply["parent_id"], reply["conversation_id"]) == (parent["id"], parent["conversation_id"])


def test_the_request_id_is_echoed_and_kept(client):
    response = client.post(
        "/api/v1/messages/send", SMS, content_type="application/json", headers={"X-Request-ID": "r-1"}
    )
    assert response["X-Request-ID"] == "r-1"
    assert Message.objects.get().request_id == "r-1"
    assert len(client.get("/live", headers={"X-Request-ID": "no good\x01"})["X-Request-ID"]) == 32


TOO_MANY_KEYS = {str(number): number for number in range(51)}
TOO_DEEP = {"a": {"a": {"a": {"a": {"a": {}}}}}}
FAR = "2999-01-01T00:00:00Z"
NOBODY = "0b9c6f5e-0d7e-4a55-9b4c-2f9f6a0d1c11"
OVERFLOWING_CURSOR = base64.urlsafe_b64encode(f"0001-01-01T00:00:00+14:00|{NOBODY}".encode()).decode()


@pytest.mark.parametrize(
    ("values", "field", "code"),
    [
        ({"from": ...}, "from", "required"),
        ({"to": ...}, "to", "required"),
        ({"type": ...}, "type", "required"),
        ({"type": "fax"}, "type", "invalid_choice"),
        ({"type": None}, "type", "null"),
        ({"type": ["sms"]}, "type", "invalid_choice"),
        ({"type": {}}, "type", "invalid_choice"),
        ({"from": 15551234567}, "from", "not_text"),
        ({"from": "hello@example.com"}, "from", "invalid_phone"),
        ({"from": ""}, "from", "blank"),
        ({"to": "123"}, "to", "invalid_phone"),
        ({"to": "not a number"}, "to", "invalid_phone"),
        ({"to": "+1555987654\r\n3"}, "to", "control_character"),
        ({"to": "+" + "1" * 300}, "to", "max_length"),
        ({"to": None}, "to", "null"),
        ({**EMAIL, "to": "+15559876543"}, "to", "invalid_email"),
        ({**EMAIL, "from": "ann@"}, "from", "invalid_email"),
        ({**EMAIL, "subject": "a\r\nBcc: all@example.com"}, "subject", "control_character"),
        ({**EMAIL, "subject": "x" * 999}, "subject", "max_length"),
        ({"subject": "Hi"}, "subject", "only_for_email"),
        ({"html": "<p>"}, "html", "only_for_email"),
        ({"body": ...}, "body", "empty_message"),
        ({"body": ""}, "body", "empty_message"),
        ({"body": " \n\u200b"}, "body", "empty_message"),
        ({"body": 5}, "body", "not_text"),
        ({"body": True}, "body", "not_text"),
        ({"body": "x" * 1601}, "body", "too_long"),
        ({"body": "a\x00b"}, "body", "unstorable_character"),
        ({"attachments": "https://example.com/a.png"}, "attachments", "not_a_list"),
        ({"attachments": ["https://example.com/a.png"] * 11}, "attachments", "max_length"),
        ({"attachments": ["http://example.com/a.png"]}, "attachments", "invalid_url"),
        ({"attachments": ["https://"]}, "attachments", "invalid_url"),
        ({"attachments": ["https://[::1"]}, "attachments", "invalid_url"),
        ({"attachments": ["https://ann:pw@example.com/"]}, "attachments", "invalid_url"),
        ({"attachments": ["https://example.com/" + "x" * 2048]}, "attachments", "invalid_url"),
        ({"attachments": ["https://169.254.169.254/latest"]}, "attachments", "private_address"),
        ({"attachments": ["https://127.0.0.1/"]}, "attachments", "private_address"),
        ({"attachments": ["https://2130706433/"]}, "attachments", "private_address"),
        ({"attachments": ["https://0x7f.1/"]}, "attachments", "private_address"),
        ({"attachments": ["https://[::ffff:10.0.0.1]/"]}, "attachments", "private_address"),
        ({"attachments": ["https://LOCALHOST./"]}, "attachments", "private_address"),
        ({"attachments": ["https://[64:ff9b::7f00:1]/"]}, "attachments", "private_address"),
        ({"attachments": ["https://[2002:7f00:1::]/"]}, "attachments", "private_address"),
        ({"attachments": ["https://.../"]}, "attachments", "invalid_url"),
        ({"attachments": ["https://a..b/"]}, "attachments", "invalid_url"),
        ({"attachments": ["https://localhost%00.com/"]}, "attachments", "invalid_url"),
        ({"attachments": [7]}, "attachments", "not_text"),
        ({"metadata": []}, "metadata", "not_an_object"),
        ({"metadata": "x"}, "metadata", "not_an_object"),
        ({"metadata": None}, "metadata", "null"),
        ({"metadata": TOO_MANY_KEYS}, "metadata", "too_many_keys"),
        ({"metadata": TOO_DEEP}, "metadata", "too_deep"),
        ({"metadata": {"a": "x" * 4096}}, "metadata", "too_large"),
        ({"metadata": {"a": "\x00"}}, "metadata", "unstorable_character"),
        ({"metadata": {"a": ["\x00"]}}, "metadata", "unstorable_character"),
        ({"metadata": {"\x00": 1}}, "metadata", "unstorable_character"),
        ({"parent_id": "no-uuid"}, "parent_id", "invalid_uuid"),
        ({"parent_id": str(uuid4())}, "parent_id", "unknown_parent"),
        ({"conversation_type": "group"}, "conversation_type", "invalid_choice"),
        ({"send_at": "tomorrow"}, "send_at", "invalid_datetime"),
        ({"send_at": "2026-12-01T12:00:00"}, "send_at", "invalid_datetime"),
        ({"send_at": 1735689600}, "send_at", "invalid_datetime"),
        ({"send_at": "0001-01-01T00:00:00+14:00"}, "send_at", "invalid_datetime"),
        ({"send_at": FAR}, "send_at", "too_far_ahead"),
        ({"expires_at": FAR}, "expires_at", "too_far_ahead"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at", "expires_too_soon"),
        ({"on_unresolved": "forget"}, "on_unresolved", "invalid_choice"),
        ({"status": "delivered"}, "status", "unknown_field"),
        ({"id": str(uuid4())}, "id", "unknown_field"),
    ],
)
def test_a_bad_value_is_named_with_its_field_and_a_code(send, values, field, code):
    found = codes(send(**values))
    assert (("body", field), code) in {(loc[:2], code) for loc, code in found}
    assert not Message.objects.exists()


def test_a_pair_of_surrogates_is_a_character_and_a_backslash_is_one_too(send):
    message = send(body="\U0001f600", metadata={"a": "\\u0000"}).json()
    assert (message["body"], message["metadata"]) == ("\U0001f600", {"a": "\\u0000"})


def test_a_parent_between_others_or_on_another_channel_is_refused(send):
    parent = send().json()["id"]
    assert (("body", "parent_id"), "other_participants") in codes(send(**EMAIL, parent_id=parent))
    assert (("body", "parent_id"), "other_participants") in codes(send(to="+15550000001", parent_id=parent))
    assert send(**{"from": SMS["to"], "to": SMS["from"]}, parent_id=parent).status_code == 201


def test_a_word_that_is_no_choice_is_answered_with_the_choices(send):
    [error] = send(type="fax").json()["errors"]
    assert error["msg"] == "Give one of: sms, mms, email."


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("attachment", "There is no such field; did you mean attachments?"),
        ("message", "There is no such field: there are from, to, type, body, "),
        ("x" * 100_000, "There is no such field: there are from, to, type, body, "),
    ],
)
def test_a_field_that_nobody_knows_is_answered_with_those_that_there_are(send, name, said):
    [error] = send(**{name: "x"}).json()["errors"]
    assert error["msg"].startswith(said)


def test_an_answer_about_fields_that_nobody_knows_is_not_many_times_the_request(send):
    body = {f"f{number}": 0 for number in range(1000)}
    assert len(send(**body).content) < 10 * len(json.dumps(body))


def test_every_bad_field_is_named_at_once(send):
    assert {loc[1] for loc, _ in codes(send(type="fax", to=5, attachments="x"))} == {"type", "to", "attachments"}


def test_expiry_has_to_come_after_the_send(send):
    soon, later = (timezone.now() + timedelta(hours=hours) for hours in (1, 2))
    assert (("body", "expires_at"), "expires_too_soon") in codes(
        send(send_at=later.isoformat(), expires_at=soon.isoformat())
    )


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 422, "invalid"),
        ("{", 400, "parse_error"),
        ('{"a":NaN}', 400, "parse_error"),
        ('{"to":"+15550000001","to":"+15550000002"}', 400, "parse_error"),
        ("[" * 200_000 + "]" * 200_000, 413, "too_large"),
        ("[" * 100_000 + "]" * 100_000, 400, "parse_error"),
        (b"\xff\xfe", 400, "parse_error"),
        ('{"type":"\\ud800"}', 400, "parse_error"),
        ('{"\\uDFFF":1}', 400, "parse_error"),
        ('{"metadata":{"a":1e400}}', 400, "parse_error"),
        ("[]", 422, "invalid"),
        ("null", 422, "invalid"),
        ('"text"', 422, "invalid"),
        (" " * (256 * 1024) + "{}", 413, "too_large"),
    ],
)
def test_a_body_that_is_no_object_of_json_is_a_problem(client, body, status, code):
    response = client.post("/api/v1/messages/send", body, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response["Content-Type"] == "application/problem+json"


def test_a_body_without_a_length_is_411(client):
    response = client.post(
        "/api/v1/messages/send", SMS, content_type="application/json", headers={"Transfer-Encoding": "chunked"}
    )
    assert (response.status_code, response.json()["code"]) == (411, "length_required")


def test_a_foreign_host_is_a_400_problem(client):
    response = client.get("/api/v1/messages/", headers={"Host": "evil.example.com"})
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


def test_another_content_type_is_415(client):
    assert client.post("/api/v1/messages/send", "from=1", content_type="text/plain").status_code == 415


@pytest.mark.parametrize("path", ["/api/v1/messages/send", "/api/v1/messages/send/"])
def test_a_wrong_method_is_405_with_or_without_slash(client, path):
    response = client.get(path)
    assert (response.status_code, response.json()["status"]) == (405, 405)


@pytest.mark.parametrize("path", [f"/api/v1/messages/{NOBODY}", "/api/v1/messages/7", "/api/v1/nothing", "/api/"])
@pytest.mark.parametrize("debug", [True, False])
def test_what_is_not_there_is_a_404_problem(client, settings, path, debug):
    settings.DEBUG = debug
    response = client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response["Content-Type"] == "application/problem+json"


def test_a_crash_is_a_500_problem_without_a_traceback(client, monkeypatch, settings):
    settings.DEBUG = True
    client.raise_request_exception = False
    monkeypatch.setattr("conversations.api.send.represent", lambda message: 1 / 0)
    response = client.post("/api/v1/messages/send", SMS, content_type="application/json")
    assert (response.status_code, response["Content-Type"]) == (500, "application/problem+json")
    assert "ZeroDivisionError" not in response.text


def test_without_a_key_nobody_is_let_in_from_outside(client, settings):
    settings.TRUST_LOCAL_REQUESTS = False
    response = client.get("/api/v1/messages/")
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Bearer"


def test_messages_are_listed_newest_first_with_a_true_total(client, accept):
    messages = [accept(body=str(number)) for number in range(5)]
    page = client.get("/api/v1/messages/?limit=2&offset=1").json()
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 1)
    assert [each["id"] for each in page["messages"]] == [str(messages[3].pk), str(messages[2].pk)]


def test_cursors_walk_the_whole_list_once(client, accept):
    messages = [accept(body=str(number)) for number in range(7)]
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/api/v1/messages/?limit=3{cursor and f'&cursor={cursor}'}").json()
        seen += [each["id"] for each in page["messages"]]
        cursor = page["next"]
    assert seen == [str(message.pk) for message in reversed(messages)]


def test_filters_narrow_the_list(client, accept):
    parent = accept(recipient="+15550000001")
    reply = accept(recipient="+15550000001", parent=parent, type="mms")
    accept()
    after = quote(parent.created_at.isoformat())
    for query, expected in {
        f"conversation_id={parent.conversation_id}": {parent, reply},
        f"parent_id={parent.pk}": {reply},
        "status=sent": set(),
        "direction=inbound": set(),
        "type=mms": {reply},
        "to=%2B15550000001": {parent, reply},
        "to=+15550000001": {parent, reply},
        "from=+15550000001": set(),
        f"created_before={after}": set(),
        f"to=+15550000001&created_after={after}": {reply},
        "unknown=x&type=mms": {reply},
    }.items():
        page = client.get(f"/api/v1/messages/?{query}").json()
        assert {each["id"] for each in page["messages"]} == {str(message.pk) for message in expected}, query
        assert page["total"] == len(expected)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=x", "limit=-1", "limit=", "limit=%D9%A1", "offset=-1", "offset=99999999999",
        "cursor=x", "cursor=AAAA&offset=1", f"cursor={OVERFLOWING_CURSOR}",
        "status=lost", "type=fax", "direction=up", "conversation_id=7",
        "parent_id=x", "created_after=now", "created_before=2026-01-01", "from=%2A", "to=%00",
    ],
)  # fmt: skip
def test_a_bad_query_value_is_422(client, query):
    errors = codes(client.get(f"/api/v1/messages/?{query}"))
    assert {loc[0] for loc, _ in errors} == {"query"}


@pytest.mark.parametrize(
    "time",
    [
        "2020-01-01T00:00:00Z",
        "2020-01-01t00:00:00.123456789z",
        "2020-01-01T00:00:00%2B01:00",
        "2020-01-01T00:00:00+01:00",
        "2020-01-01 00:00:00+01:00",
        "2020-01-01 00:00:00-01:00",
    ],
)
def test_a_time_is_taken_in_every_spelling_of_rfc_3339(client, accept, time):
    accept()
    assert client.get(f"/api/v1/messages/?created_after={time}").json()["total"] == 1


def test_a_synchronous_send_answers_with_the_status_reached(send, rung, providers, settings):
    settings.SYNC_MESSAGE_PROCESSING = True
    other = Conversation.objects.count()
    message = send().json()
    assert (message["status"], message["attempts"], rung) == ("sent", 1, [])
    assert message["provider_message_id"]
    assert other == 0


def test_a_synchronous_send_that_is_refused_is_still_201(send, providers, settings):
    settings.SYNC_MESSAGE_PROCESSING = True
    response = send(to="+15005550001")
    assert (response.status_code, response.json()["status"]) == (201, "failed")


def test_a_synchronous_send_that_is_not_first_in_its_line_waits_and_is_rung_for(
    send, accept, rung, providers, settings
):
    accept()
    settings.SYNC_MESSAGE_PROCESSING = True
    assert send().json()["status"] == "pending"
    assert len(rung) == 1


@pytest.mark.parametrize("trouble", [OperationalError, IntegrityError, InterfaceError])
def test_a_synchronous_send_is_accepted_whatever_the_database_does_afterwards(send, monkeypatch, settings, trouble):
    def fail(*_):
        raise trouble

    settings.SYNC_MESSAGE_PROCESSING = True
    monkeypatch.setattr(delivery, "deliver_now", fail)
    response = send()
    assert (response.status_code, response.json()["status"]) == (201, "pending")


def test_a_synchronous_send_claims_its_own_message_only(send, accept, providers, settings):
    settings.SYNC_MESSAGE_PROCESSING = True
    waiting = accept(recipient="+15550000001")
    send()
    waiting.refresh_from_db()
    assert waiting.status == "pending"
