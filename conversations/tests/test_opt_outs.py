"""STOP, and every other way to say it."""

from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.db import IntegrityError, OperationalError
from django.utils import timezone

from conversations import delivery, mail_links, receiving
from conversations.keywords import keyword_in
from conversations.models import Message, OptOut
from conversations.tests.conftest import claim
from providers.base import DeliveryReport, InboundMessage

pytestmark = pytest.mark.django_db

US, THEM = "+15551234567", "+15559876543"
LEASE = timedelta(seconds=60)


def text(body, sid="SM1", **values):
    usual = {"channel": "sms", "sender": THEM, "recipient": US, "provider_message_id": sid}
    return receiving.receive("twilio", InboundMessage(body=body, **{**usual, **values}))


def in_force():
    return list(OptOut.objects.in_force().values_list("our_address", "their_address", "source"))


@pytest.mark.parametrize(
    "word",
    [
        "STOP",
        " stop ",
        "S T O P",
        "Stop.",
        "opt out",
        "OptOut",
        "REVOKE",
        "end",
        "Quit!",
        "cancel",
        "Unsubscribe",
        "ＳＴＯＰ",
        "stop" + " " * 200,
    ],
)
def test_the_fccs_words_stop_in_any_case_and_spacing(word):
    text(word)
    assert in_force() == [(US, THEM, "keyword")]


@pytest.mark.parametrize("body", ["Don't stop", "stop it please", "", "!!!", "x" * 5000, "endless"])
def test_other_texts_stop_nothing(body):
    assert keyword_in(body) != "stop"


def test_what_twilio_recognised_is_worth_more_than_the_words():
    text("Basta", keyword="stop")
    assert in_force() == [(US, THEM, "keyword")]


def test_start_lifts_it_and_both_are_in_the_timeline():
    stop, start = text("STOP"), text("start", sid="SM2")
    assert in_force() == []
    assert OptOut.objects.get().lifted_by == "keyword"
    assert [each.events.last().status for each in (stop, start)] == ["opted_out", "opted_in"]


def test_a_start_that_lifts_nothing_says_nothing():
    assert [event.status for event in text("YES").events.all()] == ["received"]


def test_stop_twice_is_one_opt_out():
    text("STOP"), text("STOP", sid="SM2")
    assert OptOut.objects.count() == 1


def test_a_mail_that_says_stop_is_a_mail():
    text("STOP", channel="email", sender="bob@example.com", recipient="ann@example.com")
    assert in_force() == []


@pytest.mark.parametrize("type_", ["sms", "mms"])
def test_a_message_to_somebody_who_stopped_fails_at_once(accept, type_):
    text("STOP")
    message = accept(type=type_)
    row = Message.objects.get(pk=message.pk)
    assert (message.status, row.status, row.error_code) == ("failed", "failed", "recipient_opted_out")
    assert row.failed_at
    assert [event.status for event in row.events.all()] == ["failed"]


def test_others_and_other_senders_are_not_meant(accept):
    text("STOP")
    assert accept(recipient="+15550000001").status == "pending"
    assert accept(sender="+15550000002").status == "pending"
    assert accept(type="email", sender="a@example.com", recipient="b@example.com").status == "pending"


def test_a_stop_that_arrives_after_the_message_was_accepted_wins(accept, providers):
    message = accept()
    text("STOP")
    delivery.deliver_due("sms")
    row = Message.objects.get(pk=message.pk)
    assert (row.status, row.error_code, row.attempts) == ("failed", "recipient_opted_out", 0)
    assert [event.status for event in row.events.all()] == ["pending", "failed"]
    assert providers.ledger() == []


def test_a_message_that_is_sent_in_the_request_is_looked_at_as_well(accept, providers):
    message = accept()
    text("STOP")
    delivery.deliver_now(message)
    assert (Message.objects.get(pk=message.pk).error_code, providers.ledger()) == ("recipient_opted_out", [])


def test_what_waits_behind_somebody_who_stopped_is_sent_in_the_same_go(accept, providers, settings):
    settings.CALLS_IN_FLIGHT = 1
    accept()
    text("STOP")
    other = accept(recipient="+15550000001")
    delivery.deliver_due("sms")
    assert Message.objects.get(pk=other.pk).status == "sent"


def test_twilios_own_refusal_opts_out(accept, providers):
    accept(recipient="+15005550004")  # the sandbox answers 21610
    delivery.deliver_due("sms")
    assert Message.objects.get().error_code == "21610"
    assert in_force() == [(US, "+15005550004", "provider")]


@pytest.fixture
def mailed(accept):
    message = accept(type="email", sender="ann@example.com", recipient="Bob@example.com", provider="sendgrid")
    claim("email")
    return message


def report(message, reason, at=None):
    told = DeliveryReport(
        provider_message_id="",
        status=None,
        provider_status=reason,
        message_id=message.id,
        opt_out=reason,
        occurred_at=at,
    )
    return Message.objects.apply_report("sendgrid", told)


@pytest.mark.parametrize("reason", ["unsubscribe", "spam_report", "bounce", "provider"])
def test_what_sendgrid_reports_opts_out(mailed, reason, accept):
    report(mailed, reason)
    assert in_force() == [("ann@example.com", "Bob@example.com", reason)]
    again = accept(type="email", sender="ann@example.com", recipient="bob@EXAMPLE.com", provider="sendgrid")
    assert again.status == "failed"


