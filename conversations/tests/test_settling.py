"""Doubts, settled by what the provider's records hold and by nothing else."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError
from django.utils import timezone

from conversations import delivery, settling, tasks
from conversations.models import Message, OptOut
from conversations.tests.conftest import claim, forget_accounts
from providers.base import DeliveryReport

pytestmark = pytest.mark.django_db

LATER = timedelta(seconds=1)


def doubt(accept, sandbox, fault, **values):
    """A message whose call ended without an answer, and whose time to be settled has come."""
    provider = "sendgrid" if values.get("type") == "email" else "twilio"
    sandbox.dial(callback_delay_ms=3_600_000)  # no callback settles it
    sandbox.fault(provider, fault)
    message = accept(**{"provider": provider, **values})
    delivery.deliver_due(message.channel)
    message.refresh_from_db()
    assert (message.status, message.settle_at > timezone.now()) == ("uncertain", True)
    come_due()
    return message


def come_due(**times):
    Message.objects.filter(status="uncertain").update(settle_at=timezone.now(), **times)


def mail(accept, sandbox, fault="reset_accepted", **values):
    who = {"sender": "ann@example.com", "recipient": "bob@example.com"}
    return doubt(accept, sandbox, fault, type="email", **{**who, **values})


def look():
    come_due()
    return dict(settling.settle_due())


def statuses(*messages):
    return [Message.objects.get(pk=message.pk).status for message in messages]


def timeline(message):
    return [event.status for event in message.events.all()]


@pytest.mark.parametrize("fault", ["reset_accepted", "500_accepted", "garbage"])
@pytest.mark.parametrize("type_", ["sms", "mms"])
def test_what_the_provider_has_was_sent(accept, providers, fault, type_):
    media = {"attachments": ["https://example.com/a.png"]} if type_ == "mms" else {}
    message = doubt(accept, providers, fault, type=type_, **media)
    assert look() == {"sent": 1}
    message.refresh_from_db()
    [entry] = providers.ledger()
    assert (message.status, message.provider_message_id) == ("sent", entry["provider_message_id"])
    assert (message.settle_at, message.error_code) == (None, "")


@pytest.mark.parametrize("fault", ["reset", "500"])
def test_what_the_provider_does_not_have_after_two_looks_is_sent_again_and_once(accept, providers, fault):
    message = doubt(accept, providers, fault)
    assert look() == {"waiting": 1}
    assert statuses(message) == ["uncertain"]
    assert look() == {"pending": 1}
    delivery.deliver_due("sms")
    message.refresh_from_db()
    assert (message.status, message.attempts, len(providers.ledger())) == ("sent", 2, 1)


def test_a_late_acceptance_between_the_looks_is_found(accept, providers):
    message = doubt(accept, providers, "reset")
    look()
    values = {"sender": message.sender, "recipient": message.recipient, "body": message.body, "provider": "twilio"}
    late = accept("thread", **values)
    delivery.deliver_due("sms")
    late.delete()
    assert look() == {"sent": 1}


def test_nobody_gets_what_belongs_to_another_message(accept, providers):
    accept()
    delivery.deliver_due("sms")
    message = doubt(accept, providers, "reset")
    assert look() == {"waiting": 1}
    assert look() == {"pending": 1}
    assert Message.objects.get(pk=message.pk).provider_message_id == ""


def test_other_texts_between_the_same_two_are_no_match(accept, providers):
    accept(body="Other")
    delivery.deliver_due("sms")
    Message.objects.update(provider_message_id="")
    doubt(accept, providers, "reset")
    look()
    assert look() == {"pending": 1}


def test_what_was_there_before_the_message_is_not_it(accept, providers):
    message = doubt(accept, providers, "reset_accepted")
    Message.objects.filter(pk=message.pk).update(created_at=timezone.now() + timedelta(hours=1))
    look()
    assert look() == {"pending": 1}


def test_twins_that_all_arrived_get_one_each(accept, providers):
    one, other = (doubt(accept, providers, "reset_accepted") for _ in range(2))
    assert look() == {"sent": 2}
    ids = {Message.objects.get(pk=each.pk).provider_message_id for each in (one, other)}
    assert ids == {entry["provider_message_id"] for entry in providers.ledger()}


def test_twins_of_which_one_arrived_wait_for_a_callback(accept, providers):
    twins = [doubt(accept, providers, fault) for fault in ("reset", "reset_accepted")]
    for _ in range(3):
        assert look() == {"waiting": 2}
    assert statuses(*twins) == ["uncertain", "uncertain"]


def test_a_callback_that_settles_one_twin_lets_the_other_be_settled(accept, providers):
    absent, there = (doubt(accept, providers, fault) for fault in ("reset", "reset_accepted"))
    [entry] = providers.ledger()
    report = settling.DeliveryReport(
        provider_message_id=entry["provider_message_id"],
        status="sent",
        provider_status="sent",
        message_id=there.pk,
        attempt=1,
    )
    Message.objects.apply_report("twilio", report)
    look(), look()
    assert statuses(absent, there) == ["pending", "sent"]


def test_twins_past_their_time_are_settled_by_their_number(accept, providers):
    twins = [doubt(accept, providers, fault) for fault in ("reset", "reset_accepted")]
    come_due(settle_by=timezone.now())
    assert dict(settling.settle_due()) == {"sent": 1, "pending": 1}
    assert statuses(*twins) == ["sent", "pending"]


def test_a_twin_whose_time_has_not_come_keeps_the_others_waiting(accept, providers):
    message, young = (doubt(accept, providers, "reset") for _ in range(2))
    later = timezone.now() + timedelta(seconds=100)
    for _ in range(3):
        Message.objects.filter(pk=message.pk).update(settle_at=timezone.now())
        Message.objects.filter(pk=young.pk).update(settle_at=later)
        assert dict(settling.settle_due()) == {"waiting": 1}
    assert statuses(message, young) == ["uncertain", "uncertain"]


def test_a_look_that_took_too_long_proves_nothing(accept, providers):
    doubt(accept, providers, "reset")
    [stale] = Message.objects.take_doubts(limit=1)
    come_due()
    Message.objects.take_doubts(limit=1)
    assert settling.settle(stale, []) == {}
    assert Message.objects.get().looks == 0


def test_texts_that_differ_in_white_space_alone_are_twins(accept, providers):
    absent = doubt(accept, providers, "reset", body="Hello\nBob")
    there = doubt(accept, providers, "reset_accepted", body="Hello Bob")
    for _ in range(3):
        assert look() == {"waiting": 2}
    assert statuses(absent, there) == ["uncertain", "uncertain"]


def test_twins_with_other_pictures_are_never_settled_by_their_number(accept, providers):
    pictures = [["https://example.com/a.png"], ["https://example.com/b.png"]]
    twins = [
        doubt(accept, providers, fault, type="mms", body="", attachments=picture)
        for fault, picture in zip(("reset", "reset_accepted"), pictures, strict=True)
    ]
    come_due(settle_by=timezone.now())
    assert dict(settling.settle_due()) == {"unresolved": 2}
    assert len(providers.ledger()) == 1
    assert statuses(*twins) == ["unresolved", "unresolved"]


def test_twins_in_flight_are_waited_for_past_the_time_for_doubt(accept, providers):
    doubt(accept, providers, "reset_accepted")
    accept("thread")
    claim("sms")
    come_due(settle_by=timezone.now())
    assert dict(settling.settle_due()) == {"waiting": 1}


def test_twins_that_fell_into_doubt_at_different_times_are_settled_together(accept, providers, settings):
    one, other = (doubt(accept, providers, "reset_accepted") for _ in range(2))
    past = timezone.now() + timedelta(seconds=settings.SETTLE_DEADLINE_SECONDS - 10)
    Message.objects.filter(pk=one.pk).update(settle_at=timezone.now(), settle_by=past)
    Message.objects.filter(pk=other.pk).update(settle_at=timezone.now() + timedelta(seconds=15), settle_by=past)
    assert dict(settling.settle_due()) == {"sent": 2}


def test_time_in_which_nobody_looked_is_no_time_for_doubt(accept, providers):
    message = mail(accept, providers)
    an_hour_ago = timezone.now() - timedelta(hours=1)
    Message.objects.update(settle_at=an_hour_ago, settle_by=an_hour_ago + timedelta(minutes=15))
    assert dict(settling.settle_due()) == {"waiting": 1}
    assert statuses(message) == ["uncertain"]


def test_a_mail_is_sent_again_by_policy_once_and_then_held(accept, providers):
    message = mail(accept, providers, on_unresolved="resend")
    come_due(settle_by=timezone.now())
    assert dict(settling.settle_due()) == {"pending": 1}
    providers.fault("sendgrid", "reset_accepted")
    delivery.deliver_due("email")
    come_due(settle_by=timezone.now())
    assert dict(settling.settle_due()) == {"unresolved": 1}
    assert (statuses(message), len(providers.ledger())) == (["unresolved"], 2)


def found(body, sid="SM-hidden"):
    report = settling.DeliveryReport(provider_message_id=sid, status="sent", provider_status="sent")
    return settling.FoundMessage(provider_message_id=sid, body=body, created_at=timezone.now(), report=report)


@pytest.mark.parametrize(("body", "looks"), [("", 0), ("Something else", 1)])
def test_a_list_that_hides_its_texts_proves_no_absence(accept, providers, body, looks):
    doubt(accept, providers, "reset")
    [taken] = Message.objects.take_doubts(limit=1)
    assert settling.settle(taken, [found(body)]) == {"waiting": 1}
    assert Message.objects.get().looks == looks


def test_a_provider_that_did_not_answer_the_last_time_is_asked_again(accept, providers, settings):
    message = sent_without_report(accept, providers)
    hours_ago = timezone.now() - timedelta(hours=6)
    Message.objects.update(sent_at=hours_ago, report_due_at=timezone.now())
    settings.TWILIO_BASE_URL = "http://127.0.0.1:9"
    forget_accounts()
    settling.ask_overdue()
    assert Message.objects.get(pk=message.pk).report_due_at > timezone.now()


def test_a_twin_in_flight_keeps_the_others_waiting(accept, providers):
    message = doubt(accept, providers, "reset_accepted")
    accept("thread")
    claim("sms")
    assert look() == {"waiting": 1}
    assert statuses(message) == ["uncertain"]


def test_a_provider_that_can_not_be_asked_proves_nothing(accept, providers, settings):
    message = doubt(accept, providers, "reset")
    settings.TWILIO_BASE_URL = "http://127.0.0.1:9"
    forget_accounts()
    for _ in range(3):
        come_due(settle_by=timezone.now() - LATER)
        assert dict(settling.settle_due()) == {}
    message.refresh_from_db()
    assert (message.status, message.looks) == ("uncertain", 0)


def test_a_doubt_is_looked_at_by_one_at_a_time(accept, providers):
    doubt(accept, providers, "reset")
    assert len(Message.objects.take_doubts(limit=10)) == 1
    assert Message.objects.take_doubts(limit=10) == []


def test_a_mail_in_doubt_waits_for_its_events_and_is_then_held(accept, providers):
    message = mail(accept, providers)
    assert look() == {"waiting": 1}
    come_due(settle_by=timezone.now())
    assert dict(settling.settle_due()) == {"unresolved": 1}
    assert statuses(message) == ["unresolved"]
    assert message.events.last().evidence == "assumed"


@pytest.fixture
def activity(providers, settings):
    """SendGrid's account has the add-on that shows what became of mails."""
    settings.SENDGRID_EMAIL_ACTIVITY = True
    forget_accounts()
    return providers


