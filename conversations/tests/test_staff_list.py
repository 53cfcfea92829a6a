"""The list of conversations in the admin."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from conversations.admin import conversation_list
from conversations.models import Conversation, Message

pytestmark = pytest.mark.django_db
LIST = reverse("admin:conversations_conversation_changelist")


def rows(client, **query):
    """The conversations that the list shows."""
    return list(client.get(LIST, query).context["cl"].result_list)


def found(client, **query):
    return {each.participant_to for each in rows(client, **query)}


def test_a_row_says_who_what_and_how_it_went(admin_client, accept):
    failed = accept(recipient="+15550000001", body="First words")
    Message.objects.filter(pk=failed.pk).update(status="failed", next_attempt_at=None, error_message="No such number.")
    Conversation.objects.update(unread_count=3)
    page = admin_client.get(LIST).text
    for words in ("+15550000001", "First words", "No such number.", "3 unread", "just now"):
        assert words in page


def test_the_newest_message_stands_for_its_conversation(admin_client, accept):
    accept(body="Old")
    accept(body="New")
    [row] = rows(admin_client)
    assert row.newest.body == "New"


def test_what_did_not_arrive_is_seen_behind_newer_messages_unless_it_was_refused(admin_client, accept):
    missed, refused, fine = (accept(recipient=f"+1555000000{number}") for number in range(3))
    Message.objects.filter(pk=missed.pk).update(status="undelivered", next_attempt_at=None)
    Message.objects.filter(pk=refused.pk).update(
        status="failed", next_attempt_at=None, error_code="recipient_opted_out"
    )
    for each in (missed, refused, fine):
        accept(recipient=each.recipient, body="Newer")
    page = admin_client.get(LIST).text
    assert page.count("An earlier message did not arrive") == 1
    [row] = [each for each in rows(admin_client) if each.newest.earlier_failed]
    assert (row.newest.body, row.pk) == ("Newer", missed.conversation_id)


@pytest.mark.parametrize("text", ["+1 (555) 000-0002", "5550000002", "0002", "Ann’s", "some WORDS"])
def test_a_conversation_is_found_by_number_title_and_words(admin_client, accept, text):
    accept(recipient="+15550000001")
    one = accept(recipient="+15550000002", body="With some words in it")
    Conversation.objects.filter(pk=one.conversation_id).update(title="Ann’s")
    assert found(admin_client, q=text) == {"+15550000002"}


def test_of_what_many_have_the_newest_are_found_and_that_is_said(admin_client, accept, monkeypatch):
    monkeypatch.setattr(conversation_list, "SEARCHED", 3)
    for number in range(5):
        accept(recipient=f"+1555000000{number}", body="A common word")
    answer = admin_client.get(LIST, {"q": "common"})
    assert [each.participant_to[-1] for each in answer.context["cl"].result_list] == ["4", "3", "2"]
    assert "the newest are shown" in answer.text


def test_what_is_too_short_to_be_searched_for_finds_nothing_and_says_so(admin_client, accept):
    accept()
    answer = admin_client.get(LIST, {"q": "55"})
    assert ("at least three characters" in answer.text, list(answer.context["cl"].result_list)) == (True, [])


def test_the_list_is_narrowed_to_what_is_wanted(admin_client, accept):
    accept(recipient="+15550000001")
    failed = accept(recipient="+15550000002")
    Message.objects.filter(pk=failed.pk).update(status="undelivered", next_attempt_at=None)
    unread = accept(recipient="+15550000003")
    Conversation.objects.filter(pk=unread.conversation_id).update(unread_count=1)
    accept(recipient="b@example.com", sender="a@example.com", type="email")
    assert found(admin_client, failed="yes") == {"+15550000002"}
    assert found(admin_client, unread="yes") == {"+15550000003"}
    assert found(admin_client, channel_type__exact="email") == {"b@example.com"}


def test_tests_are_shown_to_those_who_ask_for_them(admin_client, accept):
    accept(recipient="+15550000001")
    accept(recipient="+15550000002", test=True, provider="sandbox")
    assert found(admin_client) == {"+15550000001"}
    assert found(admin_client, lane="test") == {"+15550000002"}
    assert found(admin_client, lane="all") == {"+15550000001", "+15550000002"}


def test_more_rows_take_no_more_queries(admin_client, accept, django_assert_max_num_queries):
    for number in range(60):
        accept(recipient=f"+1555000{number:04}", body=f"Words {number}")
    with django_assert_max_num_queries(7):
        assert len(rows(admin_client)) == 50
    with django_assert_max_num_queries(7):
        assert len(rows(admin_client, q="words")) == 50


def test_many_are_archived_at_once_by_those_who_may(client, accept):
    for number in range(3):
        accept(recipient=f"+1555000000{number}")
    form = {
        "action": "archive",
        "_selected_action": [str(pk) for pk in Conversation.objects.values_list("pk", flat=True)],
    }
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_conversation"))
    client.force_login(user)
    client.post(LIST, form)
    assert set(Conversation.objects.values_list("status", flat=True)) == {"active"}
    user.user_permissions.add(Permission.objects.get(codename="reply_conversation"))
    client.post(LIST, form)
    assert set(Conversation.objects.values_list("status", flat=True)) == {"archived"}
    assert LogEntry.objects.filter(user=user, change_message="Archived.").count() == 3
