"""Senders that may send so many messages a second."""

from collections import Counter
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from conversations import delivery, tasks
from conversations.addresses import sender_type
from conversations.models import Message, SenderPace
from conversations.tests.conftest import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

SENDER = "+15551234567"


@pytest.fixture(autouse=True)
def one_a_second(settings):
    settings.SENDER_RATES = {"long_code": 1.0}


def waits():
    """How long the messages that wait still have to, in whole seconds, longest accepted first."""
    now = timezone.now()
    waiting = Message.objects.filter(status="pending").order_by("created_at")
    return [round((message.next_attempt_at - now).total_seconds()) for message in waiting]


def some(accept, count, **values):
    return [accept("thread", recipient=f"+155500000{number:02}", **values) for number in range(count)]


def as_if_it_were_later(**delta):
    """Everything planned or remembered is so much longer ago."""
    earlier = timedelta(**delta)
    for message in Message.objects.filter(status="pending"):
        Message.objects.filter(pk=message.pk).update(next_attempt_at=message.next_attempt_at - earlier)
    for pace in SenderPace.objects.all():
        pace.next_at, pace.queue_ends_at = pace.next_at - earlier, pace.queue_ends_at - earlier
        pace.save()


def test_what_comes_too_fast_waits_for_its_turn_with_a_time_and_without_an_attempt(accept, providers):
    some(accept, 5)
    assert delivery.deliver_due("sms") == {"sent": 2}
    assert waits() == [1, 2, 3]
    held = Message.objects.filter(status="pending")
    assert set(held.values_list("attempts", "error_code")) == {(0, "paced")}
    assert [event.code for event in held.first().events.all()] == ["", "paced"]


def test_turns_come_in_the_order_of_acceptance_and_nobody_new_overtakes(accept, providers):
    earlier = some(accept, 4)
    delivery.deliver_due("sms")
    late = accept("thread", recipient="+15550000099")
    delivery.deliver_due("sms")
    for _ in range(3):
        as_if_it_were_later(seconds=1)
        delivery.deliver_due("sms")
    assert [entry["message_id"] for entry in providers.ledger()] == [str(each.pk) for each in [*earlier, late]]


def test_a_turn_that_somebody_waits_for_is_nobody_elses():
    now = timezone.now()
    pace = SenderPace(sender=SENDER, next_at=now, queue_ends_at=now + timedelta(seconds=3))
    assert pace.turn(now, 1.0, False) == now + timedelta(seconds=3)
    assert pace.turn(now, 1.0, True) == now


def test_whose_turn_has_come_is_rung_for_at_once(accept, providers, monkeypatch):
    rung = []
    monkeypatch.setattr(tasks, "ring", rung.append)
    monkeypatch.setattr(tasks.broker, "waiting", lambda queue: 0)
    some(accept, 3)
    assert not tasks.ring_overdue("sms", test=False)
    delivery.deliver_due("sms")
    as_if_it_were_later(seconds=1)
    assert tasks.ring_overdue("sms", test=False)
    assert [message.error_code for message in rung] == ["paced"]


def test_a_pause_of_the_worker_is_made_good_by_a_few_messages_only(accept, providers):
    some(accept, 10)
    delivery.deliver_due("sms")
    as_if_it_were_later(minutes=5)
    assert delivery.deliver_due("sms") == {"sent": 2}
    assert min(waits()) > 0


def test_who_was_held_back_keeps_the_place_however_long_nobody_sent(accept, providers):
    earlier = some(accept, 8)
    delivery.deliver_due("sms")
    as_if_it_were_later(minutes=5)
    late = some(accept, 2)
    assert delivery.deliver_due("sms") == {"sent": 2}
    assert waits() == [1, 2, 3, 4, 5, 6]
    for _ in range(6):
        as_if_it_were_later(seconds=1)
        delivery.deliver_due("sms")
    assert [entry["message_id"] for entry in providers.ledger()] == [str(each.pk) for each in [*earlier, *late]]


def test_whose_turn_it_is_leaves_although_the_others_can_not_be_put_back(accept, providers, monkeypatch):
    real = delivery.record

    def away(outcomes):
        if any(outcome.error_code == "paced" for outcome in outcomes):
            raise OperationalError
        real(outcomes)

    monkeypatch.setattr(delivery, "record", away)
    some(accept, 3)
    assert delivery.deliver_due("sms") == {"sent": 2}


def test_other_senders_go_at_their_own_pace(accept, providers, settings):
    settings.SENDER_RATES = {"long_code": 1.0, "+15557654321": 2.0}
    some(accept, 3), some(accept, 2, sender="+18005551234"), some(accept, 5, sender="+15557654321")
    assert delivery.deliver_due("sms") == {"sent": 7}
    held = Counter(Message.objects.filter(status="pending").values_list("sender", flat=True))
    assert held == {SENDER: 1, "+15557654321": 2}


def test_many_workers_at_once_give_out_no_turn_twice(accept, providers):
    some(accept, 8)
    tallies = in_threads(4, lambda number: delivery.deliver_due("sms"))
    assert sum(tally["sent"] for tally in tallies) == 2
    assert waits() == [1, 2, 3, 4, 5, 6]


def test_flower_shows_until_when_the_message_it_rang_for_waits(accept, providers):
    first, _, third = some(accept, 3)
    delivery.deliver_due("sms")
    assert 0 < tasks.seconds_until_retry(str(third.pk)) <= 1
    assert tasks.seconds_until_retry(str(first.pk)) is None


def test_without_rates_nobody_is_asked(accept, providers, settings, monkeypatch):
    settings.SENDER_RATES = {}
    some(accept, 3)
    assert delivery.deliver_due("sms") == {"sent": 3}
    assert not SenderPace.objects.exists()


def test_too_fast_is_better_than_claimed_for_nothing(accept, providers, monkeypatch):
    def away(messages):
        raise OperationalError

    monkeypatch.setattr(SenderPace.objects, "turns", away)
    some(accept, 3)
    assert delivery.deliver_due("sms") == {"sent": 3}


def test_sending_in_the_request_leaves_to_the_workers_what_is_too_fast(accept, providers):
    assert [delivery.deliver_now(each) for each in some(accept, 3)] == [True, True, False]
    assert waits() == [1]


@pytest.mark.parametrize(
    ("sender", "kind"),
    [
        ("+15551234567", "long_code"),
        ("+447700900123", "long_code"),
        ("+18885551234", "toll_free"),
        ("+18015551234", "long_code"),
        ("12345", "short_code"),
        ("Switchboard", "alphanumeric"),
        ("me@example.com", "email"),
    ],
)
def test_the_type_of_a_sender_is_seen_from_its_address(sender, kind):
    assert sender_type(sender) == kind