def test_a_mail_that_sendgrids_activity_shows_was_sent(accept, activity):
    message = mail(accept, activity)
    assert look() == {"sent": 1}
    message.refresh_from_db()
    [entry] = activity.ledger()
    assert (message.status, message.provider_message_id) == ("sent", entry["provider_message_id"])


def test_mails_with_the_same_words_are_told_apart_by_our_ids(accept, activity):
    lost, arrived = mail(accept, activity, "reset"), mail(accept, activity)
    come_due(settle_by=timezone.now())
    settling.settle_due()
    assert statuses(lost, arrived) == ["unresolved", "sent"]


def test_a_mail_that_the_activity_does_not_show_may_still_come(accept, activity):
    message = mail(accept, activity, "reset")
    for _ in range(3):
        assert look() == {"waiting": 1}
    message.refresh_from_db()
    assert (message.status, message.looks) == ("uncertain", 0)


def test_an_activity_that_can_not_be_asked_lets_no_doubt_last_for_ever(accept, activity, settings):
    message = mail(accept, activity)
    settings.SENDGRID_BASE_URL = "http://127.0.0.1:9"
    forget_accounts()
    come_due(settle_by=timezone.now() - timedelta(hours=1))
    assert dict(settling.settle_due()) == {"waiting": 1}
    come_due(updated_at=timezone.now() - timedelta(hours=25))
    assert dict(settling.settle_due()) == {"unresolved": 1}
    assert statuses(message) == ["unresolved"]


