"""What is particular to Twilio."""

import asyncio
import json
import random
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, parse_qsl, urlencode
from uuid import UUID, uuid4

import pytest
from twilio.request_validator import RequestValidator

from providers.base import Callback, InboundMedia, InboundMessage, Signature
from providers.errors import Misconfigured, NotSent, Rejected, Uncertain, UnreadableCallback
from providers.tests.odd_server import answering, hang_up, http
from providers.tests.test_adapters import GOOD_ANSWERS, TWILIO, TWILIO_SID, send, twilio

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


# An MMS and a status as https://www.twilio.com/docs/messaging/guides/webhook-request and
# https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks list their parameters.
MMS_BODY = (
    b"ToCountry=US&MediaContentType0=image%2Fjpeg&ToState=CA&SmsMessageSid=MM0123456789abcdef0123456789abcdef"
    b"&NumMedia=2&ToCity=&FromZip=94107&SmsSid=MM0123456789abcdef0123456789abcdef&FromState=CA&SmsStatus=received"
    b"&FromCity=SAN+FRANCISCO&Body=&MediaContentType1=video%2Fmp4&FromCountry=US&To=%2B15551234567"
    b"&MediaUrl1=https%3A%2F%2Fapi.twilio.com%2F2010-04-01%2FAccounts%2FAC0123456789abcdef0123456789abcdef%2FMessages"
    b"%2FMM0123456789abcdef0123456789abcdef%2FMedia%2FME1&ToZip=&NumSegments=2"
    b"&MessageSid=MM0123456789abcdef0123456789abcdef&AccountSid=AC0123456789abcdef0123456789abcdef"
    b"&From=%2B15559876543"
    b"&MediaUrl0=https%3A%2F%2Fapi.twilio.com%2F2010-04-01%2FAccounts%2FAC0123456789abcdef0123456789abcdef%2FMessages"
    b"%2FMM0123456789abcdef0123456789abcdef%2FMedia%2FME0&ApiVersion=2010-04-01"
)
STATUS_BODY = (
    b"SmsSid=SM0123456789abcdef0123456789abcdef&SmsStatus=undelivered&MessageStatus=undelivered&To=%2B15559876543"
    b"&MessageSid=SM0123456789abcdef0123456789abcdef&AccountSid=AC0123456789abcdef0123456789abcdef"
    b"&From=%2B15551234567&ApiVersion=2010-04-01&ErrorCode=30006&RawDlrDoneDate=2601011200"
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
    assert form["StatusCallback"] == [f"https://example.com/hook?m={message.message_id}&a=7#rc=5&rp=all"]


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


def test_a_recipient_who_opted_out_is_told_apart_from_other_refusals():
    for code, opted_out in ((21610, True), (21211, False)):
        with answering(http(400, json.dumps({"code": code, "message": "No", "status": 400}))) as server:
            assert send(twilio(server.url), TWILIO.message).opted_out is opted_out
    assert report(MessageStatus="failed", ErrorCode="21610").opt_out == "provider"
    assert report(MessageStatus="failed", ErrorCode="30003").opt_out is None
    assert report(MessageStatus="delivered").opt_out is None


def test_the_accounts_media_asks_for_its_credentials_and_nothing_else_gets_them():
    account = twilio("https://api.twilio.com")
    for url in (
        "https://api.twilio.com/2010-04-01/Accounts/AC1",
        "https://API.twilio.com:443/",
        "HTTPS://api.twilio.com",
    ):
        assert account.media_credentials(url) == (TWILIO_SID, "token")
    for url in (
        "http://api.twilio.com/",
        "http://api.twilio.com:443/",
        "https://api.twilio.com:444/",
        "https://media.twiliocdn.com/",
        "https://api.twilio.com@example.com/",
        "https://example.com\\@api.twilio.com/",
        "https://a:b@api.twilio.com/",
        "https://api.twilio.com:99999/",
    ):
        assert account.media_credentials(url) is None
    assert twilio("https://api.twilio.com", sid="", token="").media_credentials("https://api.twilio.com/") is None


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


def test_a_documented_mms_is_read():
    [part] = ACCOUNT.split(replace(callback({}), body=MMS_BODY))
    found = ACCOUNT.read_inbound(part.payload)
    assert (part.kind, found.channel, found.body, found.segments) == ("inbound", "mms", "", 2)
    message = f"https://api.twilio.com/2010-04-01/Accounts/{TWILIO_SID}/Messages/MM0123456789abcdef0123456789abcdef"
    assert found.media == (
        InboundMedia(url=f"{message}/Media/ME0", content_type="image/jpeg"),
        InboundMedia(url=f"{message}/Media/ME1", content_type="video/mp4"),
    )


def test_a_documented_status_is_read():
    url = "https://example.com/hook?m=0198c0de-0000-7000-8000-000000000001&a=2"
    [part] = ACCOUNT.split(replace(callback({}), url=url, body=STATUS_BODY))
    found = ACCOUNT.read_report(part.payload)
    assert (part.kind, found.status, found.provider_status) == ("status", "undelivered", "undelivered")
    assert (found.message_id, found.attempt) == (UUID("0198c0de-0000-7000-8000-000000000001"), 2)
    assert (found.error_code, "landline" in found.error_message, found.opt_out) == ("30006", True, None)
    assert found.provider_message_id == "SM0123456789abcdef0123456789abcdef"


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


SINCE = datetime(2026, 1, 2, 12, tzinfo=UTC)
IN_LIST = {
    "account_sid": TWILIO_SID, "api_version": "2010-04-01", "body": "Hello", "error_code": None, "error_message": None,
    "date_created": "Fri, 02 Jan 2026 12:00:00 +0000", "date_sent": "Fri, 02 Jan 2026 12:00:00 +0000",
    "date_updated": "Fri, 02 Jan 2026 12:00:00 +0000", "direction": "inbound", "from": "+15559876543",
    "messaging_service_sid": None, "num_media": "0", "num_segments": "1", "price": None, "price_unit": None,
    "sid": "SM1", "status": "received", "subresource_uris": {}, "to": "+15551234567",
    "uri": f"/2010-04-01/Accounts/{TWILIO_SID}/Messages/SM1.json",
}  # fmt: skip


@contextmanager
def listing(*pages, media=()):
    """Answers Twilio's list of messages, page by page, and its list of any message's media."""

    def answer(connection):
        path = server.requests[-1][0].split()[1].decode()
        if path.partition("?")[0].endswith("/Media.json"):
            told = {"media_list": list(media), "next_page_uri": None, "uri": path}
        else:
            number = int(dict(parse_qsl(path.partition("?")[2])).get("Page", 0))
            more = f"{path.partition('?')[0]}?Page={number + 1}" if number + 1 < len(pages) else None
            told = {"messages": list(pages[number]), "page": number, "next_page_uri": more, "uri": path}
        connection.sendall(http(200, json.dumps(told)))

    with answering(answer) as server:
        yield server


def missed(account, since=SINCE):
    async def all_of_them():
        try:
            return [part async for part in account.missed(since)]
        finally:
            await account.close()

    return asyncio.run(all_of_them())


def test_a_missed_text_is_the_callback_that_should_have_come():
    with listing(
        [{**IN_LIST, "sid": RECEIVED["MessageSid"], "body": "Grüße & 100 % + 😀".replace(" +", "")}]
    ) as server:
        [part] = missed(twilio(server.url))
    [real] = ACCOUNT.split(replace(callback({}), body=RECEIVED_BODY))
    assert (part.kind, part.dedupe_key) == ("inbound", real.dedupe_key)
    found = ACCOUNT.read_inbound(json.loads(json.dumps(part.payload)))
    assert replace(found, occurred_at=None) == ACCOUNT.read_inbound(real.payload)
    assert found.occurred_at is not None
    assert set(part.payload["params"].items()) - {*real.payload["params"].items()} == {
        ("DateSent", found.occurred_at.isoformat())
    }


def test_a_missed_mms_brings_its_media():
    uri = f"/2010-04-01/Accounts/{TWILIO_SID}/Messages/MM1/Media/ME"
    media = [{"sid": f"ME{n}", "content_type": "image/png", "uri": f"{uri}{n}.json"} for n in range(2)]
    with listing([{**IN_LIST, "sid": "MM1", "num_media": "2"}], media=media) as server:
        account = twilio(server.url)
        [part] = missed(account)
    found = account.read_inbound(part.payload)
    assert found.media == tuple(InboundMedia(url=f"{server.url}{uri}{n}", content_type="image/png") for n in range(2))
    assert all(account.media_credentials(each.url) for each in found.media)


def test_missed_statuses_count_once_and_only_those_that_change_something():
    words = ["queued", "accepted", "scheduled", "sending", "partially_delivered", "sent", "delivered", "undelivered"]
    told = [{**IN_LIST, "direction": "outbound-api", "status": word} for word in words]
    told[-1]["error_code"] = 30003
    with listing(told, [*told[-1:]]) as server:
        first, again = (missed(twilio(server.url)) for _ in range(2))
    assert first == again
    reports = [ACCOUNT.read_report(part.payload) for part in first]
    assert [found.provider_status for found in reports] == ["sent", "delivered", "undelivered", "undelivered"]
    assert (reports[2].error_code, reports[2].provider_message_id) == ("30003", "SM1")
    assert len({part.dedupe_key for part in first}) == 3
    assert {part.kind for part in first} == {"status"}


def test_what_was_missed_comes_oldest_first_from_all_pages_and_not_from_before():
    def at(second, sid):
        moment = SINCE + timedelta(seconds=second)
        return {**IN_LIST, "sid": sid, "date_sent": moment.strftime("%a, %d %b %Y %H:%M:%S +0000")}

    with listing([at(9, "SM4"), at(1, "SM3")], [at(0, "SM2"), at(-1, "SM1"), at(-9, "SM0")]) as server:
        found = missed(twilio(server.url), (SINCE + timedelta(microseconds=5)).astimezone(timezone(timedelta(hours=5))))
        asked = dict(parse_qsl(server.requests[0][0].split()[1].decode().partition("?")[2]))
    assert [part.payload["params"]["MessageSid"] for part in found] == ["SM2", "SM3", "SM4"]
    assert asked["DateSent>"] == "2026-01-02T12:00:00Z"


def test_a_text_that_twilio_is_still_receiving_is_left_to_its_callback():
    with listing(
        [{**IN_LIST, "status": "receiving"}, {**IN_LIST, "sid": None}, {**IN_LIST, "date_sent": None}]
    ) as server:
        assert missed(twilio(server.url)) == []


@pytest.mark.parametrize(
    ("answer", "outcome", "code"),
    [
        (http(401, json.dumps({"code": 20003, "message": "Authenticate"})), Misconfigured, "20003"),
        (http(429, json.dumps({"code": 20429, "message": "Busy"})), NotSent, "20429"),
        (http(500, "down", "text/plain"), Uncertain, "500"),
        (http(200, "{"), Uncertain, "unreadable_answer"),
        (http(200, "{}"), Uncertain, "unreadable_answer"),
        (http(204), Uncertain, "unreadable_answer"),
        (http(200, '{"messages": [5]}'), Uncertain, "unexpected"),
        (hang_up, Uncertain, "connection_lost"),
    ],
)
def test_a_list_that_does_not_come_is_a_providers_error(answer, outcome, code):
    with answering(answer) as server, pytest.raises(outcome) as raised:
        missed(twilio(server.url))
    assert raised.value.code == code


def test_without_credentials_nothing_can_have_been_missed():
    with pytest.raises(Misconfigured):
        missed(twilio("http://127.0.0.1:9", sid="", token=""))


def test_what_the_sandbox_sent_is_in_its_list(sandbox):
    async def send_and_list(account):
        accepted = [await account.send(replace(TWILIO.message, message_id=uuid4())) for _ in range(3)]
        while len(found := [part async for part in account.missed(datetime.now(UTC) - timedelta(minutes=5))]) < 3:
            await asyncio.sleep(0.02)
        await account.close()
        return {each.provider_message_id for each in accepted}, found

    sent, found = asyncio.run(asyncio.wait_for(send_and_list(TWILIO.for_sandbox(sandbox)), 10))
    assert {ACCOUNT.read_report(part.payload).provider_message_id for part in found} == sent
    assert {part.kind for part in found} == {"status"}
