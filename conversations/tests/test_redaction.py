"""What is forgotten in time, and what is not."""

from datetime import timedelta
from io import BytesIO

import pytest
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.utils import timezone

from conversations import mail_links, receiving, redaction, tasks
from conversations.models import Conversation, Media, Message, MessageEvent, Note, OptOut
from conversations.pseudonyms import pseudonym
from conversations.tests.conftest import claim
from providers.base import DeliveryReport, InboundMedia, InboundMessage

pytestmark = pytest.mark.django_db

US, THEM = "+15551234567", "+15559876543"
OURS, THEIRS = "desk@example.com", "bob@example.net"


@pytest.fixture(autouse=True)
def kept_for_thirty_days(settings, tmp_path):
    settings.RETENTION_DAYS = {"sms": 30, "mms": 30, "email": 0}
    settings.MEDIA_ROOT = tmp_path


def grow_old(days=31):
    long_ago = timezone.now() - timedelta(days=days)
    Message.objects.update(updated_at=long_ago, created_at=long_ago)


def delivered(accept, **values):
    """An old message that arrived."""
    message = accept(**values)
    said = {"status": "delivered", "provider_status": "delivered", "error_message": f"{THEM} has it."}
    report = DeliveryReport(provider_message_id=f"SM{message.pk}", message_id=message.pk, **said)
    Message.objects.apply_report(message.provider, report)
    grow_old()
    return message


def everything_of(message):
    message.refresh_from_db()
    events = list(MessageEvent.objects.filter(message=message).values())
    media = list(Media.objects.filter(message=message).values())
    return str([Message.objects.filter(pk=message.pk).values()[0], events, media])


def test_what_was_said_and_to_whom_goes_and_what_is_counted_stays(accept):
    message = delivered(accept, body="A secret", metadata={"name": "Bob"}, attachments=["https://example.com/a"])
    before = Message.objects.values("status", "segments", "attempts", "created_at", "updated_at", "provider").get()
    assert tasks.redact() == "redacted 1"
    told = everything_of(message)
    assert not [each for each in ("secret", "Bob", THEM, THEM[1:], "example.com/a") if each in told]
    assert Message.objects.values(*before).get() == before
    assert (message.sender, message.provider_message_id) == (US, f"SM{message.pk}")
    assert (message.redacted_at is not None, message.events.last().status) == (True, "redacted")


def test_a_report_that_comes_late_counts_and_brings_no_words_back(accept):
    message = accept(body="A secret")
    Message.objects.update(status="sent", attempts=1, next_attempt_at=None)
    grow_old()
    assert tasks.redact() == "redacted 1"
    said = {"status": "undelivered", "provider_status": "undelivered", "error_message": f"{THEM} is gone."}
    report = DeliveryReport(provider_message_id="SM1", message_id=message.pk, error_code="30003", **said)
    Message.objects.apply_report(message.provider, report)
    told = everything_of(message)
    assert (message.status, message.error_code, THEM[1:] in told) == ("undelivered", "30003", False)


def test_what_is_younger_or_on_its_way_or_of_a_channel_that_is_kept_stays(accept):
    young, mail = delivered(accept), delivered(accept, type="email", sender=OURS, recipient=THEIRS)
    waiting = accept(recipient="+15550000001")
    grow_old()
    Message.objects.filter(pk=young.pk).update(updated_at=timezone.now() - timedelta(days=29))
    assert (redaction.is_due(), tasks.redact()) == (False, "redacted 0")
    assert [Message.objects.get(pk=each.pk).body for each in (young, mail, waiting)] == ["Hello"] * 3


def test_nothing_is_forgotten_unless_it_is_asked_for(accept, settings):
    settings.RETENTION_DAYS = {"sms": 0, "mms": 0, "email": 0}
    delivered(accept)
    assert tasks.redact() == "redacted 0"


def test_some_at_a_time(accept):
    for number in range(3):
        delivered(accept, recipient=f"+1555000000{number}")
    assert [redaction.redact_due(2), redaction.redact_due(2), redaction.is_due()] == [2, 1, False]


def received(key="MM1", **values):
    """An old message that came in with a picture, as it comes again."""
    picture = InboundMedia(content=b"picture", content_type="image/png", filename="bob.png")
    who = {"sender": THEM, "recipient": US, **values}
    message = receiving.receive(
        "twilio", InboundMessage(provider_message_id=key, channel="mms", media=(picture,), **who)
    )
    grow_old()
    return message


@pytest.fixture
def keeps(monkeypatch):
    """Ids of messages whose files the storage does not delete."""
    ids, delete = [], default_storage._wrapped.__class__.delete

    def deleting(self, name):
        return 1 / 0 if any(each in name for each in ids) else delete(self, name)

    monkeypatch.setattr(default_storage._wrapped.__class__, "delete", deleting)
    return ids


def test_a_file_goes_with_its_message_which_is_known_when_it_comes_again():
    message = received()
    name = Media.objects.get().file.name
    assert (tasks.redact(), default_storage.exists(name)) == ("redacted 1", False)
    assert "bob" not in everything_of(message)
    assert received().pk == message.pk
    assert (Media.objects.get().file.name, redaction.is_due()) == ("", False)


def test_a_file_that_the_storage_keeps_is_nobodys_and_is_deleted_later(keeps, client):
    message = received()
    media = Media.objects.get()
    keeps.append("MM1")
    assert (tasks.redact(), default_storage.exists(media.file.name)) == ("redacted 1", True)
    assert "bob" not in everything_of(message)
    assert client.get(media.get_absolute_url()).json()["detail"] == "It was redacted."
    assert not redaction.is_due()  # the storage is left alone for a while
    keeps.clear()
    Media.objects.update(next_attempt_at=timezone.now())
    assert (redaction.is_due(), tasks.redact()) == (True, "redacted 0")
    assert not default_storage.exists(media.file.name)