def test_mails_that_nobody_had_time_to_ask_about_are_asked_about_later(accept, activity):
    """The feed takes a few questions a minute, for however many doubts."""
    messages = [mail(accept, activity, recipient=f"bob{number}@example.com") for number in range(8)]
    come_due(settle_by=timezone.now())
    assert settling.settle_due() == {"sent": 6, "waiting": 2}
    forget_accounts()  # and with them how often they were asked
    activity.dial(activity_per_minute=100)
    assert look() == {"sent": 2}
    assert set(statuses(*messages)) == {"sent"}


def test_a_text_that_was_held_long_ago_is_no_twin_of_todays(accept, providers):
    held = doubt(accept, providers, "reset")
    Message.objects.update(status="unresolved", settle_at=None, updated_at=timezone.now() - timedelta(hours=1))
    message = doubt(accept, providers, "reset_accepted")
    assert look() == {"sent": 1}
    assert statuses(held, message) == ["unresolved", "sent"]


def test_a_text_that_was_held_just_now_may_be_what_the_provider_shows(accept, providers):
    doubt(accept, providers, "reset")
    Message.objects.update(status="unresolved", settle_at=None, updated_at=timezone.now())
    doubt(accept, providers, "reset_accepted")
    assert look() == {"waiting": 1}


@pytest.mark.parametrize("by", ["message", "setting"])
def test_a_mail_is_sent_again_where_that_was_asked_for_and_says_that_it_may_be_twice(accept, providers, settings, by):
    settings.ON_UNRESOLVED = {**settings.ON_UNRESOLVED, "email": "resend" if by == "setting" else "hold"}
    message = mail(accept, providers, **({"on_unresolved": "resend"} if by == "message" else {}))
    come_due(settle_by=timezone.now())
    assert dict(settling.settle_due()) == {"pending": 1}
    assert timeline(message)[-2:] == ["possible_duplicate", "pending"]


