"""What is particular to Twilio."""

import json
import random
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl, urlencode
from uuid import uuid4

import pytest
from twilio.request_validator import RequestValidator

from providers.base import Callback, InboundMedia, InboundMessage, Signature
from providers.errors import Misconfigured, NotSent, Rejected, Uncertain, UnreadableCallback
from providers.tests.odd_server import answering, http
from providers.tests.test_adapters import GOOD_ANSWERS, TWILIO, send, twilio

ACCOUNT = twilio("http://127.0.0.1:9")
MMS = replace(
    TWILIO.message, channel="mms", body="", attachments=("https://example.com/a.jpg", "https://example.com/b.jpg?x=1&y")
)

# A message that came in, with every parameter in the order in which Twilio sends them.
RECEIVED_BODY = (
    b"ToCountry=US&ToState=CA&SmsMessageSid=SM0123456789abcdef0123456789abcdef&NumMedia=0&ToCity=&FromZip=94107"
    b"&SmsSid=SM0123456789abcdef0123456789abcdef&FromState=CA&SmsStatus=received&FromCity=SAN+FRANCISCO"
    b"&Body=Gr%C3%BC%C3%9Fe+%26+100+%25+%F0%9F%98%80&FromCountry=US&To=%2B15551234567&ToZip=&NumSegments=1"
    b"&MessageSid=SM0123456789abcdef0123456789abcdef&AccountSid=AC0123456789abcdef0123456789abcdef"
    b"&From=%2B15559876543&ApiVersion=2010-04-01"
)
RECEIVED = dict(parse_qsl(RECEIVED_BODY.decode(), keep_blank_values=True))


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


def inbound(**params):
    [part] = ACCOUNT.split(callback({**RECEIVED, **params}))
    assert part.kind == "inbound"
    return ACCOUNT.read_inbound(json.loads(json.dumps(part.payload)))


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


def test_a_text_that_came_in_is_read_as_it_was_written():
    [part] = ACCOUNT.split(replace(callback({}), body=RECEIVED_BODY))
    assert part.kind == "inbound"
    assert part.payload["params"] == RECEIVED
    assert ACCOUNT.read_inbound(part.payload) == InboundMessage(
        provider_message_id="SM0123456789abcdef0123456789abcdef",
        channel="sms",
        sender="+15559876543",
        recipient="+15551234567",
        body="Grüße & 100 % 😀",
        segments=1,
    )


def test_an_mms_brings_its_media_in_order():
    urls = [f"https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME{n}" for n in range(2)]
    media = {
        "NumMedia": "2",
        "MediaUrl1": urls[1],
        "MediaContentType1": "Video/MP4",
        "MediaUrl0": urls[0],
        "MediaContentType0": "image/jpeg",
    }
    found = inbound(MessageSid="MM1", Body="", **media)
    assert (found.channel, found.body, found.provider_message_id) == ("mms", "", "MM1")
    assert found.media == (
        InboundMedia(url=urls[0], content_type="image/jpeg"),
        InboundMedia(url=urls[1], content_type="video/mp4"),
    )


@pytest.mark.parametrize(
    ("claimed", "channel"),
    [
        *[(claimed, "sms") for claimed in ("0", "-1", "", "x", "²", "1e9", "9" * 5000)],
        *[(claimed, "mms") for claimed in ("3", "999999")],
    ],
)
def test_a_false_number_of_media_does_no_harm(claimed, channel):
    assert (inbound(NumMedia=claimed).channel, inbound(NumMedia=claimed).media) == (channel, ())
    found = inbound(NumMedia=claimed, MediaUrl0="https://example.com/a")
    assert (found.channel, found.media) == ("mms", (InboundMedia(url="https://example.com/a"),))


@pytest.mark.parametrize(
    ("said", "keyword"),
    [("STOP", "stop"), ("START", "start"), ("HELP", "help"), ("stop", "stop"), ("", None), ("X", None)],
)
def test_only_twilios_own_word_makes_a_keyword(said, keyword):
    assert inbound(Body="STOP", OptOutType=said).keyword == keyword
    assert inbound(Body="STOP").keyword is None


@pytest.mark.parametrize("sender", ["12345", "AMAZON", "whatsapp:+15559876543", "anonymous", "+0"])
def test_odd_senders_are_left_as_they_are(sender):
    assert inbound(From=sender).sender == sender


@pytest.mark.parametrize("missing", ["From", "To"])
def test_a_message_without_sender_or_recipient_is_unreadable(missing):
    with pytest.raises(UnreadableCallback, match="From"):
        inbound(**{missing: ""})
    with pytest.raises(UnreadableCallback, match="From"):
        ACCOUNT.read_inbound({"params": {**RECEIVED, missing: ""}, "query": {}})


