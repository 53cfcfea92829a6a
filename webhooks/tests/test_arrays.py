"""Many events in one request: they cost one array, and none of them costs another its effect."""

import logging
import random

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from conversations.models import Message, MessageEvent, OptOut
from conversations.models import report as reports
from conversations.tests.conftest import accept, claim, in_threads  # noqa: F401
from webhooks import tasks
from webhooks.models import Receipt
from webhooks.tests.test_doors import event, sendgrid, twilio

pytestmark = pytest.mark.django_db


@pytest.fixture
def mailed(accept):  # noqa: F811
    """Mails to so many people, each in its first attempt."""

    def mailed_to(count):
        for number in range(count):
            accept(type="email", sender="ann@example.com", recipient=f"bob{number}@example.com", provider="sendgrid")
        return claim("email", limit=count)

    return mailed_to


def delivered(messages, **values):
    """What SendGrid says of them, each under the id that it has there."""
    return [event(each.pk, email=each.recipient, sg_message_id=f"{each.pk.hex}.1", **values) for each in messages]


def statements_of(client, told):
    with CaptureQueriesContext(connection) as captured:
        assert sendgrid(client, told).status_code == 200
    return len(captured)


def test_a_hundred_events_take_as_many_statements_as_one(client, mailed):
    first, *others = mailed(101)
    for each in (first, *others):
        Message.objects.filter(pk=each.pk).update(provider_message_id=each.pk.hex)
    assert statements_of(client, delivered([first])) == statements_of(client, delivered(others)) == 5
    assert Message.objects.filter(status="delivered").count() == 101


def test_a_status_of_twilio_goes_the_same_way(client, accept):  # noqa: F811
    accept()
    [message] = claim()
    Message.objects.update(provider_message_id="SM" + "1" * 32)
    with CaptureQueriesContext(connection) as captured:
        twilio(client, message.pk)
    assert len(captured) == 5


@pytest.mark.django_db(transaction=True)
def test_an_array_that_comes_five_times_at_once_and_shuffled_counts_once(mailed, caplog):
    told = delivered(mailed(60), name="processed") + delivered(Message.objects.all())

    def come(number):
        return sendgrid(Client(), random.Random(number).sample(told, len(told))).status_code

    with caplog.at_level(logging.WARNING):
        assert in_threads(5, come) == [200] * 5
    tasks.sweep()
    assert set(Message.objects.values_list("status", flat=True)) == {"delivered"}
    assert MessageEvent.objects.filter(evidence="reported").count() == Receipt.objects.count() == 120
    assert "at once" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_arrays_about_the_same_mails_in_another_order_do_not_block_each_other(mailed, caplog):
    mails = mailed(60)
    arrays = [delivered(mails, timestamp=number) for number in range(4)]

    def come(number):
        return sendgrid(Client(), random.Random(number).sample(arrays[number], len(mails))).status_code

    with caplog.at_level(logging.WARNING):
        assert in_threads(4, come) == [200] * 4
    assert MessageEvent.objects.filter(status="delivered").count() == 60
    assert "at once" not in caplog.text


def test_an_event_that_fails_costs_no_other_its_effect(client, mailed, monkeypatch):
    messages, take_report = mailed(5), reports.take_report

    def unless_it_is_the_third(news, message, received):
        assert message.pk != messages[2].pk
        take_report(news, message, received)

    monkeypatch.setattr("conversations.models.report.take_report", unless_it_is_the_third)
    assert sendgrid(client, delivered(messages)).status_code == 200
    assert Message.objects.filter(status="delivered").count() == 4
    assert Receipt.objects.filter(result="applied", error="").count() == 4
    assert Receipt.objects.get(result="").error == "AssertionError"


def test_strangers_events_wait_and_hold_up_nothing(client, mailed):
    [message] = mailed(1)
    strangers = [event("", sg_message_id=f"s{number}.1") for number in range(3)]
    sendgrid(client, [*strangers, *delivered([message]), event("", "from the future")])
    results = Receipt.objects.order_by("id").values_list("result", "attempts")
    assert list(results) == [("orphan", 1)] * 3 + [("applied", 0), ("kept", 0)]


def test_a_timeline_has_the_events_of_an_array_in_its_order(client, mailed):
    [message] = mailed(1)
    words = ["processed", "deferred", "open", "delivered", "click", "open"]
    sendgrid(client, [event(message.pk, word, timestamp=number) for number, word in enumerate(words)])
    timeline = message.events.filter(evidence="reported").values_list("status", flat=True)
    assert list(timeline) == ["sent", "deferred", "open", "delivered", "click"]


def test_two_mails_under_one_id_of_the_providers_both_count_and_one_has_it(client, mailed):
    messages = mailed(2)
    sendgrid(client, [event(each.pk, email=each.recipient) for each in messages])
    assert list(Message.objects.values_list("status", flat=True)) == ["delivered"] * 2
    assert sorted(Message.objects.values_list("provider_message_id", flat=True)) == ["", "abc"]
    assert MessageEvent.objects.get(code="provider_id_taken").message_id == messages[1].pk


def test_everybody_in_an_array_who_opted_out_gets_nothing_more(client, mailed):
    messages = mailed(3)
    sendgrid(client, delivered(messages[1:], name="spamreport"))
    opted_out = OptOut.objects.in_force().values_list("their_address", flat=True)
    assert set(opted_out) == {each.recipient for each in messages[1:]}
