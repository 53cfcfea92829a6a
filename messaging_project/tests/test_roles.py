"""Who of the staff may open what, and do what: every page of the admin, for every kind of person."""

from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse
from django.utils import timezone

from conversations.models import ApiKey, Client, Message, OptOut
from conversations.models.status import Status
from providers.models import AccountState
from webhooks.models import Delivery, Receipt, Refusal, Subscription

pytestmark = pytest.mark.django_db

KINDS = ("nobody", "readers", "agents", "operators")
SEES = {
    "conversations.conversation": "readers",
    "conversations.message": "readers",
    "conversations.notreached": "readers",
    "conversations.scheduled": "readers",
    "conversations.optout": "readers",
    "providers.accountstate": "operators",
    "webhooks.receipt": "operators",
    "webhooks.refusal": "operators",
    "webhooks.subscription": "operators",
    "webhooks.delivery": "operators",
    "conversations.client": "operators",
    "conversations.apikey": "operators",
    "admin.logentry": "operators",
    "auth.user": "superusers",
    "auth.group": "superusers",
}
"""From whom on upwards a list is open. A page that is not named here fails the test until somebody decides."""
DOES = {
    ("conversations.conversation", "mark_read"): "agents",
    ("conversations.conversation", "mark_unread"): "agents",
    ("conversations.conversation", "archive"): "agents",
    ("conversations.conversation", "close"): "agents",
    ("conversations.notreached", "send_again"): "agents",
    ("conversations.scheduled", "cancel"): "agents",
    ("conversations.optout", "lift"): "agents",
    ("providers.accountstate", "pause"): "operators",
    ("providers.accountstate", "rehearse"): "operators",
    ("providers.accountstate", "resume"): "operators",
    ("webhooks.receipt", "replay"): "operators",
    ("webhooks.subscription", "enable"): "operators",
    ("webhooks.subscription", "disable"): "operators",
    ("webhooks.subscription", "replay_failed"): "operators",
    ("webhooks.delivery", "replay"): "operators",
    ("conversations.apikey", "revoke"): "operators",
}
ADDS = {"conversations.optout": "agents", "conversations.client": "operators", "conversations.apikey": "operators"}
CHANGES = {"conversations.client": "operators"}


def may(kind, least):
    return least in KINDS and KINDS.index(kind) >= KINDS.index(least)


def pages():
    return {model._meta.label_lower: page for model, page in admin.site._registry.items()}


def path(label, verb, *args):
    return reverse(f"admin:{label.replace('.', '_')}_{verb}", args=args)


@pytest.fixture(params=KINDS)
def person(request, client):
    """A browser of each kind of staff."""
    user = User.objects.create_user("ann", is_staff=True)
    if request.param != "nobody":
        user.groups.add(Group.objects.get(name=request.param))
    client.force_login(user)
    client.kind = request.param
    return client


def test_somebody_has_decided_about_every_page_and_action():
    assert set(SEES) == set(pages())
    declared = {
        (label, action if isinstance(action, str) else action.__name__)
        for label, page in pages().items()
        for action in page.actions or ()
    }
    assert set(DOES) == declared


def test_everybody_opens_the_lists_of_their_role_and_no_other(person):
    opened = {label for label in SEES if person.get(path(label, "changelist")).status_code == 200}
    assert opened == {label for label, least in SEES.items() if may(person.kind, least)}


def test_everybody_finds_in_the_index_what_they_may_open_and_nothing_else(person):
    page = person.get(reverse("admin:index")).text
    assert {label for label in SEES if path(label, "changelist") in page} == {
        label for label, least in SEES.items() if may(person.kind, least)
    }


def test_everybody_adds_what_their_role_adds(person):
    added = {label for label in SEES if person.get(path(label, "add")).status_code == 200}
    assert added == {label for label, least in ADDS.items() if may(person.kind, least)}


def test_an_action_that_is_not_of_ones_role_is_forbidden_even_if_it_is_posted_by_hand(person):
    def posted(label, action):
        return person.post(path(label, "changelist"), {"action": action, "index": 0})

    forbidden = {each for each in DOES if posted(*each).status_code == 403}
    assert forbidden == {each for each, least in DOES.items() if not may(person.kind, least)}


def test_nobody_but_a_superuser_deletes_anything_from_a_list(person):
    for label in SEES:
        forged = {"action": "delete_selected", "_selected_action": ["1"], "post": "yes"}
        assert person.post(path(label, "changelist"), forged).status_code == 403


def test_a_row_is_changed_by_hand_by_those_alone_whose_role_says_so(person, rows):
    for label, pk in rows.items():
        answer = person.post(path(label, "change", pk), {"name": "x"})
        is_allowed = label in CHANGES and may(person.kind, CHANGES[label])
        assert (answer.status_code != 403) == is_allowed, label
        assert person.post(path(label, "delete", pk), {"post": "yes"}).status_code == 403, label


@pytest.fixture
def rows():
    """One row of every list, by its label."""
    values = {"direction": "outbound", "status": "pending", "type": "sms", "body": "Hello", "provider": "twilio"}
    values |= {"sender": "+15551234567", "recipient": "+15559876543"}
    later = timezone.now() + timedelta(hours=1)
    scheduled = Message.objects.accept(Message(**values, send_at=later), conversation_type="direct")
    failed = Message.objects.accept(Message(**values), conversation_type="direct")
    failed = Message.objects.tell(failed.pk, "ann", Status.FAILED, None)
    person = User.objects.get()
    client = Client.objects.create(name="shop")
    subscription = Subscription.objects.create(url="https://example.com", events=["message.sent"], client=client)
    made = [
        failed.conversation,
        failed,
        OptOut.objects.opt_out("sms", "+15551234567", "+15559876543", source="staff"),
        AccountState.objects.create(account="twilio", channel="sms"),
        Receipt.objects.create(provider="twilio", kind="status", dedupe_key="1", payload={}, verified=True),
        Refusal.objects.create(hour=later, provider="twilio", reason="forged", count=1),
        subscription,
        Delivery.objects.create(
            subscription=subscription, conversation=failed.conversation, event="message.sent", sequence=1,
            payload="{}", give_up_at=later,
        ),
        client,
        ApiKey.objects.make(client, ["messages:read"])[0],
        LogEntry.objects.log_actions(person.pk, [failed], CHANGE, single_object=True),
        person,
        Group.objects.get_or_create(name="readers")[0],
    ]  # fmt: skip
    found = {row._meta.label_lower: row.pk for row in made}
    found |= {"conversations.notreached": failed.pk, "conversations.scheduled": scheduled.pk}
    assert set(found) == set(SEES)
    return found


def test_the_three_groups_stack(db):
    held = {name: set(Group.objects.get(name=name).permissions.all()) for name in KINDS[1:]}
    assert held["readers"] < held["agents"] < held["operators"]


def test_no_permission_was_made_twice_nor_under_another_name():
    names = Permission.objects.filter(content_type__app_label="conversations", codename="view_notreached")
    assert [each.name for each in names] == ["Can view not reached"]


def test_operators_can_not_make_themselves_more(db):
    held = Group.objects.get(name="operators").permissions.values_list("content_type__app_label", flat=True)
    assert "auth" not in set(held)