def test_a_message_that_comes_again_with_other_parameters_counts_once():
    def key(query="", **params):
        return ACCOUNT.split(callback({**RECEIVED, **params}, query))[0].dedupe_key

    assert key() == key("?rc=1", ApiVersion="2011", NewParameter="1")
    assert key() != key(MessageSid="SM2")
    status = ACCOUNT.split(callback({"MessageSid": RECEIVED["MessageSid"], "MessageStatus": "sent"}))[0].dedupe_key
    assert status != key()


def test_messages_without_a_sid_are_told_apart_by_their_content():
    bare = [callback({"From": "+1", "To": "+2", "Body": body}) for body in ("a", "a", "b")]
    first, again, other = (ACCOUNT.split(each)[0] for each in bare)
    assert first.dedupe_key == again.dedupe_key != other.dedupe_key
    assert ACCOUNT.read_inbound(first.payload).provider_message_id == ""


def signed_by_shared_key(secret, settings, algorithm="HMAC_SHA256"):
    url = "https://example.com/api/v1/webhooks/twilio?m=1"
    signature = RequestValidator(secret).compute_signature(url, RECEIVED, algorithm)
    headers = {"x-twilio-signature": signature, "x-twilio-webhooks-signature-settings": settings}
    return Callback(url=url, body=RECEIVED_BODY, headers=headers)


def test_the_documented_signature_verifies():
    """The example of Twilio's page on webhook security; its SDKs test the same one."""
    params = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    told = Callback(
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
        body=urlencode(params).encode(),
        headers={"x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="},
    )
    account = twilio("http://127.0.0.1:9", token="12345")
    assert account.check_signature(told) is Signature.VALID
    assert account.check_signature(replace(told, url=told.url + "0")) is Signature.INVALID
    assert ACCOUNT.check_signature(told) is Signature.INVALID


def test_both_tokens_are_believed_while_they_are_rotated_and_no_third():
    account = twilio("http://127.0.0.1:9", token="new", secondary_auth_token="old")
    assert account.check_signature(callback(RECEIVED, token="new")) is Signature.VALID
    assert account.check_signature(callback(RECEIVED, token="old")) is Signature.VALID
    assert account.check_signature(callback(RECEIVED, token="older")) is Signature.INVALID
    assert account.check_signature(callback(RECEIVED, token="")) is Signature.INVALID


def test_a_shared_key_signs_with_sha256_under_its_own_id():
    account = twilio("http://127.0.0.1:9", shared_keys={"webhooks_sharedkey_1": "one", "webhooks_sharedkey_2": "two"})
    told = "key=webhooks_sharedkey_2,algorithm=HMAC_SHA256"
    good = signed_by_shared_key("two", told)
    assert account.check_signature(good) is Signature.VALID
    assert account.check_signature(callback(RECEIVED)) is Signature.VALID
    wrong = [
        signed_by_shared_key("one", told),
        signed_by_shared_key("token", told),
        signed_by_shared_key("two", told, "HMAC_SHA1"),
        signed_by_shared_key("two", "key=webhooks_sharedkey_3,algorithm=HMAC_SHA256"),
        signed_by_shared_key("", "key=webhooks_sharedkey_3,algorithm=HMAC_SHA256"),
        signed_by_shared_key("", "key=,algorithm=HMAC_SHA256"),
        signed_by_shared_key("two", "key=webhooks_sharedkey_2,algorithm=HMAC_MD5"),
        signed_by_shared_key("two", ",,=,key"),
        replace(good, body=good.body.replace(b"received", b"sent")),
        replace(good, headers={"x-twilio-signature": good.headers["x-twilio-signature"]}),
    ]
    assert {account.check_signature(each) for each in wrong} == {Signature.INVALID}


def test_a_shared_key_without_an_account_is_not_believed():
    account = twilio("http://127.0.0.1:9", sid="", token="", shared_keys={"k": "one"})
    assert account.check_signature(signed_by_shared_key("one", "key=k,algorithm=HMAC_SHA256")) is Signature.INVALID


def test_no_form_raises_anything_but_unreadable():
    chance = random.Random(5)
    for _ in range(1500):
        body = bytearray(RECEIVED_BODY + b"&NumMedia=1&MediaUrl0=https%3A%2F%2Fexample.com%2Fa&OptOutType=STOP")
        for _ in range(chance.randrange(12)):
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(9)] = chance.choice([b"&", b"=", b"%00", b"%", b"\xff", b"%ED%A0%80", b""])
        try:
            [part] = ACCOUNT.split(replace(callback({}), body=bytes(body)))
            if part.kind == "inbound":
                found = ACCOUNT.read_inbound(part.payload)
                assert found.sender
                assert "\0" not in json.loads(json.dumps(part.payload["params"])).get("Body", "")
        except UnreadableCallback:
            continue
