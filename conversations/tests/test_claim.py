import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone

from conversations.models import Conversation, Message
from conversations.models.claim import CLAIM_DUE
from conversations.models.outcome import Outcome
from conversations.models.status import Status
from conversations.tests.conftest import offer

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=60)


def claim(channel="sms", limit=50):
    return Message.objects.claim(channel, offer(channel), limit=limit)


def finish(message, status=Status.SENT, **values):
    outcome = Outcome(message_id=message.pk, attempt=message.attempts, status=status, **values)
    return Message.objects.record_outcomes([outcome])


def test_a_claimed_message_is_sending_under_a_lease_one_attempt_further(accept):
    accept()
    [message] = claim()
    assert (message.status, message.attempts, message.next_attempt_at) == ("sending", 1, None)
    assert message.lease_expires_at > timezone.now() + timedelta(seconds=50)


def test_a_claim_takes_its_own_channel_only(accept):
    accept(type="mms")
    assert claim("sms") == []
    assert len(claim("mms")) == 1


def test_the_longest_due_goes_first_and_no_more_than_the_limit(accept):
    messages = [accept(recipient=f"+1555000000{number}") for number in range(5)]
    assert [message.pk for message in claim(limit=3)] == [message.pk for message in messages[:3]]


def test_a_message_is_not_claimed_before_its_time_nor_after_it(accept):
    accept(send_at=timezone.now() + timedelta(minutes=1))
    late = accept(recipient="+15550000001")
    Message.objects.filter(pk=late.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert claim() == []


def test_messages_of_a_conversation_leave_in_order_one_in_flight_at_a_time(accept):
    messages = [accept(body=str(number)) for number in range(3)]
    order = []
    while claimed := claim():
        [message] = claimed
        assert claim() == []
        order.append(message.pk)
        finish(message, provider_message_id=f"SM{message.body}")
    assert order == [message.pk for message in messages]


def test_a_message_that_waits_for_its_retry_does_not_hold_the_others(accept):
    first, second = accept(), accept()
    finish(claim()[0], Status.PENDING, retry_in=30)
    assert [message.pk for message in claim()] == [second.pk]
    assert Message.objects.get(pk=first.pk).status == "pending"


def test_sms_and_mms_of_a_conversation_do_not_wait_for_each_other(accept):
    accept()
    accept(type="mms")
    assert len(claim("sms")) == len(claim("mms")) == 1


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_the_same_time_never_get_the_same_message_nor_the_same_conversation(accept):
    for number in range(120):
        accept(recipient=f"+155500000{number % 30:02}")
    together = threading.Barrier(4)
    taken, overlapping, lock = [], [], threading.Lock()
    in_flight = set()

    def work(_):
        try:
            together.wait()
            while claimed := claim(limit=7):
                with lock:
                    taken.extend(message.pk for message in claimed)
                    overlapping.extend(m.pk for m in claimed if m.conversation_id in in_flight)
                    in_flight.update(message.conversation_id for message in claimed)
                for message in claimed:
                    with lock:
                        in_flight.discard(message.conversation_id)
                    finish(message)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, range(4)))
    while claimed := claim():
        taken.extend(message.pk for message in claimed)
        for message in claimed:
            finish(message)
    assert len(taken) == len(set(taken)) == 120
    assert overlapping == []


def test_an_expired_message_does_not_hold_its_line(accept):
    expired, behind = accept(), accept()
    Message.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    assert [message.pk for message in claim()] == [behind.pk]


@pytest.mark.django_db(transaction=True)
def test_a_claim_waits_for_nobody(accept):
    locked, free = accept(), accept(recipient="+15550000001")
    with ThreadPoolExecutor(1) as another, transaction.atomic():
        Message.objects.select_for_update().get(pk=locked.pk)
        claimed = another.submit(lambda: (claim(), connections.close_all())[0]).result(timeout=10)
    assert [message.pk for message in claimed] == [free.pk]


def test_two_of_one_line_can_never_be_in_flight(accept):
    for message in (accept(), accept(type="mms"), accept("thread")):
        Message.objects.filter(pk=message.pk).update(
            status="sending", next_attempt_at=None, lease_expires_at=timezone.now()
        )
    second = accept()
    with pytest.raises(IntegrityError), transaction.atomic():
        Message.objects.filter(pk=second.pk).update(
            status="sending", next_attempt_at=None, lease_expires_at=timezone.now()
        )


def test_a_message_is_not_claimed_by_name_before_those_in_front_of_it(accept):
    _, second = accept(), accept()
    assert Message.objects.claim_one(second, offer()) == []


def test_one_message_can_be_claimed_by_name_and_only_once(accept):
    message, _ = accept(), accept(recipient="+15550000001")
    assert [each.pk for each in Message.objects.claim_one(message, offer())] == [message.pk]
    assert Message.objects.claim_one(message, offer()) == []


def many(message, count, **values):
    """So many like a message, each to somebody else."""
    pairs = [
        Conversation(channel_type="sms", participant_from="+15551234567", participant_to=f"+1556{number:07}")
        for number in range(count)
    ]
    for pair in pairs:
        pair.take_key()
    Conversation.objects.bulk_create(pairs)
    fields = {field.attname: getattr(message, field.attname) for field in Message._meta.concrete_fields}
    del fields["id"]
    rows = [
        Message(**{**fields, "conversation_id": pair.pk, "recipient": pair.participant_to, **values}) for pair in pairs
    ]
    Message.objects.bulk_create(rows)


def rows_looked_at(plan):
    """How many rows the steps of a plan met."""
    own = plan["Actual Rows"] + sum(plan.get(f"Rows Removed by {by}", 0) for by in ("Filter", "Join Filter"))
    return own * plan["Actual Loops"] + sum(map(rows_looked_at, plan.get("Plans", [])))


@pytest.mark.parametrize("counted", ["never", "when there was one", "when none waited"])
def test_a_claim_meets_each_of_a_large_batch_a_few_times_whatever_the_planner_counted_before(accept, counted):
    message, count = accept(), 2000
    with connection.cursor() as cursor:
        if counted == "when none waited":
            many(message, 100, status="delivered", next_attempt_at=None)
            Conversation.objects.filter(participant_to__startswith="+1556").delete()
        if counted != "never":
            cursor.execute("ANALYZE conversations_message")
        many(message, count)
        wanted = {"channel": "sms", "limit": 64, **offer("sms").parameters()}
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {CLAIM_DUE}", wanted)
        assert rows_looked_at(cursor.fetchone()[0][0]["Plan"]) < 20 * count
