import pytest

from conversations import receiving
from conversations.models import Conversation, Message
from conversations.tests.conftest import in_threads
from providers.base import InboundMessage

pytestmark = pytest.mark.django_db

US, THEM = "+15551234567", "+15559876543"


def receive(sid="SM1", **values):
    usual = {"channel": "sms", "sender": THEM, "recipient": US, "body": "Hi"}
    return receiving.receive("twilio", InboundMessage(provider_message_id=sid, **{**usual, **values}))


def test_an_inbound_message_is_received_and_unread():
    message = Message.objects.get(pk=receive(segments=1).pk)
    assert (message.direction, message.status, message.segments) == ("inbound", "received", 1)
    assert (message.next_attempt_at, message.expires_at) == (None, None)
    assert (message.conversation.message_count, message.conversation.unread_count) == (1, 1)
    assert [(event.status, event.evidence) for event in message.events.all()] == [("received", "reported")]


def test_the_same_message_is_received_once_for_ever():
    assert receive().pk == receive(body="again").pk
    assert Conversation.objects.get().unread_count == 1


@pytest.mark.django_db(transaction=True)
def test_two_hundred_texts_at_once_from_one_new_number_are_one_conversation():
    in_threads(20, lambda thread: [receive(f"SM{thread}-{number}") for number in range(10)])
    conversation = Conversation.objects.get()
    counts = conversation.message_count, conversation.unread_count, conversation.messages.count()
    assert counts == (200, 200, 200)


@pytest.mark.django_db(transaction=True)
def test_the_same_text_from_many_sides_at_once_counts_once():
    assert len({message.pk for message in in_threads(10, lambda _: receive())}) == 1
    assert (Conversation.objects.get().message_count, Conversation.objects.get().unread_count) == (1, 1)


def offered(message):
    """As if a provider had taken it over."""
    Message.objects.filter(pk=message.pk).update(status="sent", next_attempt_at=None)
    return message


def test_a_reply_lands_where_we_last_wrote(accept):
    offered(accept(body="direct"))
    thread = offered(accept("thread", body="thread"))
    assert receive("SM1").conversation_id == thread.conversation_id
    direct = offered(accept(body="direct again"))
    assert receive("SM2").conversation_id == direct.conversation_id


@pytest.mark.parametrize("status", ["pending", "failed", "expired", "canceled"])
def test_nobody_answers_what_was_never_sent(accept, status):
    written = offered(accept(body="read"))
    unsent = accept("thread")
    at = unsent.next_attempt_at if status == "pending" else None
    Message.objects.filter(pk=unsent.pk).update(status=status, next_attempt_at=at)
    assert receive().conversation_id == written.conversation_id


def test_a_reply_to_a_closed_conversation_opens_a_new_one(accept):
    written = accept()
    Conversation.objects.update(status="closed")
    assert receive().conversation_id != written.conversation_id


def test_a_reply_wakes_an_archived_conversation(accept):
    written = accept()
    Conversation.objects.update(status="archived")
    assert receive().conversation_id == written.conversation_id
    assert Conversation.objects.get().status == "active"


@pytest.mark.parametrize("sender", ["12345", "ACME", "+1 (555) 987-6543", "?" * 300, "AMAZON VERIFY"])
def test_no_inbound_address_is_refused(sender):
    assert receive(sender=sender).sender
