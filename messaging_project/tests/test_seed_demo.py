"""The demo world: believable, deterministic, never sent, told to nobody, and gone without a trace."""

from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db.models import Count, Max, Q
from django.utils import timezone

from conversations.models import Conversation, Media, Message, OptOut
from conversations.models.outcome import Outcome
from conversations.models.status import Status
from conversations.tests.conftest import accept, claim  # noqa: F401
from messaging_project.demo_world.world import make_world
from providers.base import DeliveryReport
from webhooks.models import Delivery, Subscription
from webhooks.models.subscription import EVENT_TYPES
from webhooks.telling import note_events

pytestmark = pytest.mark.django_db
YEAR = timedelta(days=366)


@pytest.fixture(autouse=True)
def own_machine(settings, tmp_path):
    """A developer's machine, with a storage of its own."""
    settings.DEBUG = True
    settings.MEDIA_ROOT = tmp_path


def seed(*options, conversations=60):
    output = StringIO()
    call_command("seed_demo", f"--conversations={conversations}", *options, stdout=output)
    return output.getvalue()


def files():
    return [path for path in Path(django_settings.MEDIA_ROOT).rglob("*") if path.is_file()]


def line(event):
    return event.status, event.evidence, event.attempt, event.code, event.detail


def test_every_status_appears_but_that_of_a_worker_at_work():
    seed()
    assert set(Message.objects.values_list("status", flat=True)) == set(Status) - {Status.SENDING}
    assert set(Conversation.objects.values_list("status", flat=True)) == set(Conversation.Status)


def test_conversations_count_their_messages():
    seed()
    inbound = Count("messages", filter=Q(messages__direction="inbound"))
    for each in Conversation.objects.annotate(n=Count("messages"), newest=Max("messages__created_at"), inbound=inbound):
        assert (each.message_count, each.last_message_at) == (each.n, each.newest)
        latest = each.messages.order_by("-created_at")[: each.unread_count]
        assert {message.direction for message in latest} <= {"inbound"}
    assert Conversation.objects.filter(unread_count__gt=0).exists()


def test_timelines_end_where_their_messages_are():
    seed()
    for message in Message.objects.prefetch_related("events"):
        events = [each for each in message.events.all() if each.status in Status.values]
        assert events[-1].status == message.status
        assert events[-1].attempt == message.attempts
        assert message.created_at <= events[0].at <= events[-1].at == message.updated_at <= timezone.now()
        assert bool(message.error_code) == (
            message.status in {"failed", "undelivered", "expired", "uncertain", "unresolved"}
        )


def said(word, message):
    known = {"provider_message_id": "SM1", "message_id": message.pk, "attempt": message.attempts or 1}
    return DeliveryReport(status=word, provider_status=word, **known)


def test_a_message_that_arrived_has_the_timeline_that_a_real_one_has(accept):  # noqa: F811
    real = accept()
    claim()
    taken = Outcome(message_id=real.pk, attempt=1, status=Status.SENT, provider_message_id="SM1", segments=1)
    Message.objects.record_outcomes([taken])
    for word in ("sent", "delivered"):
        Message.objects.apply_report("twilio", said(word, real))
    seed()
    made = Message.objects.filter(type="sms", status="delivered", attempts=1).exclude(pk=real.pk).first()
    assert [line(each) for each in made.events.all()] == [line(each) for each in real.events.all()]


def test_nothing_falls_due_but_what_is_scheduled():
    seed()
    soon = timezone.now() + YEAR
    scheduled = Message.objects.filter(status="pending")
    assert scheduled.exists()
    assert not scheduled.exclude(send_at__gt=timezone.now() + timedelta(hours=1)).exists()
    assert not Message.objects.filter(settle_at__lt=soon).exists()
    assert not Message.objects.filter(report_due_at__isnull=False).exists()
    assert not Media.objects.exclude(status="stored").exists()


@pytest.mark.django_db(transaction=True)
def test_subscribers_are_told_nothing_of_it(accept):  # noqa: F811
    subscription = Subscription(url="https://example.com/hook", events=list(EVENT_TYPES), since="3:3:")
    subscription.new_secret()
    subscription.save()
    seed()
    accept()
    note_events()
    assert [each.event for each in Delivery.objects.all()] == ["conversation.created"]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("DEBUG", False, "DEBUG is off"),
        ("PUBLIC_URL_IS_LOOPBACK", False, "PUBLIC_URL"),
        ("TWILIO_BASE_URL", "https://api.twilio.com", "twilio would send to real people"),
        ("ROUTES", {"sms": ["twilio"], "mms": ["twilio"], "email": ["sendgrid", "smtp"]}, "smtp would send"),
    ],
)
def test_it_is_refused_where_messages_could_reach_people(settings, name, value, why):
    setattr(settings, name, value)
    with pytest.raises(CommandError, match=why):
        seed()
    assert not Conversation.objects.exists()


def test_who_insists_gets_nothing_that_could_be_sent(settings):
    settings.TWILIO_BASE_URL = "https://api.twilio.com"
    seed("--yes-into-this-database")
    assert Message.objects.exists()
    assert not Message.objects.filter(status__in=["pending", "uncertain"]).exists()


def test_a_second_one_is_refused():
    seed()
    with pytest.raises(CommandError, match="--remove takes it away"):
        seed()


def test_it_is_removed_with_its_files_and_nothing_else_is(accept, django_capture_on_commit_callbacks):  # noqa: F811
    mine = accept()
    OptOut.objects.opt_out("sms", "+15551234567", "+15550009999", source="staff")
    seed()
    assert files()
    assert OptOut.objects.count() > 1
    with django_capture_on_commit_callbacks(execute=True):
        seed("--remove")
    assert list(Message.objects.all()) == [mine]
    assert (Conversation.objects.count(), OptOut.objects.count(), Media.objects.count()) == (1, 1, 0)
    assert files() == []


def facts(world):
    return [
        (m.id, m.sender, m.recipient, m.body, m.status, m.created_at, m.provider_message_id) for m in world.messages
    ]


def test_the_same_seed_makes_the_same_world():
    now = timezone.now()
    first, again, other = (make_world(each, 50, now, with_scheduled=True) for each in (7, 7, 8))
    assert facts(first) == facts(again)
    assert facts(first) != facts(other)


def test_pictures_are_pngs_and_mails_quote_what_they_answer():
    seed()
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in media_of("mms"))
    quoting = list(Message.objects.filter(type="email", parent__isnull=False, direction="inbound"))
    assert quoting
    assert all(mail.parent.newly_written.split("\n")[0] in mail.body[mail.quoted_from :] for mail in quoting)


def media_of(kind):
    found = [Path(media.file.path) for media in Media.objects.filter(message__type=kind)]
    assert found
    return found