def test_a_message_that_asks_to_be_held_is_held_whatever_the_setting_says(accept, providers, settings):
    settings.ON_UNRESOLVED = {**settings.ON_UNRESOLVED, "email": "resend"}
    message = mail(accept, providers, on_unresolved="hold")
    come_due(settle_by=timezone.now())
    settling.settle_due()
    assert statuses(message) == ["unresolved"]


def test_the_time_of_settling_counts_from_the_leases_end(accept, settings):
    accept()
    [message] = claim("sms")
    Message.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=5))
    tasks.sweep()
    lease_end = timezone.now() - timedelta(seconds=5)
    message.refresh_from_db()
    assert abs((message.settle_at - lease_end).total_seconds() - settings.SETTLE_SECONDS) < 2


def sent_without_report(accept, sandbox, **values):
    sandbox.dial(callback_delay_ms=50, drop_percent=100)
    message = accept(**values)
    delivery.deliver_due(message.channel)
    message.refresh_from_db()
    assert message.status == "sent"
    Message.objects.update(report_due_at=timezone.now())
    return message


def test_a_message_whose_report_is_overdue_is_asked_about(accept, providers):
    message = sent_without_report(accept, providers)
    while statuses(message) != ["delivered"]:
        Message.objects.filter(status="sent").update(report_due_at=timezone.now())
        settling.ask_overdue()
    message.refresh_from_db()
    assert (message.report_due_at, message.settle_at) == (None, None)


