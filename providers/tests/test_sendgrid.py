"""What is particular to SendGrid."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from providers.base import Callback, Signature
from providers.errors import Misconfigured, NotSent, Rejected, Uncertain, UnreadableCallback
from providers.tests.odd_server import answering, http
from providers.tests.test_adapters import GOOD_ANSWERS, SENDGRID, send, sendgrid

ACCOUNT = sendgrid("http://127.0.0.1:9")
URLS = ("https://example.com/a.pdf", 'https://example.com/"><script>?x=1&y=2')
DELIVERED = {
    "email": "you@example.com",
    "event": "delivered",
    "timestamp": 1767225600,
    "sg_message_id": "abc.filter-1.2",
}


def mail_that_sendgrid_got(message):
    with answering(GOOD_ANSWERS["sendgrid"]) as server:
        send(sendgrid(server.url), message)
        [(head, body)] = server.requests
    assert b"\r\nAuthorization: Bearer SG.key\r\n" in head
    assert head.startswith(b"POST /v3/mail/send HTTP/1.1\r\n")
    return json.loads(body)


def contents_of(**fields):
    mail = mail_that_sendgrid_got(replace(SENDGRID.message, **{"body": "", **fields}))
    return {each["type"]: each["value"] for each in mail["content"]}


def outcome_of(answer):
    with answering(answer) as server:
        return send(sendgrid(server.url), SENDGRID.message)


def events(*told):
    return Callback(url="https://example.com/hook", body=json.dumps(told).encode(), headers={})


def report(**event):
    [part] = ACCOUNT.split(events({**DELIVERED, **event}))
    return ACCOUNT.read_report(part.payload)


def test_the_mail_is_what_was_asked_for():
    message = replace(SENDGRID.message, body="Text", html="<p>Text</p>")
    assert mail_that_sendgrid_got(message) == {
        "from": {"email": "us@example.com"},
        "subject": "Hello",
        "personalizations": [
            {
                "to": [{"email": "you@example.com"}],
                "custom_args": {"message_id": str(message.message_id), "attempt": "3"},
            }
        ],
        "content": [{"type": "text/plain", "value": "Text"}, {"type": "text/html", "value": "<p>Text</p>"}],
    }


def test_a_mail_without_a_subject_gets_one_since_sendgrid_refuses_it_otherwise():
    assert mail_that_sendgrid_got(replace(SENDGRID.message, subject=""))["subject"] == "(no subject)"


def test_an_address_arrives_as_it_is():
    odd = '"a, b"@example.com'
    mail = mail_that_sendgrid_got(replace(SENDGRID.message, recipient=odd))
    assert mail["personalizations"][0]["to"] == [{"email": odd}]


def test_plain_text_and_html_alone_stay_alone():
    assert contents_of(body="Text") == {"text/plain": "Text"}
    assert contents_of(html="<p>Hi</p>") == {"text/html": "<p>Hi</p>"}


def test_attachments_are_linked_below_the_text_and_escaped_in_the_html():
    found = contents_of(body="Text", html="<p>Hi</p>", attachments=URLS)
    assert found["text/plain"] == "Text\n\nAttachments:\n" + "\n".join(URLS)
    assert found["text/html"].startswith("<p>Hi</p><p>Attachments:</p><ul>")
    assert "<script>" not in found["text/html"]
    assert '<a href="https://example.com/&quot;&gt;&lt;script&gt;?x=1&amp;y=2">' in found["text/html"]


def test_attachments_need_no_text():
    assert contents_of(attachments=URLS[:1]) == {"text/plain": f"Attachments:\n{URLS[0]}"}


def headers_of(**fields):
    return mail_that_sendgrid_got(replace(SENDGRID.message, **fields)).get("headers")


def test_a_mail_carries_its_place_in_the_thread():
    found = headers_of(message_id_header="<3@example.com>", references=("<1@example.com>", "<2@example.com>"))
    assert found == {
        "Message-ID": "<3@example.com>",
        "In-Reply-To": "<2@example.com>",
        "References": "<1@example.com> <2@example.com>",
    }
    assert headers_of() is None


def test_a_long_thread_keeps_its_beginning_and_its_newest_mails():
    ids = tuple(f"<{number:03}@mail.example.com>" for number in range(100))
    kept = headers_of(references=ids)["References"].split()
    assert kept == [ids[0], *ids[-(len(kept) - 1) :]]
    assert 870 < len(" ".join(kept)) <= 900


@pytest.mark.parametrize(
    "bad", ["<a\r\nBcc:b@c>", "<ü@example.com>", "no brackets", "<>", "<" + "x" * 900 + "@a>", "<a> <b>"]
)
def test_a_strangers_id_that_is_none_does_not_spoil_the_mail(bad):
    assert headers_of(references=(bad,)) is None
    assert headers_of(references=("<1@example.com>", bad))["In-Reply-To"] == "<1@example.com>"


def test_two_ids_that_do_not_fit_together_leave_the_newest():
    long = tuple(f"<{number}{'x' * 600}@example.com>" for number in range(2))
    assert headers_of(references=long) == {"In-Reply-To": long[1], "References": long[1]}


def test_an_answer_goes_where_it_was_asked_to():
    mail = mail_that_sendgrid_got(replace(SENDGRID.message, reply_to='"a, b"+1@in.example.com'))
    assert mail["reply_to"] == {"email": '"a, b"+1@in.example.com'}


def test_unsubscribing_takes_one_click():
    assert headers_of(unsubscribe_url="https://example.com/unsubscribe/token") == {
        "List-Unsubscribe": "<https://example.com/unsubscribe/token>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def test_an_answer_without_message_id_is_accepted_without_one():
    assert outcome_of(http(202)).provider_message_id == ""


def test_a_text_that_the_sdk_takes_for_an_api_key_is_rejected():
    outcome = send(sendgrid("http://127.0.0.1:9"), replace(SENDGRID.message, body="SG.abc.def"))
    assert (type(outcome), outcome.code) == (Rejected, "api_key_included")


def errors(status, field, **headers):
    return http(status, json.dumps({"errors": [{"message": "you@example.com!", "field": field}]}), **headers)


@pytest.mark.parametrize(
    ("status", "field", "outcome"),
    [
        (400, "from.email", Rejected),
        (400, None, Rejected),
        (401, None, Misconfigured),
        (403, "from", Rejected),
        (403, None, Misconfigured),
        (413, None, Rejected),
        (415, None, Rejected),
        (429, None, NotSent),
        (500, None, Uncertain),
        (503, "from", Uncertain),
    ],
)
def test_sendgrids_refusals_have_their_outcomes(status, field, outcome):
    found = outcome_of(errors(status, field))
    assert (type(found), found.code) == (outcome, str(status))
    assert "@" not in found.message


def test_a_refusal_names_the_field_unless_it_names_somebody():
    assert outcome_of(errors(400, "content.0.value")).message.endswith("(field content.0.value).")
    assert outcome_of(errors(400, "you@example.com")).message == "SendGrid found the message invalid."


def test_the_rate_limit_says_when_it_opens_again():
    soon = outcome_of(errors(429, None, X_RateLimit_Reset=str(int(time.time()) + 30))).retry_after
    assert 25 < soon <= 30
    assert outcome_of(errors(429, None, X_RateLimit_Reset="1")).retry_after == 0
    assert outcome_of(errors(429, None, X_RateLimit_Reset="soon", Retry_After="7")).retry_after == 7
    assert outcome_of(errors(429, None)).retry_after is None


@pytest.mark.parametrize(
    ("argument", "setting"),
    [("public_key", "SENDGRID_WEBHOOK_PUBLIC_KEY"), ("inbound_public_key", "SENDGRID_INBOUND_PUBLIC_KEY")],
)
def test_a_public_key_that_can_not_be_read_is_logged_and_believes_nothing(argument, setting, caplog):
    account = sendgrid("http://127.0.0.1:9", **{argument: "not a key"})
    names = ["x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"]
    callback = replace(events(DELIVERED), headers=dict.fromkeys(names, "1"))
    assert account.check_signature(callback) is Signature.INVALID
    assert setting in caplog.text
    assert "not a key" not in caplog.text


@pytest.mark.parametrize(
    ("word", "status", "kind"),
    [
        ("processed", "sent", "status"),
        ("deferred", None, "status"),
        ("delivered", "delivered", "status"),
        ("bounce", "undelivered", "status"),
        ("dropped", "undelivered", "status"),
        ("open", None, "status"),
        ("click", None, "status"),
        ("spamreport", None, "status"),
        ("unsubscribe", None, "status"),
        ("group_unsubscribe", None, "status"),
        ("group_resubscribe", None, "status"),
        ("a word of tomorrow", None, "unknown"),
    ],
)
def test_sendgrids_words_are_ours(word, status, kind):
    [part] = ACCOUNT.split(events({**DELIVERED, "event": word}))
    found = ACCOUNT.read_report(part.payload)
    assert (part.kind, found.status, found.provider_status) == (kind, status, word)
    assert bool(found.error_message) == (status == "undelivered")


def test_a_report_brings_back_our_id_and_attempt_and_knows_when():
    ours = uuid4()
    found = report(message_id=str(ours), attempt="2")
    assert (found.message_id, found.attempt, found.provider_message_id) == (ours, 2, "abc")
    assert found.occurred_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_attempt_of_a_deferred_event_is_sendgrids_own():
    assert report(event="deferred", attempt="5").attempt is None


@pytest.mark.parametrize("timestamp", [None, "x", 1e30, [], "NaN"])
def test_a_time_that_is_none_is_left_out(timestamp):
    assert report(timestamp=timestamp).occurred_at is None


def test_a_failure_says_why_without_the_address():
    bounce = report(event="bounce", status="5.1.1", reason="550 5.1.1 <you@example.com> unknown")
    assert (bounce.error_code, bounce.error_message) == ("5.1.1", "The mailbox does not exist.")
    dropped = report(event="dropped", status="5.0.0", reason="Bounced Address")
    assert (dropped.error_code, "earlier mail" in dropped.error_message) == ("dropped", True)
    assert report(event="bounce", status="you@example.com").error_code == "bounce"


def test_an_event_keeps_its_key_when_it_comes_again_under_another_event_id():
    first, again, other = (
        ACCOUNT.split(events({**DELIVERED, **more}))[0].dedupe_key
        for more in ({"sg_event_id": "1"}, {"sg_event_id": "2"}, {"sg_event_id": "1", "timestamp": 5})
    )
    assert first == again != other
    assert len(first) <= 100


def test_one_readable_event_among_rubbish_is_enough_and_each_event_is_a_part():
    deep = {"event": "open", "x": json.loads("[" * 30 + "]" * 30)}
    told = [None, 5, "x", [], {}, {"event": 5}, {"event": ""}, deep, DELIVERED, {**DELIVERED, "event": "open"}]
    assert [part.kind for part in ACCOUNT.split(events(*told))] == ["status", "status"]


def test_a_single_event_needs_no_array():
    assert len(ACCOUNT.split(replace(events(), body=json.dumps(DELIVERED).encode()))) == 1


def test_what_a_database_can_not_hold_is_replaced():
    body = b'[{"event": "delivered", "a\\u0000": "\\ud800", "n": NaN, "i": -Infinity, "big": 1e999, "l": ["\\u0000"]}]'
    [part] = ACCOUNT.split(replace(events(), body=body))
    assert part.payload == {
        "event": "delivered", "a\ufffd": "\ufffd", "n": "nan", "i": "-inf", "big": "inf", "l": ["\ufffd"],
    }  # fmt: skip


def test_broken_json_is_unreadable_and_says_so():
    with pytest.raises(UnreadableCallback, match="not JSON"):
        ACCOUNT.split(replace(events(), body=b'[{"event": "delivered"'))


# One event of each of the eleven types, as https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
# shows them, and what is left of that page's variants: a blocked mail, and the account's own event.
DOCUMENTED = rb"""[
  {"email":"alex@example.com","timestamp":1513299569,"pool":{"name":"new_MY_test","id":210},"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","event":"processed","category":"cat facts","sg_event_id":"rbtnWrG1DVDGGGFHFyun0A==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.000000000000000000000"},
  {"email":"alex@example.com","domain":"example.com","from":"test@example.com","timestamp":1513299569,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","event":"deferred","category":"cat facts","sg_event_id":"t7LEShmowp86DTdUW8M-GQ==","sg_message_id":" 14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0","response":"400 try again later","attempt":"5"},
  {"email":"alex@example.com","timestamp":1513299569,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","event":"delivered","category":"cat facts","sg_event_id":"rWVYmVk90MjZJ9iohOBa3w==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0","response":"250 OK"},
  {"email":"alex@example.com","timestamp":1513299569,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","bounce_classification":"Invalid Address","event":"bounce","category":"cat facts","sg_event_id":"6g4ZI7SA-xmRDv57GoPIPw==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0","reason":"500 unknown recipient","status":"5.0.0","type":"bounce"},
  {"email":"alex@example.com","timestamp":1513299569,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","event":"dropped","category":"cat facts","sg_event_id":"zmzJhfJgAfUSOW80yEbPyw==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0","reason":"Bounced Address","status":"5.0.0"},
  {"email":"alex@example.com","timestamp":1513299569,"event":"open","sg_machine_open":false,"category":"cat facts","sg_event_id":"FOTFFO0ecsBE-zxFXfs6WA==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0","useragent":"Mozilla/4.0 (compatible; MSIE 6.1; Windows XP; .NET CLR 1.1.4322; .NET CLR 2.0.50727)","ip":"255.255.255.255"},
  {"sg_event_id":"sendgrid_internal_event_id","sg_message_id":"sendgrid_internal_message_id","ip":"255.255.255.255","useragent":"Mozilla/5.0 (iPhone; CPU iPhone OS 7_1_2 like Mac OS X) AppleWebKit/537.51.2 (KHTML, like Gecko) Version/7.0 Mobile/11D257 Safari/9537.53","event":"click","email":"email@example.com","timestamp":1249948800,"url":"http://example.com/blog/news.html","url_offset":{"index":0,"type":"html"},"unique_arg_key":"unique_arg_value","category":["category1","category2"],"newsletter":{"newsletter_user_list_id":"10557865","newsletter_id":"1943530","newsletter_send_id":"2308608"},"asm_group_id":1},
  {"email":"alex@example.com","timestamp":1513299569,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","event":"spamreport","sg_event_id":"37nvH5QBz858KGVYCM4uOA==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0"},
  {"email":"alex@example.com","timestamp":1513299569,"event":"unsubscribe","category":"cat facts","sg_event_id":"zz_BjPgU_5pS-J8vlfB1sg==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0"},
  {"email":"alex@example.com","timestamp":1513299569,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","event":"group_unsubscribe","category":"cat facts","sg_event_id":"ahSCB7xYcXFb-hEaawsPRw==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0","useragent":"Mozilla/4.0 (compatible; MSIE 6.1; Windows XP; .NET CLR 1.1.4322; .NET CLR 2.0.50727)","ip":"255.255.255.255","url":"http://www.example.com/","asm_group_id":10},
  {"email":"alex@example.com","timestamp":1513299569,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","event":"group_resubscribe","category":"cat facts","sg_event_id":"w_u0vJhLT-OFfprar5N93g==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0","useragent":"Mozilla/4.0 (compatible; MSIE 6.1; Windows XP; .NET CLR 1.1.4322; .NET CLR 2.0.50727)","ip":"255.255.255.255","url":"http://www.example.com/","asm_group_id":10},
  {"email":"alex@example.com","timestamp":1513299569,"smtp-id":"<14c5d75ce93.dfd.64b469@ismtpd-555>","bounce_classification":"Invalid Address","event":"bounce","category":"cat facts","sg_event_id":"6g4ZI7SA-xmRDv57GoPIPw==","sg_message_id":"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0","reason":"500 unknown recipient","status":"5.0.0","type":"blocked"},
  {"event":"account_status_change","sg_event_id":"MjEzNTg5OTcyOC10ZXJtaW5hdGUtMTcwNzg1MTUzMQ","timestamp":1709142428,"type":"compliance_suspend"}
]"""  # noqa: E501


def test_the_documented_events_are_all_understood():
    parts = ACCOUNT.split(replace(events(), body=DOCUMENTED))
    reports = [ACCOUNT.read_report(part.payload) for part in parts]
    assert [(found.provider_status, found.status, found.opt_out) for found in reports] == [
        ("processed", "sent", None),
        ("deferred", None, None),
        ("delivered", "delivered", None),
        ("bounce", "undelivered", "bounce"),
        ("dropped", "undelivered", "bounce"),
        ("open", None, None),
        ("click", None, None),
        ("spamreport", None, "spam_report"),
        ("unsubscribe", None, "unsubscribe"),
        ("group_unsubscribe", None, "unsubscribe"),
        ("group_resubscribe", None, None),
        ("bounce", "undelivered", None),
        ("account_status_change", None, None),
    ]
    assert [part.kind for part in parts] == ["status"] * 12 + ["unknown"]
    assert {found.provider_message_id for found in reports[:6]} == {"14c5d75ce93"}
    assert [part.payload for part in parts] == json.loads(DOCUMENTED)


@pytest.mark.parametrize(
    ("reason", "opt_out"),
    [
        ("Unsubscribed Address", "unsubscribe"),
        ("Spam Reporting Address", "spam_report"),
        ("Bounced Address", "bounce"),
        ("Invalid", None),
        ("Recipient List over Package Quota", None),
        (5, None),
    ],
)
def test_what_sendgrid_itself_suppresses_is_an_opt_out(reason, opt_out):
    assert report(event="dropped", reason=reason).opt_out == opt_out


def test_sendgrid_keeps_no_list_of_what_was_missed():
    async def missed():
        return [part async for part in ACCOUNT.missed(datetime(2026, 1, 1, tzinfo=UTC))]

    assert asyncio.run(missed()) == []
