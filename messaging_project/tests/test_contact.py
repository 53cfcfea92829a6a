"""Everything of one number or address: written out, and erased."""

import errno
import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from threading import Timer

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.utils import timezone

from conversations import tasks
from conversations.models import Conversation, IdempotencyKey, Message, Note, OptOut
from conversations.receiving import receive
from conversations.tests.conftest import accept, claim  # noqa: F401
from messaging_project.contact import Contact
from messaging_project.erasure import Erasure
from messaging_project.management.commands import export_contact
from providers.base import InboundMedia, InboundMessage
from webhooks.models import Delivery, Receipt
from webhooks.tests.test_doors import twilio
from webhooks.tests.test_inbound import mail, text
from webhooks.tests.test_telling import subscribe

pytestmark = pytest.mark.django_db

THEM, ANOTHER = "+15559876543", "+15550000001"
MAIL = "bob@example.com"


@pytest.fixture(autouse=True)
def own_media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def world(client, accept, admin_user):  # noqa: F811
    """What is held of somebody with a number and an address, and of somebody else."""
    sent = accept(body="To Bob", metadata={"name": "Bob"}, recipient=THEM)
    claim()
    twilio(client, sent.pk, "undelivered", To=THEM, ErrorCode="30003")
    text(client, From=THEM, Body="From Bob")
    post(client, {"from": "+15551234567", "to": THEM, "type": "sms", "body": "Hi"})
    OptOut.objects.opt_out("sms", "+15551234567", THEM, source="keyword")
    mail(client, text="Bob writes")
    conversation = Conversation.objects.get(participants_key__contains=THEM)
    Note.objects.create(conversation=conversation, text="Bob is nice")
    content_type = ContentType.objects.get_for_model(Conversation)
    about = {"content_type": content_type, "object_id": str(conversation.pk), "object_repr": str(conversation)}
    LogEntry.objects.create(user=admin_user, action_flag=CHANGE, change_message=f"Wrote to {THEM}.", **about)
    accept(recipient=ANOTHER, body="Another")
    told = {"event": "message.received", "sequence": 1, "payload": f'{{"from":"{THEM}"}}', "give_up_at": timezone.now()}
    Delivery.objects.create(subscription=subscribe("http://127.0.0.1:9/")[0], conversation=conversation, **told)
    return conversation


def post(client, body):
    headers = {"Idempotency-Key": "once"}
    assert client.post("/api/v1/messages/send", body, content_type="application/json", headers=headers)


