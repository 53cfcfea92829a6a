"""What staff have to look after: who was not reached, and what is still to be sent."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone

from conversations import tasks
from conversations.admin.work_list import NotReachedAdmin
from conversations.models import Message, NotReached, OptOut
from conversations.tests.conftest import claim

pytestmark = pytest.mark.django_db

NOT_REACHED = reverse("admin:conversations_notreached_changelist")
SCHEDULED = reverse("admin:conversations_scheduled_changelist")


@pytest.fixture
def rung(monkeypatch):
    rung = []
    monkeypatch.setattr(tasks, "ring", lambda message: rung.append(message.pk))
    return rung


@pytest.fixture
def ann(client):
    """A browser in which an agent is logged in."""
    user = User.objects.create_user("ann", is_staff=True)
    user.groups.add(Group.objects.get(name="agents"))
    client.force_login(user)
    return client


@pytest.fixture
def ended(accept):
    """A message that ended so, after its attempts had these statuses."""

    def ended(status, *attempts, code="", words="", **values):
        message = accept(**values)
        for each in attempts:
            message.events.create(status=each, evidence="observed", attempt=1)
        Message.objects.filter(pk=message.pk).update(
            status=status, next_attempt_at=None, error_code=code, error_message=words
        )
        return message

    return ended


def act(browser, page, action, *messages, **more):
    chosen = [message.pk for message in messages]
    return browser.post(page, {"action": action, "_selected_action": chosen, **more}, follow=True).text


def statuses(*messages):
    found = dict(Message.objects.values_list("pk", "status"))
    return [found[message.pk] for message in messages]


def logged():
    entries = (
        LogEntry.objects.exclude(content_type__model="user")
        .order_by("pk")
        .values_list("user__username", "object_id", "change_message")
    )
    return [(name, pk, words) for name, pk, words in entries]


def test_those_who_were_not_reached_are_listed_with_the_reason_in_words_and_a_link_to_their_thread(ann, ended):
    refused = ended("failed", code="21211", words="No such number.")
    ended("unresolved")
    ended("expired")
    page = ann.get(NOT_REACHED).text
    assert "No such number. (21211)" in page
    assert "Nobody knows whether it was sent" in page
    assert "while it was of use" in page
    assert reverse("admin:conversations_conversation_change", args=[refused.conversation_id]) in page


def test_what_arrived_and_what_is_of_a_test_is_nobodys_work(ann, ended, accept):
    ended("delivered", recipient="+15550000001")
    ended("failed", recipient="+15550000002", test=True, provider="sandbox")
    accept(recipient="+15550000003", send_at=timezone.now() + timedelta(hours=1), test=True, provider="sandbox")
    assert "+1555000000" not in ann.get(NOT_REACHED).text + ann.get(SCHEDULED).text


def test_what_was_refused_is_sent_again_at_once(ann, ended, rung):
    messages = [ended("failed"), ended("undelivered")]
    assert "Queued again: 2." in act(ann, NOT_REACHED, "send_again", *messages)
    assert statuses(*messages) == ["pending", "pending"]
    assert set(rung) == {message.pk for message in messages}
    assert [line[0::2] for line in logged()] == [("ann", "Sent again.")] * 2
    assert "Queued again by ann." in messages[0].events.last().detail


@pytest.mark.parametrize(("status", "attempts"), [("unresolved", ["unresolved"]), ("failed", ["uncertain", "failed"])])
def test_what_may_have_been_sent_is_sent_again_only_after_a_yes(ann, ended, rung, status, attempts):
    doubted, refused = ended(status, *attempts), ended("failed")
    page = act(ann, NOT_REACHED, "send_again", doubted, refused)
    assert "One of them may have been sent already" in page
    assert statuses(doubted, refused) == [status, "failed"]
    assert rung == []
    assert "Queued again: 2." in act(ann, NOT_REACHED, "send_again", doubted, refused, confirmed="yes")
    assert statuses(doubted, refused) == ["pending", "pending"]


def test_who_opted_out_is_left_and_it_is_said_why(ann, ended, rung):
    OptOut.objects.opt_out("sms", "+15551234567", "+15559876543", source="keyword")
    messages = [ended("failed", recipient="+15550000001"), ended("failed")]
    page = act(ann, NOT_REACHED, "send_again", *messages)
    assert "Queued again: 1." in page
    assert "Left as they are: 1, as their recipient has opted out." in page
    assert statuses(*messages) == ["pending", "failed"]
    assert len(rung) == len(logged()) == 1


def test_who_opted_out_is_told_from_those_who_were_missed(ann, ended):
    def listed(status):
        return [each.recipient for each in ann.get(NOT_REACHED, {"status": status}).context["cl"].result_list]

    ended("failed", code="recipient_opted_out", words="The recipient has opted out.", recipient="+15550000001")
    ended("failed", code="21211", recipient="+15550000002")
    page = ann.get(NOT_REACHED).text
    assert page.count('<td class="field-end">opted out</td>') == page.count("The recipient has opted out.") == 1
    assert (listed("opted out"), listed("failed")) == (["+15550000001"], ["+15550000002"])


def test_what_somebody_else_sent_again_meanwhile_is_not_sent_twice(ann, ended, rung, monkeypatch):
    message = ended("failed")
    meanwhile = lambda it: Message.objects.retry(it.pk, "bob") and OptOut.objects.none()  # noqa: E731
    monkeypatch.setattr(OptOut.objects, "against", meanwhile)
    assert "Left as they are: 1, as they are pending by now." in act(ann, NOT_REACHED, "send_again", message)
    assert rung == []
    assert logged() == []


def test_what_is_scheduled_is_canceled_and_never_sent(ann, accept):
    message = accept(send_at=timezone.now() + timedelta(hours=1))
    assert "Hello" in ann.get(SCHEDULED).text
    assert "Canceled: 1." in act(ann, SCHEDULED, "cancel", message)
    assert statuses(message) == ["canceled"]
    assert logged() == [("ann", str(message.pk), "Canceled.")]


def test_what_is_due_or_taken_by_a_worker_is_not_scheduled_any_more(ann, accept):
    accept(body="due now")
    taken = accept(body="was taken", recipient="+15550000001")
    claim(limit=2)
    assert "was taken" not in ann.get(SCHEDULED).text
    act(ann, SCHEDULED, "cancel", taken)
    assert statuses(taken) == ["sending"]


@pytest.mark.parametrize("page", [NOT_REACHED, SCHEDULED])
def test_a_list_asks_as_much_of_two_rows_as_of_twenty(ann, ended, accept, page, django_assert_num_queries):
    def more(count):
        for number in range(count):
            ended("failed", recipient=f"+1555000{number:04}")
            accept(recipient=f"+1555000{number:04}", send_at=timezone.now() + timedelta(hours=1))

    more(2)
    ann.get(page)
    with django_assert_num_queries(6):
        ann.get(page)
    more(18)
    with django_assert_num_queries(6):
        ann.get(page)


def test_no_action_takes_more_rows_than_it_can_lock_one_by_one(ann, ended, monkeypatch):
    monkeypatch.setattr("providers.admin_actions.AT_ONCE", 1)
    messages = [ended("failed"), ended("failed")]
    page = act(ann, NOT_REACHED, "send_again", *messages, index=0, select_across=1)
    assert "Choose at most 1 at once" in page
    assert statuses(*messages) == ["failed", "failed"]


def test_what_was_erased_meanwhile_is_left_as_gone():
    assert NotReachedAdmin(NotReached, admin.site).again(None, uuid4()) == "as they are gone by now"
