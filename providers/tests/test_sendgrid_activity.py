"""What SendGrid's Email Activity feed proves, and that it is asked no more than it takes."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import requests

from providers import sendgrid_activity
from providers.errors import Misconfigured, NotSent, ProviderError, Rejected, Uncertain
from providers.tests.conftest import running_sandbox
from providers.tests.odd_server import answering, drip, hang_up, http, silence, truncated
from providers.tests.test_adapters import SECRET_BODY, SENDGRID, send, sendgrid

MESSAGE = SENDGRID.message
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
ROW = {
    "from_email": "us@example.com",
    "msg_id": "abc.filterdrecv-7745b6f999-19-603139AC-6F.0",
    "subject": "Hello",
    "to_email": "you@example.com",
    "status": "processed",
    "opens_count": 0,
    "clicks_count": 0,
    "last_event_time": "2026-01-02T03:04:05Z",
}


def look(account, *messages, since=SINCE):
    """What `find` returned or raised for each, one after the other on one account."""

    async def one_by_one():
        outcomes = []
        try:
            for message in messages or (MESSAGE,):
                try:
                    outcomes.append(await account.find(message, since))
                except ProviderError as error:
                    outcomes.append(error)
        finally:
            await account.close()
        return outcomes

    outcomes = asyncio.run(one_by_one())
    return outcomes if len(messages) > 1 else outcomes[0]


def feed(url, **more):
    return sendgrid(url, email_activity=True, **more)


def found_in(*rows, since=SINCE):
    with answering(http(200, json.dumps({"messages": rows}))) as server:
        return look(feed(server.url), since=since)


def sent_to(sandbox, recipient="you@example.com"):
    """A message that the sandbox accepted just now."""
    message = replace(MESSAGE, message_id=uuid4(), recipient=recipient)
    return message, send(sendgrid(sandbox.url, sandbox.api_key), message).provider_message_id


def asked_until(sandbox, message, wanted):
    """The report with that status, once the feed shows it."""
    sandbox.dial(activity_per_minute=1_000)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        [found] = look(feed(sandbox.url, key=sandbox.api_key), message)
        if found.report.status == wanted:
            return found.report
    raise AssertionError(f"never {wanted}")


# --- Against the sandbox --------------------------------------------------------------------------------------------


def test_a_mail_is_found_under_our_id_with_the_id_that_its_answer_named(sandbox):
    sent_to(sandbox)
    message, provider_message_id = sent_to(sandbox)
    [found] = look(feed(sandbox.url, key=sandbox.api_key), message)
    assert (found.provider_message_id, found.body) == (provider_message_id, SECRET_BODY)
    assert found.report.message_id == message.message_id


def test_a_mail_whose_answer_was_lost_is_found(sandbox):
    sandbox.fault("sendgrid", "reset_accepted")
    assert type(send(sendgrid(sandbox.url, sandbox.api_key), MESSAGE)) is Uncertain
    [found] = look(feed(sandbox.url, key=sandbox.api_key))
    assert found.provider_message_id == sandbox.ledger()[0]["provider_message_id"]


@pytest.mark.parametrize(
    ("recipient", "status"),
    [
        ("you@example.com", "delivered"),
        ("bounce@example.com", "undelivered"),
        ("dropped@example.com", "undelivered"),
    ],
)
def test_the_feed_tells_what_became_of_a_mail(sandbox, recipient, status):
    message, _ = sent_to(sandbox, recipient)
    report = asked_until(sandbox, message, status)
    assert (report.error_code, bool(report.error_message)) == (
        ("not_delivered", True) if status == "undelivered" else ("", False)
    )


def test_a_mail_without_an_event_yet_was_sent():
    with running_sandbox(callback_delay_ms=60_000) as sandbox:
        message, _ = sent_to(sandbox)
        [found] = look(feed(sandbox.url, key=sandbox.api_key), message)
    assert (found.report.status, found.report.provider_status) == ("sent", "processed")


def test_what_the_feed_does_not_show_may_still_come(sandbox):
    sandbox.dial(activity_lag_ms=60_000)
    message, _ = sent_to(sandbox)
    assert look(feed(sandbox.url, key=sandbox.api_key), message) is None
    sandbox.dial(activity_lag_ms=0)
    assert look(feed(sandbox.url, key=sandbox.api_key), message)


def test_without_the_add_on_nobody_is_asked():
    with answering(http(200, json.dumps({"messages": [ROW]}))) as server:
        assert look(sendgrid(server.url)) is None
        assert server.requests == []


# --- The question ---------------------------------------------------------------------------------------------------


def test_the_question_names_our_id_as_sendgrids_query_language_wants_it():
    with answering(http(200, '{"messages": []}')) as server:
        look(feed(server.url))
        [(head, body)] = server.requests
    line, *headers = head.decode().split("\r\n")
    method, target, _ = line.split()
    query = parse_qs(urlsplit(target).query)
    assert (method, urlsplit(target).path, body) == ("GET", "/v3/messages", b"")
    assert query["query"] == [f"(unique_args['message_id']=\"{MESSAGE.message_id}\")"]
    assert "Authorization: Bearer SG.key" in headers
    assert SECRET_BODY not in head.decode()


def test_a_look_and_a_mail_share_their_connection():
    async def both(account):
        await account.find(MESSAGE, SINCE)
        await account.send(MESSAGE)
        await account.close()

    def answer(connection):
        connection.sendall(http(202, '{"messages": []}', X_Message_Id="abc"))

    with answering(answer) as server:
        asyncio.run(both(feed(server.url)))
        assert (server.connections, len(server.requests)) == (1, 2)


# --- The answer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status", "error_code"),
    [
        ("processed", "sent", ""),
        ("processing", "sent", ""),
        ("delivered", "delivered", ""),
        ("not_delivered", "undelivered", "not_delivered"),
        ("brand_new", None, ""),
    ],
)
def test_each_of_sendgrids_words_has_one_of_ours(word, status, error_code):
    [found] = found_in(ROW | {"status": word})
    report = found.report
    assert (report.status, report.provider_status, report.error_code) == (status, word, error_code)
    assert (report.message_id, report.attempt) == (MESSAGE.message_id, None)


def test_the_time_of_the_last_event_is_all_there_is():
    [found] = found_in(ROW)
    assert found.created_at == found.report.occurred_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    [naive] = found_in(ROW | {"last_event_time": "2026-01-02T03:04:05"})
    assert naive.created_at == found.created_at


def test_two_attempts_that_were_sent_come_oldest_first():
    later = ROW | {"msg_id": "def.filter", "last_event_time": "2026-01-03T00:00:00Z"}
    assert [each.provider_message_id for each in found_in(later, ROW)] == ["abc", "def"]


@pytest.mark.parametrize(
    "change",
    [
        {"to_email": "somebody@example.com"},
        {"from_email": "somebody@example.com"},
        {"last_event_time": "2025-12-31T23:59:59Z"},
        {"msg_id": ""},
        {"msg_id": ".filter"},
        {"msg_id": "a b.filter"},
        {"msg_id": 5},
        {"msg_id": None},
        {"to_email": ["you@example.com"]},
        {"last_event_time": "yesterday"},
        {"last_event_time": 1767225600},
        {"last_event_time": None},
        {"last_event_time": "0001-01-01T00:00:00+14:00"},
    ],
    ids=str,
)
def test_a_row_of_another_mail_or_of_none_proves_nothing(change):
    assert found_in(ROW | change) is None
    assert len(found_in(ROW | change, ROW)) == 1


def test_a_row_that_is_no_object_is_passed_over():
    assert len(found_in(None, 1, "abc", [ROW], ROW)) == 1


def test_addresses_compare_without_their_case():
    assert len(found_in(ROW | {"to_email": "You@Example.COM"})) == 1


def test_a_status_that_is_no_text_leaves_the_mail_found():
    [found] = found_in(ROW | {"status": {"a": 1}})
    assert (found.report.status, found.report.provider_status) == (None, "")


UNREADABLE = {
    "half an object": http(200, '{"messages": ['),
    "HTML": http(200, "<html>It works!</html>", "text/html"),
    "an array": http(200, json.dumps([ROW])),
    "no messages": http(200, "{}"),
    "messages that are none": http(200, '{"messages": {"0": {}}}'),
    "a deep array": http(200, '{"messages":' + "[" * 100_000),
    "204": http(204),
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_answer_that_cannot_be_read_is_no_answer(answer):
    with answering(answer) as server:
        assert type(look(feed(server.url))) is Uncertain
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "outcome", "code"),
    [
        (http(500, '{"errors": [{"message": "internal server error"}]}'), Uncertain, "500"),
        (http(503, "busy", "text/plain"), Uncertain, "503"),
        (http(307, "", Location="/elsewhere"), Uncertain, "307"),
        (http(400, json.dumps({"errors": [{"message": "invalid syntax: 'x' is not a known field"}]})), Rejected, "400"),
        (http(429, '{"errors": [{"message": "too many requests"}]}'), NotSent, "429"),
        (truncated, Uncertain, "connection_lost"),
        (hang_up, Uncertain, "connection_lost"),
        (drip, Uncertain, "timeout"),
        (silence, Uncertain, "timeout"),
    ],
)
def test_every_other_end_is_one_of_our_outcomes(answer, outcome, code):
    begun = time.monotonic()
    with answering(answer) as server:
        error = look(feed(server.url, timeout=0.5))
    assert (type(error), error.code) == (outcome, code)
    assert time.monotonic() - begun < 5


def test_nobody_listening_is_an_outcome_too():
    error = look(feed("http://127.0.0.1:9"))
    assert (type(error), error.code) == (NotSent, "connect")


def test_an_account_without_a_key_cannot_look():
    assert type(look(feed("http://127.0.0.1:9", key=""))) is Misconfigured


# --- What the feed does not allow -----------------------------------------------------------------------------------

CLOSED = {
    "401": http(401, '{"errors": [{"message": "authorization required"}]}'),
    "403": http(403, '{"errors": [{"field": null, "message": "access forbidden"}]}'),
    "400": http(400, '{"errors": [{"message": "authorization required"}]}'),
}


@pytest.mark.parametrize("answer", CLOSED.values(), ids=CLOSED.keys())
def test_a_feed_that_is_closed_to_us_pauses_nothing_and_is_logged_once(answer, caplog):
    with answering(answer) as server:
        assert look(feed(server.url, name="sendgrid_eu"), MESSAGE, MESSAGE, MESSAGE) == [None] * 3
        assert len(server.requests) == 3
    [record] = caplog.records
    assert (record.levelname, "sendgrid_eu" in record.message) == ("ERROR", True)
    assert MESSAGE.recipient not in caplog.text


def test_a_feed_that_stays_closed_is_logged_again_after_a_while(monkeypatch, caplog):
    monkeypatch.setattr(sendgrid_activity, "COMPLAINT_SECONDS", 0)
    with answering(CLOSED["403"]) as server:
        look(feed(server.url), MESSAGE, MESSAGE)
    assert len(caplog.records) == 2


def test_a_seventh_request_within_a_minute_is_not_made(sandbox):
    message, _ = sent_to(sandbox)
    outcomes = look(feed(sandbox.url, key=sandbox.api_key), *[message] * 8)
    assert all(outcomes[:6])
    assert [(type(each), each.code) for each in outcomes[6:]] == [(NotSent, "not_asked")] * 2


def test_a_seventh_request_is_made_when_the_minute_is_over(monkeypatch):
    monkeypatch.setattr(sendgrid_activity, "WINDOW_SECONDS", 0)
    with answering(http(200, '{"messages": []}')) as server:
        look(feed(server.url), *[MESSAGE] * 8)
        assert len(server.requests) == 8


def test_where_others_used_the_limit_up_we_stop_asking(sandbox):
    sandbox.dial(activity_per_minute=1)
    first, second = feed(sandbox.url, key=sandbox.api_key), feed(sandbox.url, key=sandbox.api_key)
    assert look(first) is None
    refused, *others = look(second, MESSAGE, MESSAGE, MESSAGE)
    assert (type(refused), refused.code, refused.retry_after) == (NotSent, "429", 1.0)
    assert [(type(each), each.code) for each in others] == [(NotSent, "not_asked")] * 2


# --- The sandbox's feed ---------------------------------------------------------------------------------------------


def messages(sandbox, key=None, **params):
    headers = {"Authorization": f"Bearer {key or sandbox.api_key}"}
    return requests.get(f"{sandbox.url}/v3/messages", params=params, headers=headers, timeout=10)


def test_the_sandbox_shows_rows_as_sendgrid_does(sandbox):
    _, provider_message_id = sent_to(sandbox)
    [row] = messages(sandbox).json()["messages"]
    assert row.keys() == ROW.keys()
    assert (row["from_email"], row["subject"], row["to_email"]) == ("us@example.com", "Hello", "you@example.com")
    assert row["msg_id"].startswith(f"{provider_message_id}.")
    moment = datetime.strptime(row["last_event_time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


def test_the_sandbox_refuses_a_query_that_it_does_not_know_and_a_limit_that_is_none(sandbox):
    answer = messages(sandbox, query='bad_field="x"')
    assert (answer.status_code, "is not a known field" in answer.text) == (400, True)
    assert [messages(sandbox, limit=limit).status_code for limit in ("0", "1001", "x")] == [400] * 3


def test_the_sandbox_shows_the_newest_up_to_the_limit(sandbox):
    sent = [sent_to(sandbox)[1] for _ in range(3)]
    rows = messages(sandbox, limit=2).json()["messages"]
    assert [row["msg_id"].partition(".")[0] for row in rows] == sent[:0:-1]


def test_the_sandbox_takes_six_requests_a_minute_and_a_wrong_key_none(sandbox):
    assert messages(sandbox, key="wrong").status_code == 401
    assert [messages(sandbox).status_code for _ in range(7)] == [200] * 6 + [429]