def run(command, *arguments):
    out = StringIO()
    call_command(command, *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def held(directory: Path):
    """All that the database and the storage hold, as text."""
    rows = [str(list(model.objects.values())) for model in apps.get_models()]
    files = [path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file()]
    return "\n".join([*rows, *files])


def traces(directory: Path, *texts):
    found = held(directory)
    return [each for each in texts if each in found]


def test_an_export_has_all_of_one_contact_and_nothing_of_another(world, tmp_path):
    told = json.loads(run("export_contact", "+1 (555) 987-6543", "--files", str(tmp_path / "files")))
    assert {name: len(rows) for name, rows in told.items() if isinstance(rows, list)} == {
        "conversations": 1, "conversation_events": 1, "notes": 1, "messages": 3, "message_events": 4, "media": 0,
        "opt_outs": 1, "receipts": 2, "deliveries": 1, "idempotency_keys": 1, "log_entries": 1,
    }  # fmt: skip
    assert {row["body"] for row in told["messages"]} == {"To Bob", "From Bob", "Hi"}
    assert ANOTHER not in str(told)


def test_an_export_to_a_file_is_for_its_owner_alone_and_brings_the_mails_along(world, tmp_path):
    output, files = tmp_path / "bob.json", tmp_path / "files"
    run("export_contact", "BOB@example.com", "--output", str(output), "--files", str(files))
    assert output.stat().st_mode & 0o777 == 0o600
    [receipt] = json.loads(output.read_text())["receipts"]
    assert "Bob writes" in (files / receipt["body"]).read_text()
    with pytest.raises(CommandError, match="is there already"):
        run("export_contact", MAIL, "--output", str(output))


@pytest.mark.parametrize("option", ["--output", "--files"])
def test_an_export_to_where_nothing_can_be_written_ends_with_a_sentence(option, tmp_path):
    place = tmp_path / "nowhere" / "bob"
    with pytest.raises(CommandError, match=rf"{place} can't be written: No such file or directory\."):
        run("export_contact", THEM, option, str(place))


def test_a_disk_that_fills_up_under_an_export_is_a_sentence(world, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_contact.shutil, "copyfileobj", full)
    with pytest.raises(CommandError, match=r"The output can't be written: No space left on device\."):
        run("export_contact", MAIL, "--files", str(tmp_path / "files"))


def test_what_was_erased_is_nowhere_and_what_is_counted_stays(world, settings):
    counted = list(Message.objects.order_by("pk").values("pk", "status", "direction", "segments", "created_at"))
    assert traces(settings.MEDIA_ROOT, THEM, MAIL, "Bob")
    said = run("erase_contact", THEM, "--yes") + run("erase_contact", MAIL, "--yes")
    assert "1  waiting messages canceled" in said
    assert not traces(settings.MEDIA_ROOT, THEM, THEM[1:], MAIL, "Bob", "To Bob", "From Bob", "Bob writes", "nice")
    canceled = {row["pk"]: row for row in Message.objects.values(*counted[0]) if row["status"] == "canceled"}
    assert [canceled.get(row["pk"], row) for row in counted] == list(Message.objects.order_by("pk").values(*counted[0]))
    assert traces(settings.MEDIA_ROOT, ANOTHER, "Another") == [ANOTHER, "Another"]
    assert run("erase_contact", THEM, "--yes").count("Erased.") == 1


def test_who_opted_out_and_was_erased_still_gets_nothing(world, accept):  # noqa: F811
    run("erase_contact", THEM, "--yes")
    assert accept(recipient=THEM).error_code == "recipient_opted_out"
    assert "opt-outs" in run("erase_contact", THEM, "--yes")
    assert accept(recipient=THEM).error_code == "recipient_opted_out"


def test_a_text_that_comes_again_after_all_does_not_bring_back_what_was_erased(world, client):
    receipt = Receipt.objects.get(kind="inbound", provider="twilio")
    run("erase_contact", THEM, "--yes")
    receipt.pk = None
    receipt.save(force_insert=True)  # as `backfill` fetches it
    Receipt.objects.filter(pk=receipt.pk).update(result="", applied_at=None, next_attempt_at=timezone.now())
    Receipt.objects.apply([receipt])
    assert not Message.objects.filter(sender=THEM).exists()


def test_what_a_worker_holds_is_waited_for(accept, transactional_db):  # noqa: F811
    message = accept()
    claim()
    ends = {"status": "sent", "lease_expires_at": None}
    Timer(0.7, lambda: Message.objects.filter(pk=message.pk).update(**ends)).start()
    said = run("erase_contact", THEM, "--yes")
    message.refresh_from_db()
    assert "on their way: 1 sending" in said
    assert (message.status, message.recipient, message.body) == ("sent", "redacted", "")


@pytest.mark.parametrize("clock", [timedelta(0), timedelta(seconds=5)])
def test_a_strangers_mail_that_comes_meanwhile_takes_effect_before_it_is_erased(
    world, client, transactional_db, monkeypatch, clock
):
    let_go, now, came = Erasure.let_go, timezone.now, []

    def and_a_mail_comes(self, contact):
        if not came:
            came.append(mail(client, text=f"Ask {contact.address}, too. " + "x" * 100_000))
        let_go(self, contact)

    monkeypatch.setattr(Erasure, "let_go", and_a_mail_comes)
    monkeypatch.setattr(timezone, "now", lambda: now() + clock)
    before = Message.objects.filter(direction="inbound").count()
    run("erase_contact", THEM, "--yes")
    assert Message.objects.filter(direction="inbound").count() == before + 1


def test_what_is_not_let_go_of_is_left_and_said(accept):  # noqa: F811
    accept()
    claim()
    with pytest.raises(CommandError, match="1 sending"):
        run("erase_contact", THEM, "--yes", "--wait-minutes", "0")
    assert Message.objects.get().recipient == THEM


def test_files_that_the_storage_keeps_are_said_and_the_sweeper_deletes_them_later(settings, monkeypatch):
    picture = InboundMedia(content=b"Bob's picture", content_type="image/png")
    who = {"sender": THEM, "recipient": "+15551234567"}
    receive("twilio", InboundMessage(provider_message_id="MM1", channel="mms", media=(picture,), **who))
    with monkeypatch.context() as patch:
        patch.setattr(default_storage._wrapped.__class__, "delete", lambda *_: 1 / 0)
        with pytest.raises(CommandError, match=r"some files \(1\)"):
            run("erase_contact", THEM, "--yes")
    assert traces(settings.MEDIA_ROOT, THEM, "Bob") == ["Bob"]
    tasks.redact()
    assert not traces(settings.MEDIA_ROOT, "Bob")


def test_nothing_is_erased_without_a_yes_nor_one_of_our_own(world, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with pytest.raises(CommandError, match="Nothing was erased"):
        run("erase_contact", THEM)
    with pytest.raises(CommandError, match="one of our own"):
        run("erase_contact", "+15551234567", "--yes")
    with pytest.raises(CommandError, match="not an email address"):
        run("erase_contact", "bob@", "--yes")
    assert Contact(THEM).messages().filter(redacted_at=None).count() == 3


# What holds nothing of anybody who is written to: who uses the API, how far something is, what is counted.
OF_NOBODY = {
    "ApiKey", "Client", "DatabaseIdentity", "SenderPace", "AccountState", "ChannelClock", "OutboxPosition", "Refusal",
    "Subscription", "Counted", "Heartbeat", "Tally",
}  # fmt: skip


def test_of_every_table_is_known_whether_it_holds_something_of_a_contact():
    ours = {model for app in ("conversations", "providers", "webhooks", "messaging_project") for model in
            apps.get_app_config(app).get_models() if not model._meta.proxy}  # fmt: skip
    held = {rows.model for name, rows in Contact(THEM).tables().items() if name not in ("receipts", "log_entries")}
    assert {model.__name__ for model in ours - held - {Receipt}} == OF_NOBODY
    assert IdempotencyKey in held
