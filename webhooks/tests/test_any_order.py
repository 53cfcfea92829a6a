"""Callbacks in any order and any number end in the same row."""

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.models import Message, OptOut
from conversations.models.outcome import Outcome
from conversations.models.status import Status
from conversations.tests.conftest import accept  # noqa: F401
from webhooks import tasks
from webhooks.models import Receipt
from webhooks.tests.test_doors import event, mailed, sendgrid, sent, twilio  # noqa: F401

pytestmark = pytest.mark.django_db

SID = "SM" + "1" * 32
MAIL_EVENTS = {
    name: {"timestamp": 1_700_000_000 + second, **details}
    for second, (name, details) in enumerate(
        {
            "processed": {},
            "deferred": {},
            "delivered": {},
            "open": {},
            "click": {"url": "https://example.com/"},
            "bounce": {"type": "bounce", "status": "5.1.1"},
            "spamreport": {},
            "group_unsubscribe": {"asm_group_id": 1},
        }.items()
    )
}


def in_any_order(*facts):
    """Every one of these at least once, some more often, shuffled."""
    return st.lists(st.sampled_from(facts), max_size=5).flatmap(lambda more: st.permutations([*facts, *more]))


def whatever_the_order(test):
    """Run a test for many orders; each starts from the rows as the fixtures made them."""
    quietly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    return quietly(test)


def row(message):
    """All that must not depend on the order; times of Twilio's callbacks are when they came."""
    message.refresh_from_db()
    times = message.sent_at, message.delivered_at, message.failed_at
    events = sorted({(each.status, each.code) for each in message.events.all()})
    return message.status, message.provider_message_id, message.error_code, times, events


def accepted_by_provider(message):
    outcome = Outcome(message_id=message.pk, attempt=1, status=Status.SENT, provider_message_id=SID)
    Message.objects.record_outcomes([outcome])


@whatever_the_order
@given(order=in_any_order("answer", "sent", "delivered", "read"))
def test_an_sms_that_arrives(client, sent, order):  # noqa: F811
    with transaction.atomic():
        for fact in order:
            accepted_by_provider(sent) if fact == "answer" else twilio(client, sent.pk, fact)
        status, sid, code, times, _ = row(sent)
        assert (status, sid, code, [bool(each) for each in times]) == ("delivered", SID, "", [True, True, False])
        assert sent.events.filter(status="delivered", evidence="reported").count() == 1
        assert Receipt.objects.count() == 3
        transaction.set_rollback(True)


@whatever_the_order
@given(order=in_any_order("answer", "doubt", "sent", "undelivered"))
def test_an_sms_that_was_in_doubt_and_does_not_arrive(client, sent, order):  # noqa: F811
    with transaction.atomic():
        for fact in order:
            if fact == "doubt":
                Message.objects.record_outcomes([Outcome(message_id=sent.pk, attempt=1, status=Status.UNCERTAIN)])
            elif fact == "answer":
                accepted_by_provider(sent)
            else:
                twilio(client, sent.pk, fact, **({"ErrorCode": "30003"} if fact == "undelivered" else {}))
        assert row(sent)[:3] == ("undelivered", SID, "30003")
        transaction.set_rollback(True)


@whatever_the_order
@given(order=in_any_order(*MAIL_EVENTS), size=st.integers(1, 5))
def test_a_mail_with_all_that_can_happen_to_it(client, mailed, order, size):  # noqa: F811
    told = [event(mailed.pk, name, **MAIL_EVENTS[name]) for name in order]
    with transaction.atomic():
        for start in range(0, len(told), size):
            assert sendgrid(client, told[start : start + size]).status_code == 200
        status, provider_id, code, times, events = row(mailed)
        assert (status, provider_id, code) == ("undelivered", "abc", "5.1.1")
        assert [int(each.timestamp()) - 1_700_000_000 for each in times] == [0, 2, 5]
        assert {each for each, _ in events} >= {"open", "click", "deferred", "spamreport", "group_unsubscribe"}
        assert OptOut.objects.in_force().count() == 1
        transaction.set_rollback(True)


@whatever_the_order
@given(order=in_any_order("answer", "delivered", "sweep"))
def test_a_callback_that_names_only_the_providers_id_finds_its_message_in_the_end(client, sent, order):  # noqa: F811
    with transaction.atomic():
        for fact in [*order, "sweep"]:
            if fact == "answer":
                accepted_by_provider(sent)
            elif fact == "delivered":
                twilio(client, "")
            else:
                Receipt.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at="2020-01-01T00:00Z")
                tasks.sweep()
        assert row(sent)[0] == "delivered"
        transaction.set_rollback(True)
