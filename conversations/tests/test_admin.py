import pytest
from django.urls import reverse

from conversations.models import Message

pytestmark = pytest.mark.django_db


def test_staff_find_a_conversation_by_its_number_and_read_it(admin_client, accept):
    message = accept(body="Hello there")
    listed = admin_client.get(reverse("admin:conversations_conversation_changelist"), {"q": "5559876543"}).text
    assert "+15559876543" in listed
    page = admin_client.get(reverse("admin:conversations_conversation_change", args=[message.conversation_id])).text
    assert "Hello there" in page


def test_staff_read_what_became_of_a_message(admin_client, accept):
    message = accept(body="The first words of it, and many more of them than anybody would read in a list of messages.")
    listed = admin_client.get(reverse("admin:conversations_message_changelist")).text
    assert ("+15559876543" in listed, "The first words of it" in listed, "list of messages." in listed) == (
        True, True, False,
    )  # fmt: skip
    page = admin_client.get(reverse("admin:conversations_message_change", args=[message.pk])).text
    assert "We saw it ourselves" in page
    assert ("field-expires_at" in page, "field-error_message" in page, 'readonly">-<' in page) == (True, False, False)


@pytest.mark.parametrize("text", ["555987", "+15559876543", "SM-one", " "])
def test_staff_find_messages_by_who_writes_with_whom_and_by_the_providers_id(admin_client, accept, text):
    found, other = accept(), accept(sender="a@example.com", recipient="b@example.com", type="email")
    Message.objects.filter(pk=found.pk).update(provider_message_id="SM-one")
    listed = admin_client.get(reverse("admin:conversations_message_changelist"), {"q": text}).context["cl"].result_list
    assert {each.pk for each in listed} == ({found.pk, other.pk} if text == " " else {found.pk})


@pytest.mark.parametrize("noun", ["conversations_conversation", "conversations_message", "webhooks_receipt"])
def test_rows_are_shown_and_never_made_by_hand(admin_client, noun):
    assert admin_client.get(reverse(f"admin:{noun}_changelist")).status_code == 200
    assert admin_client.get(reverse(f"admin:{noun}_add")).status_code == 403


def test_nothing_is_changed_or_removed_by_hand(admin_client, accept):
    message = accept()
    for verb in ("change", "delete"):
        path = reverse(f"admin:conversations_message_{verb}", args=[message.pk])
        assert admin_client.post(path, {"status": "delivered", "post": "yes"}).status_code == 403
    message.refresh_from_db()
    assert message.status == "pending"
