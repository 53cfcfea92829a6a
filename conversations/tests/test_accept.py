from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from conversations.models import Conversation, Message
from conversations.tests.conftest import in_threads, somebody_waits_for_a_lock

pytestmark = pytest.mark.django_db


def test_a_message_is_saved_with_its_conversation_and_first_event(accept):
    message = Message.objects.get(pk=accept(body="Hi").pk)
    assert (message.status, message.attempts, message.body) == ("pending", 0, "Hi")
    assert message.next_attempt_at == message.created_at
    assert message.expires_at == message.created_at + timedelta(hours=24)
    assert (message.conversation.message_count, message.conversation.unread_count) == (1, 0)
    assert [event.status for event in message.events.all()] == ["pending"]


def test_accepting_is_one_statement(accept, django_assert_num_queries):
    with django_assert_num_queries(1):
        accept()


def test_a_connection_plans_the_insert_once_for_all_messages_alike(accept):
    for number in range(3):
        accept(recipient=f"+1555765432{number}")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT generic_plans + custom_plans FROM pg_prepared_statements WHERE statement ~ 'accepted AS'"
        )
        assert cursor.fetchall() == [(3,)]


def test_what_accept_returns_is_what_stands_in_the_database(accept):
    message = accept(subject="s", metadata={"a": 1}, attachments=["https://example.com/a.png"])
    stored = Message.objects.get(pk=message.pk)
    for field in Message._meta.concrete_fields:
        assert getattr(message, field.attname) == getattr(stored, field.attname), field.name


@pytest.mark.django_db(transaction=True)
def test_first_messages_at_the_same_time_meet_in_one_conversation(accept):
    in_threads(20, lambda number: accept(body=str(number)))
    conversation = Conversation.objects.get()
    assert conversation.message_count == conversation.messages.count() == 20


@pytest.mark.django_db(transaction=True)
def test_created_at_is_the_order_of_acceptance_even_of_those_who_had_to_wait(accept):
    """Whoever waits for the conversation's row came earlier, and is accepted later."""
    with ThreadPoolExecutor(1) as another:
        with transaction.atomic():
            accept(body="first")
            waiting = another.submit(lambda: (accept(body="third"), connections.close_all()))
            while not somebody_waits_for_a_lock():
                pass
            accept(body="second")
        waiting.result()
    in_order = Message.objects.order_by("created_at", "id").values_list("body", flat=True)
    assert list(in_order) == ["first", "second", "third"]


def test_sms_and_mms_share_a_conversation_and_email_has_its_own(accept):
    sms, mms = accept(), accept(type="mms")
    email = accept(type="email", sender="ann@example.com", recipient="bob@example.com")
    assert sms.conversation_id == mms.conversation_id != email.conversation_id
    assert email.conversation.channel_type == "email"


def test_the_pair_is_unordered(accept):
    there = accept(sender="+15550000001", recipient="+15550000002")
    back = accept(sender="+15550000002", recipient="+15550000001")
    assert there.conversation_id == back.conversation_id


def test_a_thread_is_always_a_new_conversation(accept):
    ids = {accept().conversation_id, accept("thread").conversation_id, accept("thread").conversation_id}
    assert len(ids) == 3


def test_a_reply_joins_the_conversation_of_its_parent_even_as_a_thread(accept):
    accept()
    parent = accept("thread")
    assert accept("thread", parent=parent).conversation_id == parent.conversation_id


def test_a_closed_conversation_stays_closed_and_the_pair_gets_a_new_one(accept):
    first = accept()
    Conversation.objects.update(status="closed")
    second = accept(parent=first)
    assert second.conversation_id != first.conversation_id
    assert Conversation.objects.get(pk=first.conversation_id).status == "closed"


def test_a_thread_with_a_parent_in_a_closed_conversation_joins_the_pairs_open_one(accept):
    parent = accept("thread")
    Conversation.objects.update(status="closed")
    direct = accept()
    assert accept("thread", parent=parent).conversation_id == direct.conversation_id


def test_a_new_message_wakes_an_archived_conversation(accept):
    message = accept()
    Conversation.objects.update(status="archived")
    assert accept().conversation_id == message.conversation_id
    assert Conversation.objects.get().status == "active"


def test_many_conversations_between_two_are_no_obstacle(accept):
    for _ in range(3):
        accept("thread")
        Conversation.objects.filter(type="direct").update(status="closed")
        accept()
    assert Conversation.objects.filter(type="direct", status="active").count() == 1


def test_a_scheduled_message_waits_for_its_time_and_lives_a_day_from_then(accept):
    send_at = timezone.now() + timedelta(hours=5)
    message = accept(send_at=send_at)
    assert (message.next_attempt_at, message.expires_at) == (send_at, send_at + timedelta(hours=24))


def test_a_time_that_has_passed_means_now(accept):
    message = accept(send_at=timezone.now() - timedelta(days=3))
    assert message.next_attempt_at == message.created_at < message.expires_at
