"""What is particular to Twilio."""

import json
from dataclasses import replace
from urllib.parse import parse_qs, urlencode
from uuid import uuid4

import pytest
from twilio.request_validator import RequestValidator

from providers.base import Callback, Signature
from providers.errors import Misconfigured, NotSent, Rejected, Uncertain, UnreadableCallback
from providers.tests.odd_server import answering, http
from providers.tests.test_adapters import GOOD_ANSWERS, TWILIO, send, twilio

ACCOUNT = twilio("http://127.0.0.1:9")
MMS = replace(
    TWILIO.message, channel="mms", body="", attachments=("https://example.com/a.jpg", "https://example.com/b.jpg?x=1&y")
)


def form_that_twilio_got(message, **settings):
    with answering(GOOD_ANSWERS["twilio"]) as server:
        send(twilio(server.url, **settings), message)
        [(_, body)] = server.requests
    return parse_qs(body.decode(), keep_blank_values=True)


def callback(params, query="", token="token"):
    url = f"https://example.com/api/v1/webhooks/twilio{query}"
    fields = dict(params) if isinstance(params, list) else params
    signature = RequestValidator(token).compute_signature(url, fields)
    return Callback(url=url, body=urlencode(params).encode(), headers={"x-twilio-signature": signature})


def report(query="", **params):
    [part] = ACCOUNT.split(callback({"MessageSid": "SM1", **params}, query))
    assert part.kind == "status"
    return ACCOUNT.read_report(part.payload)


def test_an_mms_carries_its_media_urls_and_no_empty_body():
    form = form_that_twilio_got(MMS)
    assert form["MediaUrl"] == list(MMS.attachments)
    assert "Body" not in form


def test_the_status_callback_names_message_and_attempt():
    message = replace(TWILIO.message, attempt=7)
    form = form_that_twilio_got(message, callback_url="https://example.com/hook")
    assert form["StatusCallback"] == [f"https://example.com/hook?m={message.message_id}&a=7"]


def test_no_status_callback_is_asked_for_where_none_could_arrive():
    assert "StatusCallback" not in form_that_twilio_got(MMS, callback_url=None)


def test_every_character_of_a_text_arrives():
    text = "Grüße & 100 % + €[]{}~^|\\\n\t= ?#😀"
    assert form_that_twilio_got(replace(TWILIO.message, body=text))["Body"] == [text]


def test_the_environments_edge_does_not_override_the_base_url(monkeypatch):
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    assert form_that_twilio_got(TWILIO.message)["To"] == [TWILIO.message.recipient]


@pytest.mark.parametrize(("said", "segments"), [("3", 3), ("0", None), (None, None), (2, None)])
def test_segments_are_what_twilio_counted(said, segments):
    with answering(http(201, json.dumps({"sid": "SM1", "num_segments": said}))) as server:
        assert send(twilio(server.url), TWILIO.message).segments == segments


@pytest.mark.parametrize("body", ["{}", "", '{"sid": null}', '{"sid": ""}', '{"sid": 5}', '{"message": "ok"}'])
def test_a_created_message_without_sid_is_uncertain(body):
    with answering(http(201, body)) as server:
        outcome = send(twilio(server.url), TWILIO.message)
    assert (type(outcome), outcome.code) == (Uncertain, "unreadable_answer")


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (401, 20003, Misconfigured),
        (403, 20005, Misconfigured),
        (403, 90010, Misconfigured),
        (404, 20404, Misconfigured),
        (429, 20429, NotSent),
        (429, 21611, NotSent),
        (400, 21611, NotSent),
        (400, 21211, Rejected),
        (400, 21610, Rejected),
        (403, 21408, Rejected),
        (400, 12345, Rejected),
        (500, 20500, Uncertain),
        (503, 20503, Uncertain),
        (503, 21211, Uncertain),
        (302, 21211, Uncertain),
    ],
)
def test_twilios_codes_have_their_outcomes(status, code, outcome):
    with answering(http(status, json.dumps({"code": code, "message": "To +15559876543", "status": status}))) as server:
        found = send(twilio(server.url), TWILIO.message)
    assert (type(found), found.code) == (outcome, str(code))
    assert "+1555" not in found.message


def test_a_problem_document_is_twilios_too():
    body = {"type": "https://example.com", "title": "Bad", "status": 400, "code": 21211}
    with answering(http(400, json.dumps(body), "application/problem+json")) as server:
        assert type(send(twilio(server.url), TWILIO.message)) is Rejected


