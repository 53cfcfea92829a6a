"""What is kept of callbacks and deliveries where their messages are kept for less."""

from datetime import timedelta

import pytest
from django.utils import timezone

from conversations.models import Conversation
from conversations.tests.conftest import accept  # noqa: F401
from webhooks import tasks
from webhooks.models import Delivery, Receipt
from webhooks.tests.test_inbound import mail, text
from webhooks.tests.test_telling import subscribe

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def texts_are_kept_for_two_days(settings, tmp_path):
    settings.RETENTION_DAYS = {"sms": 2, "mms": 0, "email": 0}
    settings.MEDIA_ROOT = tmp_path


def test_callbacks_are_not_kept_longer_than_the_messages_of_their_account(client):
    text(client), mail(client)
    Receipt.objects.update(received_at=timezone.now() - timedelta(days=3))
    tasks.sweep()
    assert [each.provider for each in Receipt.objects.all()] == ["sendgrid"]


def test_deliveries_are_not_kept_longer_than_the_messages_of_their_channel(client):
    text(client), mail(client)
    told = {"event": "message.received", "sequence": 1, "payload": "{}", "give_up_at": timezone.now()}
    subscription, _ = subscribe("http://127.0.0.1:9/")
    for conversation in Conversation.objects.all():
        Delivery.objects.create(subscription=subscription, conversation=conversation, status="delivered", **told)
    Delivery.objects.update(created_at=timezone.now() - timedelta(days=3))
    assert "forgotten 1" in tasks.note()
    assert Delivery.objects.get().conversation.channel_type == "email"