def test_it_is_asked_about_after_one_five_and_thirty_minutes_and_six_hours_and_then_no_more(accept, providers):
    message = sent_without_report(accept, providers)
    minutes = []
    for passed in (1, 5, 30, 360):
        Message.objects.update(sent_at=timezone.now() - timedelta(minutes=passed), report_due_at=timezone.now())
        [taken] = Message.objects.take_overdue_reports(limit=1)
        minutes.append(taken.report_due_at and round((taken.report_due_at - taken.sent_at).total_seconds() / 60))
    assert minutes == [5, 30, 360, None]
    assert statuses(message) == ["sent"]


def test_a_provider_without_a_way_to_be_asked_is_asked_once(accept, providers):
    message = sent_without_report(
        accept, providers, type="email", sender="a@example.com", recipient="b@example.com", provider="sendgrid"
    )
    assert settling.ask_overdue() == 0
    assert Message.objects.get(pk=message.pk).report_due_at is None


def test_a_report_ends_the_asking(accept, providers):
    message = sent_without_report(accept, providers)
    report = settling.DeliveryReport(
        provider_message_id="", status="delivered", provider_status="delivered", message_id=message.pk, attempt=1
    )
    Message.objects.apply_report("twilio", report)
    assert Message.objects.get(pk=message.pk).report_due_at is None


def test_the_sweep_rings_for_those_who_settle(accept, providers, monkeypatch):
    rung = []
    monkeypatch.setattr(tasks._doorbell, "publish", lambda task, *_: rung.append(task.name))
    tasks.sweep()
    assert rung == []
    doubt(accept, providers, "reset")
    tasks.sweep()
    assert rung == ["conversations.settle"]


def test_the_task_says_what_it_did(accept, providers):
    doubt(accept, providers, "reset_accepted")
    assert tasks.settle() == "sent 1, reported 0"


def report(message, status, sid, attempt=1, word=None):
    told = DeliveryReport(
        message_id=message.pk,
        provider_message_id=sid,
        status=status,
        provider_status=word or status,
        attempt=attempt,
    )
    assert Message.objects.apply_report("twilio", told)
    message.refresh_from_db()


def test_the_record_of_an_attempt_before_is_not_taken_for_the_one_in_doubt(accept, providers):
    providers.dial(callback_delay_ms=3_600_000)
    message = accept()
    delivery.deliver_due("sms")
    report(message, "undelivered", providers.ledger()[0]["provider_message_id"])
    Message.objects.retry(message.pk, "a person")
    providers.fault("twilio", "reset")
    delivery.deliver_due("sms")
    assert [look(), look(), look()] == [{"waiting": 1}, {"pending": 1}, {}]
    delivery.deliver_due("sms")
    message.refresh_from_db()
    assert (message.attempts, message.provider_message_id) == (3, providers.ledger()[1]["provider_message_id"])


def test_a_text_in_doubt_that_the_provider_has_named_is_asked_about_by_its_id(accept, providers):
    message = doubt(accept, providers, "reset_accepted")
    [entry] = providers.ledger()
    report(message, None, entry["provider_message_id"], word="sending")
    assert message.status == "uncertain"
    assert look() == {"sent": 1}
    assert statuses(message) == ["sent"]


def test_what_was_claimed_when_nobody_could_look_for_opt_outs_any_more_is_put_back(accept, providers, monkeypatch):
    message = accept()

    def away(*_):
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr("conversations.delivery.connection", SimpleNamespace(close=lambda: patch.undo()))
        patch.setattr(type(OptOut.objects.all()), "heeded_by_pseudonym", away)
        delivery.deliver_due("sms")
    message.refresh_from_db()
    assert (message.status, message.attempts, providers.ledger()) == ("pending", 0, [])
    delivery.deliver_due("sms")
    assert len(providers.ledger()) == 1