def test_an_old_report_that_is_replayed_does_not_undo_a_later_lift(mailed):
    an_hour_ago = timezone.now() - timedelta(hours=1)
    report(mailed, "unsubscribe", an_hour_ago)
    OptOut.objects.lift(source="staff")
    report(mailed, "unsubscribe", an_hour_ago)
    assert in_force() == []
    report(mailed, "unsubscribe", timezone.now())
    assert len(in_force()) == 1


@pytest.mark.parametrize(("said", "holds"), [(["START", "STOP"], True), (["STOP", "START"], False)])
def test_what_comes_late_changes_nothing_that_was_said_after_it(said, holds):
    now = timezone.now()
    earlier, later = said
    text(later, sid="SM2", occurred_at=now - timedelta(minutes=1))
    text(earlier, sid="SM1", occurred_at=now - timedelta(hours=1))
    assert bool(in_force()) == holds


def test_no_pair_has_two_opt_outs_in_force():
    values = {"channel_type": "sms", "our_address": US, "their_address": THEM, "source": "staff"}
    OptOut.objects.create(**values, opted_out_at=timezone.now())
    with pytest.raises(IntegrityError):
        OptOut.objects.create(**values, opted_out_at=timezone.now())


def link_of(message):
    return mail_links.unsubscribe_url(message.id).removeprefix(django_settings.PUBLIC_URL)


def test_one_click_unsubscribes(client, mailed):
    page = client.post(link_of(mailed), "List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded")
    assert page.status_code == 200
    assert in_force() == [("ann@example.com", "Bob@example.com", "one_click")]


def test_opening_the_link_only_asks(client, mailed):
    page = client.get(link_of(mailed))
    assert (page.status_code, in_force()) == (200, [])
    assert b"ann@example.com" in page.content
    assert b"Bob" not in page.content
    client.post(link_of(mailed))
    assert b"Done" in client.get(link_of(mailed)).content


@pytest.mark.parametrize("token", ["x", "a" * 42, "a" * 100])
def test_a_made_up_link_is_404(client, mailed, token):
    assert client.post(f"/unsubscribe/{token}").status_code == 404
    assert in_force() == []


def test_a_token_for_answers_does_not_unsubscribe(client, mailed, settings):
    settings.INBOUND_EMAIL_DOMAIN = "in.example.com"
    token = mail_links.reply_address(mailed.id).partition("+")[2].partition("@")[0]
    assert client.post(f"/unsubscribe/{token}").status_code == 404


def api(client, **body):
    return client.post("/api/v1/opt-outs/", body, content_type="application/json")


def test_a_client_opts_out_lists_and_lifts(client, accept):
    made = api(client, channel_type="sms", our_address="+1 555 123 4567", their_address=THEM)
    assert (made.status_code, made.json()["source"], made.json()["lifted_at"]) == (201, "client", None)
    assert [each["id"] for each in client.get("/api/v1/opt-outs/").json()["opt_outs"]] == [made.json()["id"]]
    assert accept().status == "failed"
    for _ in range(2):
        assert client.delete(made["Location"]).status_code == 204
    assert client.get("/api/v1/opt-outs/").json()["total"] == 0
    assert client.get("/api/v1/opt-outs/?lifted=true").json()["opt_outs"][0]["lifted_by"] == "client"
    assert accept().status == "pending"


def test_opting_out_twice_answers_the_one_that_holds(client):
    first, second = (api(client, channel_type="sms", our_address=US, their_address=THEM) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"channel_type": "fax", "our_address": US, "their_address": THEM}, "invalid_choice"),
        ({"channel_type": "sms", "our_address": US, "their_address": "nobody"}, "invalid_phone"),
        ({"channel_type": "email", "our_address": US, "their_address": "a@example.com"}, "invalid_email"),
        ({"channel_type": "sms", "our_address": US}, "required"),
        ({"channel_type": "sms", "our_address": US, "their_address": THEM, "x": 1}, "unknown_field"),
    ],
)
def test_a_bad_opt_out_is_422(client, body, code):
    answer = api(client, **body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)


def test_the_api_answers_201_and_says_why_it_failed(client):
    text("STOP")
    answer = client.post(
        "/api/v1/messages/send", {"from": US, "to": THEM, "type": "sms", "body": "Hi"}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["status"], answer.json()["error_code"]) == (
        201,
        "failed",
        "recipient_opted_out",
    )


def test_staff_opt_out_and_lift(admin_client):
    form = {"channel_type": "sms", "our_address": US, "their_address": "+1 (555) 987-6543"}
    assert admin_client.post("/admin/conversations/optout/add/", form).status_code == 302
    assert in_force() == [(US, THEM, "staff")]
    admin_client.post(
        "/admin/conversations/optout/", {"action": "lift", "_selected_action": [str(OptOut.objects.get().pk)]}
    )
    assert OptOut.objects.get().lifted_by == "staff"


def test_unsubscribe_is_for_email_only(client):
    body = {"from": US, "to": THEM, "type": "sms", "body": "Hi", "unsubscribe": True}
    answer = client.post("/api/v1/messages/send", body, content_type="application/json")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "only_for_email")


def test_a_database_that_is_away_is_503_so_that_the_click_is_tried_again(client, mailed, monkeypatch):
    def away(*_, **__):
        raise OperationalError

    monkeypatch.setattr(Message, "opt_recipient_out", away)
    answer = client.post(link_of(mailed))
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
