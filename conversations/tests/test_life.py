"""How a message moves: by what workers saw, what providers report, and what silence lets us conclude."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from conversations.models import Message
from conversations.models.outcome import Outcome
from conversations.models.report import ReceivedReport
from conversations.models.status import MOVES, Status
from conversations.tests.conftest import claim, somebody_waits_for_a_lock
from providers.base import DeliveryReport

pytestmark = pytest.mark.django_db


@pytest.fixture
def sending(accept):
    """A message that a worker holds in its first attempt."""
    accept()
    [message] = claim("sms")
    return message


def record(message, status, attempt=1, **values):
    moved = Message.objects.record_outcomes([Outcome(message_id=message.pk, attempt=attempt, status=status, **values)])
    message.refresh_from_db()
    return moved


def report(message, status, attempt=1, **values):
    usual = {"provider_message_id": "SM1", "message_id": message.pk, "provider_status": status or "?"}
    report = DeliveryReport(**{**usual, "attempt": attempt, "status": status, **values})
    taken = Message.objects.apply_report("twilio", report)
    message.refresh_from_db()
    return taken


def timeline(message):
    return [(event.status, event.evidence) for event in message.events.all()]


def test_acceptance_makes_it_sent(sending):
    assert record(sending, Status.SENT, provider_message_id="SM1", segments=2) == {sending.pk}
    assert (sending.status, sending.provider_message_id, sending.segments) == ("sent", "SM1", 2)
    assert sending.sent_at
    assert sending.lease_expires_at is None
    assert timeline(sending) == [("pending", "observed"), ("sent", "observed")]


def test_a_refusal_ends_it_with_the_reason(sending):
    record(sending, Status.FAILED, error_code="21211", error_message="The number is not valid.")
    assert (sending.status, sending.error_code, sending.error_message) == (
        "failed",
        "21211",
        "The number is not valid.",
    )
    assert sending.failed_at


def test_what_was_not_sent_waits_for_its_next_try(sending):
    record(sending, Status.PENDING, retry_in=30, error_code="refused", error_message="Nobody listens there.")
    assert (sending.status, sending.attempts, sending.error_code) == ("pending", 1, "refused")
    assert timedelta(seconds=25) < sending.next_attempt_at - timezone.now() < timedelta(seconds=31)


def test_what_was_not_begun_goes_back_without_spending_its_attempt(sending):
    record(sending, Status.PENDING, retry_in=0, unspent_lease=sending.lease_expires_at)
    assert (sending.status, sending.attempts) == ("pending", 0)
    assert timeline(sending) == [("pending", "observed")]


def test_an_attempt_is_given_back_once_even_if_that_is_written_twice(sending):
    lease = sending.lease_expires_at
    record(sending, Status.PENDING, retry_in=0, unspent_lease=lease)
    claim("sms")
    assert record(sending, Status.PENDING, retry_in=0, unspent_lease=lease) == set()
    assert (sending.status, sending.attempts) == ("sending", 1)


def test_a_lost_answer_is_a_doubt(sending):
    record(sending, Status.UNCERTAIN, error_code="timeout", error_message="No answer came.")
    assert (sending.status, sending.next_attempt_at) == ("uncertain", None)


def test_an_outcome_of_an_attempt_that_is_over_changes_nothing(sending):
    record(sending, Status.PENDING, retry_in=0)
    claim("sms")
    assert record(sending, Status.FAILED, attempt=1) == set()
    assert (sending.status, sending.attempts) == ("sending", 2)


def test_a_lease_that_ran_out_is_a_doubt_and_a_late_acceptance_settles_it(sending):
    Message.objects.update(lease_expires_at=timezone.now())
    assert Message.objects.doubt_expired_leases(limit=10) == 1
    sending.refresh_from_db()
    assert (sending.status, sending.error_code) == ("uncertain", "lease_expired")
    assert timeline(sending)[-1] == ("uncertain", "assumed")
    record(sending, Status.SENT, provider_message_id="SM1")
    assert (sending.status, sending.error_code) == ("sent", "")


def test_a_running_lease_is_left_alone(sending):
    assert Message.objects.doubt_expired_leases(limit=10) == 0


def test_pending_past_its_time_expires(accept):
    message = accept()
    Message.objects.update(expires_at=timezone.now())
    assert Message.objects.expire_overdue("sms", limit=10) == 1
    message.refresh_from_db()
    assert (message.status, message.error_code) == ("expired", "expired")


def test_only_pending_expires(sending):
    Message.objects.update(expires_at=timezone.now())
    assert Message.objects.expire_overdue("sms", limit=10) == 0


@pytest.mark.parametrize("order", sorted(set(itertools.permutations(["answer", "sent", "delivered", "delivered"]))))
def test_any_order_of_answer_and_callbacks_ends_in_the_same_row(sending, order):
    for step in order:
        if step == "answer":
            record(sending, Status.SENT, provider_message_id="SM1")
        else:
            report(sending, step)
    assert (sending.status, sending.provider_message_id) == ("delivered", "SM1")
    assert sending.sent_at
    assert sending.delivered_at
    assert timeline(sending).count(("delivered", "reported")) == 1


def test_a_callback_that_outran_the_answer_costs_neither_id_nor_segments(sending):
    report(sending, "delivered", provider_message_id="")
    assert record(sending, Status.SENT, provider_message_id="SM1", segments=3) == {sending.pk}
    assert (sending.status, sending.provider_message_id, sending.segments) == ("delivered", "SM1", 3)


def test_a_report_that_names_another_messages_id_still_counts(accept, sending):
    owner = accept(recipient="+15550000001")
    Message.objects.filter(pk=owner.pk).update(provider_message_id="SM1")
    report(sending, "delivered", provider_message_id="SM1")
    assert (sending.status, sending.provider_message_id) == ("delivered", "")
    assert "provider_id_taken" in [event.code for event in sending.events.all()]


def test_a_report_counts_for_messages_of_its_own_provider_only(sending):
    by_our_id = DeliveryReport(
        status="delivered", provider_status="delivered", message_id=sending.pk, attempt=1, provider_message_id="x"
    )
    record(sending, Status.SENT, provider_message_id="SM1")
    by_their_id = DeliveryReport(status="delivered", provider_status="delivered", provider_message_id="SM1")
    assert not Message.objects.apply_report("sendgrid", by_our_id)
    assert not Message.objects.apply_report("sendgrid", by_their_id)


@pytest.mark.parametrize("order", [[1, 2], [2, 1]])
def test_what_one_attempt_delivered_no_other_attempt_takes_back(sending, order):
    record(sending, Status.PENDING, retry_in=0)
    claim("sms")
    for attempt in order:
        report(sending, {1: "delivered", 2: "undelivered"}[attempt], attempt=attempt)
    assert sending.status == "delivered"


@pytest.mark.parametrize("order", [[1, 2], [2, 1]])
def test_nor_where_both_are_told_at_once(sending, order):
    record(sending, Status.PENDING, retry_in=0)
    claim("sms")
    usual = {"provider_message_id": "SM1", "provider_status": "?", "message_id": sending.pk}
    told = {1: "delivered", 2: "undelivered"}
    reports = [DeliveryReport(**usual, status=told[attempt], attempt=attempt) for attempt in order]
    now = timezone.now()
    received = [ReceivedReport(account="twilio", report=each, received_at=now) for each in reports]
    assert Message.objects.apply_reports(received) == [True, True]
    sending.refresh_from_db()
    assert sending.status == "delivered"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("later", ["sent", "delivered"])
def test_two_reports_at_once_end_as_if_one_had_come_first(accept, later):
    accept()
    [message] = claim("sms")
    with ThreadPoolExecutor(1) as another:
        with transaction.atomic():
            report(message, "delivered")
            waiting = another.submit(lambda: (report(Message(pk=message.pk), later), connections.close_all()))
            while not somebody_waits_for_a_lock():
                pass
        waiting.result()
    message.refresh_from_db()
    assert message.status == "delivered"
    assert timeline(message).count(("delivered", "reported")) == 1


def test_words_longer_than_their_column_are_cut_and_not_lost(sending):
    report(sending, "undelivered", error_code="9" * 80, error_message="x" * 900)
    report(sending, None, provider_status="w" * 80)
    assert (len(sending.error_code), len(sending.error_message)) == (50, 500)
    assert sending.events.last().status == "w" * 30


@pytest.mark.parametrize("doubt", ["sending", "uncertain", "unresolved"])
def test_a_callback_settles_a_doubt(sending, doubt):
    now, is_lease, is_doubt = timezone.now(), doubt == "sending", doubt == "uncertain"
    times = {"lease_expires_at": now if is_lease else None, "settle_at": now if is_doubt else None, "settle_by": now}
    Message.objects.update(status=doubt, **times)
    report(sending, "sent", provider_message_id="SM9")
    assert (sending.status, sending.provider_message_id) == ("sent", "SM9")


def test_an_undelivered_message_says_why(sending):
    report(sending, "undelivered", error_code="30003", error_message="The phone is switched off.")
    assert (sending.status, sending.error_code) == ("undelivered", "30003")
    assert sending.failed_at


def test_a_report_that_it_was_sent_stops_a_retry(sending):
    record(sending, Status.PENDING, retry_in=0)
    report(sending, "sent")
    assert (sending.status, sending.next_attempt_at) == ("sent", None)


def test_a_report_on_an_earlier_attempt_can_only_raise_it_to_delivered(sending):
    record(sending, Status.PENDING, retry_in=0)
    claim("sms")
    report(sending, "undelivered", attempt=1)
    assert sending.status == "sending"
    report(sending, "delivered", attempt=1)
    assert (sending.status, sending.attempts) == ("delivered", 2)


def test_a_word_that_changes_no_status_is_an_event(sending):
    report(sending, None, provider_message_id="SM1")
    assert sending.status == "sending"
    assert ("?", "reported") in timeline(sending)


def test_a_report_without_our_id_finds_its_message_by_the_providers(sending):
    record(sending, Status.SENT, provider_message_id="SM1")
    report(sending, "delivered", message_id=None, attempt=None)
    assert sending.status == "delivered"


def test_a_report_on_nobodys_message_is_not_taken(sending):
    assert not report(sending, "sent", message_id=None, provider_message_id="SM-unknown")


def test_no_row_can_leave_the_words_or_the_rules(sending):
    for broken in ({"status": "lost"}, {"status": "pending"}, {"lease_expires_at": None}, {"type": "fax"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Message.objects.update(**broken)


def test_two_messages_never_share_a_provider_id(accept, sending):
    record(sending, Status.SENT, provider_message_id="SM1")
    accept(recipient="+15550000001")
    with pytest.raises(IntegrityError), transaction.atomic():
        Message.objects.exclude(pk=sending.pk).update(provider_message_id="SM1")


def test_final_facts_are_never_left_for_a_guess():
    facts = {Status.DELIVERED, Status.UNDELIVERED, Status.CANCELED, Status.RECEIVED}
    guesses = {Status.UNCERTAIN, Status.UNRESOLVED, Status.EXPIRED, Status.PENDING, Status.SENDING}
    assert not [move for move in guesses if MOVES.get(move, frozenset()) & facts]