def test_files_that_the_storage_keeps_hold_up_neither_messages_nor_files(keeps, monkeypatch):
    monkeypatch.setattr(redaction, "FILES_OF_ONE", 1)
    keeps.append("MM1")
    kept, other = received("MM1"), received("MM2", sender="+15550000001")
    Message.objects.filter(pk=kept.pk).update(updated_at=timezone.now() - timedelta(days=40))
    names = [each.media.get().file.name for each in (kept, other)]
    assert [redaction.redact_due(1) for _ in range(3)] == [1, 1, 0]
    assert [default_storage.exists(each) for each in names] == [True, False]


def test_a_message_that_is_queued_again_before_its_turn_keeps_its_file():
    message = received()
    Message.objects.update(direction="outbound", status="pending", next_attempt_at=timezone.now())
    assert redaction.redact([message.pk], redaction.erased, "") == 0
    Media.objects.delete_due(1)
    assert default_storage.exists(Media.objects.get().file.name)


def test_a_file_that_is_fetched_while_its_message_is_redacted_is_not_kept(tmp_path):
    picture = InboundMedia(url="https://api.twilio.com/1", content_type="image/png")
    receiving.receive(
        "twilio",
        InboundMessage(provider_message_id="MM1", channel="mms", sender=THEM, recipient=US, media=(picture,)),
    )
    [media] = Media.objects.take_due(1)
    grow_old()
    tasks.redact()
    media._keep_fetched(File(BytesIO(b"picture")), 7)  # as a fetch that began before ends
    Media.objects.write_down([media])
    assert (Media.objects.get().status, [path for path in tmp_path.rglob("*") if path.is_file()]) == ("missing", [])


def test_a_conversation_with_newer_messages_stays_usable(accept):
    delivered(accept, body="Old")
    newer = accept()
    tasks.redact()
    conversation = Conversation.objects.get()
    assert (conversation.participant_to, conversation.status, accept().conversation_id) == (
        THEM,
        "active",
        newer.conversation_id,
    )


def test_a_conversation_in_which_nothing_is_left_is_closed_and_names_nobody(accept):
    old = delivered(accept)
    Conversation.objects.update(title="Bob", metadata={"name": "Bob"})
    Note.objects.create(conversation=old.conversation, text="Bob is nice")
    tasks.redact()
    conversation = Conversation.objects.get()
    assert (conversation.status, conversation.participant_from) == ("closed", US)
    assert not [each for each in (THEM, "Bob") if each in str(Conversation.objects.values()[0])]
    assert not Note.objects.exists()
    assert accept().conversation_id != conversation.pk


def test_whoever_unsubscribes_from_a_redacted_mail_gets_no_more(accept, client, settings):
    settings.RETENTION_DAYS = {"sms": 0, "mms": 0, "email": 30}
    who = {"type": "email", "sender": OURS, "recipient": THEIRS, "provider": "sendgrid"}
    mail = delivered(accept, unsubscribe=True, **who)
    tasks.redact()
    client.post(mail_links.unsubscribe_url(mail.pk).removeprefix(settings.PUBLIC_URL))
    assert OptOut.objects.get().their_address == pseudonym(THEIRS)
    assert accept(**{**who, "recipient": "Bob@example.net"}).error_code == "recipient_opted_out"


def test_an_opt_out_by_pseudonym_holds_in_the_claim_also_after_the_key_was_changed(accept, settings):
    OptOut.objects.opt_out("sms", US, pseudonym(THEM), source="keyword")
    OptOut.objects.update(opted_out_at=timezone.now())
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, [settings.SECRET_KEY]
    assert accept().error_code == "recipient_opted_out"
    Message.objects.update(status="pending", next_attempt_at=timezone.now())
    assert [each.recipient_opted_out for each in OptOut.objects.heeded_by_pseudonym(claim())] == [True]
    start = InboundMessage(provider_message_id="1", channel="sms", sender=THEM, recipient=US, body="START")
    receiving.receive("twilio", start)
    assert accept().status == "pending"


def test_what_was_redacted_can_not_be_sent_again_nor_doubted_and_says_why(accept, client):
    message = delivered(accept)
    Message.objects.update(status="undelivered")
    tasks.redact()
    path = f"/api/v1/messages/{message.pk}"
    again = client.post(f"{path}/retry")
    doubt = client.patch(f"{path}/status", {"status": "uncertain"}, content_type="application/json")
    assert [(each.status_code, each.json()["code"]) for each in (again, doubt)] == [
        (400, "redacted"),
        (409, "redacted"),
    ]
    assert "was redacted on" in again.json()["detail"]
    assert client.get(f"{path}/events").json()["events"][-1]["status"] == "redacted"


def test_staff_see_since_when_it_is_redacted_and_are_not_offered_to_send_it_again(accept, admin_client):
    message = delivered(accept)
    Message.objects.update(status="undelivered")
    page = f"/admin/conversations/conversation/{message.conversation_id}/change/"
    assert "Send again" in admin_client.get(page).text
    tasks.redact()
    shown = admin_client.get(page).text
    assert ("Redacted on" in shown, "Send again" in shown, THEM in shown) == (True, False, False)
    assert ">Redacted<" in admin_client.get("/admin/conversations/conversation/").text


def test_the_sweep_rings_for_what_is_to_be_redacted(accept, monkeypatch):
    rung = []
    monkeypatch.setattr(tasks._doorbell, "publish", lambda task, *_: rung.append(task.name))
    delivered(accept)
    tasks.sweep()
    assert rung == ["conversations.redact"]
