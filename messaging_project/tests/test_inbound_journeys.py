"""Whole journeys of what people write to us, sandbox → door → conversation, on the processes of `make run`."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.probe import local_http
from messaging_project.tests.test_journeys import delivered, message, send, times_in_ledger, wait_until

US = "+15551234567"


def writes(stack, type_="sms", **values):
    """Let somebody write to us; returns the ids that the provider gave."""
    wish = {"type": type_, "to": US, "body": "Hello", "wait": True, **values}
    answer = stack.post(f"{stack.sandbox_url}/inbound", wish)
    assert answer.status == 201, answer.text
    return answer.json["messages"]


def received(stack, sender):
    return stack.get(f"/api/v1/messages/?direction=inbound&from={sender.replace('+', '%2B')}").json["messages"]


def manage(stack, *arguments):
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, env=stack.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def database_away(stack):
    """Nobody gets a connection to the database of the stack while the block runs, as if its server were down."""
    url = urlsplit(stack.env["DATABASE_URL"])
    name = url.path.strip("/")
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(url._replace(path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            connection.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


def test_a_picture_that_somebody_sends_can_be_seen(stack):
    writes(stack, "mms", **{"from": "+15557000001"})
    [found] = received(stack, "+15557000001")
    [url] = found["attachments"]
    assert (found["type"], url.startswith(f"{stack.url}/api/v1/media/")) == ("mms", True)
    kind, picture = wait_until(lambda: download(url))
    assert (kind, picture[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")


def download(url, **headers):
    """The type and the bytes of a file, None while it is still being fetched."""
    try:
        with local_http.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as answer:
        if json.loads(answer.read())["code"] != "media_not_yet_fetched":
            raise
        return None


def test_an_answer_to_a_mail_joins_its_thread(stack):
    mail = {"from": "ann@example.com", "to": "bob@example.com", "type": "email", "conversation_type": "thread"}
    first, second = (message(stack, send(stack, **mail)) for _ in range(2))
    delivered(stack, [first["id"], second["id"]])
    for raw in (False, True):
        headers = {"in_reply_to": f"<{first['id']}@example.com>", "raw": raw}
        writes(stack, "email", subject="Re: Hi", **{"from": "bob@example.com", "to": "ann@example.com", **headers})
    conversation = stack.get(f"/api/v1/conversations/{first['conversation_id']}/messages?direction=inbound").json
    assert [each["parent_id"] for each in conversation["messages"]] == [first["id"]] * 2


def test_after_stop_nothing_is_sent_until_start(stack):
    number = "+15557000002"
    writes(stack, body="Stop", **{"from": number})
    refused = message(stack, send(stack, to=number))
    assert (refused["status"], refused["error_code"]) == ("failed", "recipient_opted_out")
    writes(stack, body="START", **{"from": number})
    delivered(stack, [send(stack, to=number)])
    assert times_in_ledger(stack, [refused["id"]]) == {}


def test_two_hundred_texts_at_once_are_one_conversation(stack):
    writes(stack, count=200, **{"from": "+15557000003"})
    found = stack.get("/api/v1/conversations/?participant=%2B15557000003").json
    [conversation] = found["conversations"]
    assert (conversation["message_count"], conversation["unread_count"], found["total"]) == (200, 200, 1)


@pytest.fixture
def dials(stack):
    """Turns dials of the sandbox; afterwards they are as they were."""
    turned = {}

    def turn(**settings):
        turned.update(dict.fromkeys(settings, 0))
        assert stack.post(f"{stack.sandbox_url}/settings", settings).status == 200

    yield turn
    stack.post(f"{stack.sandbox_url}/settings", turned | {"callback_delay_ms": 50})


def test_callbacks_that_come_twice_and_in_the_wrong_order_count_once(stack, dials):
    dials(duplicate_percent=100, reorder_percent=50)
    ids = [send(stack, 7100 + number) for number in range(20)]
    writes(stack, count=20, **{"from": "+15557000004"})
    delivered(stack, ids, 60)
    assert len(received(stack, "+15557000004")) == 20
    with stack.database() as connection:
        query = "SELECT count(*) FROM conversations_messageevent WHERE status = 'delivered' AND message_id = ANY(%s)"
        assert connection.execute(query, [ids]).fetchone() == (20,)


def test_what_came_while_the_database_was_away_is_there_once_after_backfill(stack):
    since = datetime.now(UTC).isoformat()
    with database_away(stack):
        messages = writes(stack, count=20, **{"from": "+15557000005"})
        assert {status for each in messages for status in each["callbacks"]} == {503}
    wait_until(lambda: stack.get("/ready").status == 200)
    assert received(stack, "+15557000005") == []
    assert "new: 20 inbound" in manage(stack, "backfill", "--since", since)
    assert len(received(stack, "+15557000005")) == 20
    assert "new: 0 inbound messages, 0 statuses" in manage(stack, "backfill", "--since", since)
    assert len(received(stack, "+15557000005")) == 20


def test_statuses_that_never_came_are_there_after_backfill(stack, dials):
    since = datetime.now(UTC).isoformat()
    dials(drop_percent=100)
    ids = [send(stack, 7200 + number) for number in range(5)]
    wait_until(lambda: {message(stack, each)["status"] for each in ids} == {"sent"})
    wait_until(lambda: ", 5 statuses" in manage(stack, "backfill", "--since", since), 60)
    delivered(stack, ids)


def test_what_callbacks_have_told_is_not_new_to_backfill(stack):
    since = datetime.now(UTC).isoformat()
    delivered(stack, [send(stack, 7300)])
    assert "new: 0 inbound messages, 0 statuses" in manage(stack, "backfill", "--since", since)


def test_somebody_writes_by_one_command(stack):
    manage(stack, "simulate_inbound", "--from", "+15557000006", "--to", US, "--body", "Hi there")
    assert [each["body"] for each in received(stack, "+15557000006")] == ["Hi there"]


def test_a_test_client_talks_with_the_sandbox_and_nobody_else_hears_of_it(stack):
    bearer = {"Authorization": f"Bearer {manage(stack, 'create_api_key', 'tester', '--test').strip()}"}
    them = "+15557000009"
    sms = {"from": US, "to": them, "type": "sms", "body": "Hello"}
    mail = {"from": "us@example.com", "to": "tester@example.com", "type": "email", "body": "Hello"}
    sent = [stack.post("/api/v1/messages/send", body, **bearer).json for body in (sms, mail)]
    delivered(stack, [each["id"] for each in sent])
    manage(stack, "simulate_inbound", "--test", "--type", "mms", "--from", them, "--to", US, "--body", "Hi")
    path = f"/api/v1/conversations/{sent[0]['conversation_id']}/messages"
    answer, question = stack.call("GET", path, headers=bearer).json["messages"]
    assert (answer["direction"], answer["provider"], question["provider"]) == ("inbound", "sandbox", "sandbox")
    assert wait_until(lambda: download(answer["attachments"][0], **bearer))[0] == "image/png"
    assert received(stack, them) == []
    assert times_in_ledger(stack, [each["id"] for each in sent]) == {}