def test_a_repeated_name_is_part_of_the_signature():
    pairs = [("MessageSid", "SM1"), ("MessageStatus", "sent"), ("Tag", "a"), ("Tag", "b")]
    url = "https://example.com/api/v1/webhooks/twilio?m=1"
    # By Twilio's rule: the URL, then every name and value, sorted.
    told = "".join(name + value for name, value in sorted(pairs))
    signature = RequestValidator("token").compute_signature(url + told, {})
    signed = Callback(url=url, body=urlencode(pairs).encode(), headers={"x-twilio-signature": signature})
    assert ACCOUNT.check_signature(signed) is Signature.VALID
    assert ACCOUNT.check_signature(replace(signed, body=urlencode(pairs[:3]).encode())) is Signature.INVALID
    assert ACCOUNT.split(signed)[0].payload["params"]["Tag"] == ["a", "b"]


def test_blank_values_and_the_query_are_part_of_the_signature():
    signed = callback({"MessageSid": "SM1", "MessageStatus": "sent", "ErrorCode": ""}, "?m=1&a=2")
    assert ACCOUNT.check_signature(signed) is Signature.VALID
    assert ACCOUNT.check_signature(replace(signed, url=signed.url.replace("a=2", "a=3"))) is Signature.INVALID


def test_an_account_without_a_token_does_not_believe_signatures_made_without_one():
    signed = callback({"MessageSid": "SM1", "MessageStatus": "sent"}, token="")
    assert twilio("http://127.0.0.1:9", sid="", token="").check_signature(signed) is Signature.INVALID


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("queued", None),
        ("accepted", None),
        ("scheduled", None),
        ("sending", None),
        ("sent", "sent"),
        ("delivered", "delivered"),
        ("read", "delivered"),
        ("undelivered", "undelivered"),
        ("failed", "undelivered"),
        ("canceled", "undelivered"),
        ("partially_delivered", None),
        ("a word of tomorrow", None),
    ],
)
def test_twilios_words_are_ours(word, status):
    found = report(MessageStatus=word)
    assert (found.status, found.provider_status) == (status, word)
    assert bool(found.error_message) == (status == "undelivered")


def test_a_report_brings_our_id_and_attempt_back():
    ours = uuid4()
    found = report(f"?m={ours}&a=2", SmsStatus="delivered")
    assert (found.message_id, found.attempt, found.provider_message_id) == (ours, 2, "SM1")


@pytest.mark.parametrize("query", ["", "?m=5&a=x", "?m=&a=", "?a=0&m=%00", "?m[]=1", "?a=99999999999999999999"])
def test_ids_that_are_not_ours_are_none(query):
    found = report(query, MessageStatus="sent")
    assert (found.message_id, found.attempt) == (None, None)


def test_a_failure_says_why_in_a_sentence():
    found = report(MessageStatus="undelivered", ErrorCode="30003")
    assert (found.error_code, found.error_message) == (
        "30003",
        "The phone is unreachable: switched off or without a signal.",
    )
    assert report(MessageStatus="failed", ErrorCode="39999").error_message.endswith("(code 39999).")
    assert report(MessageStatus="failed", ErrorCode="<script>").error_code == "failed"


def test_a_message_that_came_in_is_no_status():
    form = {"MessageSid": "SM1", "SmsStatus": "received", "From": "+15559876543", "To": "+15551234567", "Body": "Hi"}
    assert [part.kind for part in ACCOUNT.split(callback(form))] == ["inbound"]
    assert [part.kind for part in ACCOUNT.split(callback({"From": "+15559876543", "To": "12345"}))] == ["inbound"]


@pytest.mark.parametrize(
    "params", [{}, {"From": "+1"}, {"MessageSid": "SM1"}, {"MessageStatus": "sent"}, {"From": "", "To": ""}]
)
def test_a_form_with_neither_a_status_nor_a_message_is_unreadable(params):
    with pytest.raises(UnreadableCallback):
        ACCOUNT.split(callback(params))


def test_the_same_callback_has_the_same_key_whatever_its_order_and_another_has_another():
    form = [("MessageSid", "SM1"), ("MessageStatus", "sent"), ("Body", "a")]
    keys = {ACCOUNT.split(callback(each, "?m=1"))[0].dedupe_key for each in (form, form[::-1])}
    assert len(keys) == 1
    assert all(len(key) <= 100 for key in keys)
    others = [callback(form, "?m=2"), callback([*form[:2], ("Body", "b")], "?m=1"), callback(form[:2], "?m=1")]
    assert len(keys | {ACCOUNT.split(each)[0].dedupe_key for each in others}) == 4


def test_what_a_database_can_not_hold_is_replaced():
    [part] = ACCOUNT.split(callback({"MessageSid": "SM1", "MessageStatus": "sent", "Body": "a\x00b"}, "?m=%00"))
    assert part.payload["params"]["Body"] == "a\ufffdb"
    assert part.payload["query"] == {"m": "\ufffd"}
