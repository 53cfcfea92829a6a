"""What Prometheus reads."""

from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from conversations.models import Message
from conversations.tests.conftest import accept, claim  # noqa: F401
from providers.models import AccountState

pytestmark = pytest.mark.django_db


@pytest.fixture
def read(client, settings):
    """What stands at /metrics: the value of each sample by its name and the values of its labels."""
    settings.TRUST_LOCAL_REQUESTS = True

    def reading():
        answer = client.get("/metrics")
        assert answer.status_code == 200
        families = text_string_to_metric_families(answer.content.decode())
        return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}

    return reading


def test_due_messages_are_counted_for_each_queue_and_the_longest_due_tells_since_when(accept, read):  # noqa: F811
    accept(), accept(), accept(type="mms"), accept(type="mms", send_at=timezone.now() + timedelta(hours=1))
    Message.objects.filter(type="sms").update(next_attempt_at=timezone.now() - timedelta(minutes=5))
    found = read()
    assert [found["queue_depth", queue] for queue in ("sms", "mms", "email")] == [2, 1, 0]
    assert 300 <= found["oldest_pending_seconds", "sms"] < 310
    assert found["oldest_pending_seconds", "email"] == 0


def test_doubts_are_counted(accept, read):  # noqa: F811
    accept()
    claim()
    Message.objects.update(lease_expires_at=timezone.now())
    Message.objects.doubt_expired_leases(limit=1)
    assert read()["messages_uncertain",] == 1


def test_a_stopped_account_shows(read):
    AccountState.objects.pause("twilio", ["sms"], code="20003", sentence="Refused.", probe_at=None)
    found = read()
    states = {key[1:]: value for key, value in found.items() if key[0] == "provider_account_state"}
    assert (states["twilio", "sms", "paused"], states["twilio", "sms", "running"]) == (1, 0)
    assert (states["twilio", "mms", "running"], states["sendgrid", "email", "running"]) == (1, 1)


@pytest.mark.parametrize(
    ("token", "shown", "status"),
    [
        ("", "", 401),
        ("", "Bearer ", 401),
        ("a-token", "", 401),
        ("a-token", "Bearer a-tok", 401),
        ("a-token", "Bearer a-token", 200),
    ],
)
def test_strangers_read_nothing(client, settings, token, shown, status):
    settings.TRUST_LOCAL_REQUESTS, settings.METRICS_TOKEN = False, token
    assert client.get("/metrics", headers={"Authorization": shown}).status_code == status
