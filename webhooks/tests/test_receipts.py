"""What is kept of callbacks: where, for how long, and how it is applied again."""

import os
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.utils import timezone

from conversations.models import Conversation, Message
from conversations.receiving import MOST_TEXT
from conversations.tests.conftest import accept  # noqa: F401
from webhooks import tasks, views
from webhooks.models import Receipt, Refusal
from webhooks.tests.test_doors import TWILIO, event, mailed, sendgrid, sent, twilio  # noqa: F401
from webhooks.tests.test_inbound import mail, text

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def command(name, *arguments):
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def test_a_mail_is_kept_byte_for_byte_in_the_storage_for_its_owner_alone(client, tmp_path):
    mail(client, text="Grüße")
    receipt = Receipt.objects.get()
    assert "Grüße".encode() in (tmp_path / receipt.body.name).read_bytes()
    assert "Grüße" not in str(receipt.payload)
    assert (tmp_path / receipt.body.name).stat().st_mode & 0o777 == 0o600


def test_the_same_mail_again_is_one_receipt_and_one_file(client, tmp_path):
    for _ in range(3):
        mail(client, headers="Message-ID: <1@x>")
    assert Receipt.objects.count() == Message.objects.count() == 1
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_large_mail_is_applied_by_the_sweep(client):
    mail(client, text="x" * (views.APPLIED_AT_ONCE_BYTES + 1))
    assert not Message.objects.exists()
    tasks.sweep()
    assert len(Message.objects.get().body) > views.APPLIED_AT_ONCE_BYTES


def test_a_mail_of_thirty_megabytes_is_taken(client):
    assert mail(client, text="x" * 30 * 1024 * 1024).status_code == 200
    tasks.sweep()
    assert Message.objects.get().body == "x" * MOST_TEXT
    assert Receipt.objects.get().body.size > 30 * 1024 * 1024


def test_a_mail_over_the_limit_is_answered_kept_without_its_body_and_counted(client):
    assert mail(client, text="x" * 36 * 1024 * 1024).json() == {"status": "ok"}
    assert Receipt.objects.get().payload == {"oversized": True}
    assert Refusal.objects.get(provider="sendgrid", reason="oversized").count == 1


def test_a_storage_that_is_away_is_503_so_that_the_mail_comes_again(client, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "file" / "below"
    (tmp_path / "file").write_text("where a directory should be")
    answer = mail(client)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert not Receipt.objects.exists()


def test_what_was_not_let_in_is_counted_by_its_reason(client, settings):
    settings.TRUST_LOCAL_REQUESTS = False
    for _ in range(3):
        client.post(TWILIO, "x=1", content_type="application/x-www-form-urlencoded")
    client.post(TWILIO, "x=1", content_type="application/x-www-form-urlencoded", headers={"X-Twilio-Signature": "bm8="})
    assert dict(Refusal.objects.values_list("reason", "count")) == {"unsigned": 3, "forged": 1}


def test_a_receipt_that_fails_for_a_day_says_so_and_rests(client, sent, monkeypatch):  # noqa: F811
    monkeypatch.setattr("conversations.models.report.take_report", lambda *_: 1 / 0)
    twilio(client, sent.pk)
    Receipt.objects.update(next_attempt_at=timezone.now(), received_at=timezone.now() - timedelta(hours=25))
    tasks.sweep()
    receipt = Receipt.objects.get()
    assert (receipt.result, receipt.next_attempt_at) == ("failed", None)


def test_settled_receipts_are_forgotten_in_time_with_their_mails(client, sent, settings, tmp_path):  # noqa: F811
    mail(client)
    twilio(client, sent.pk)
    text(client)
    waiting = Receipt.objects.latest("id")
    Receipt.objects.update(received_at=timezone.now() - timedelta(days=settings.RECEIPT_RETENTION_DAYS, hours=1))
    Receipt.objects.filter(pk=waiting.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
    tasks.sweep()
    assert list(Receipt.objects.all()) == [waiting]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert Message.objects.filter(direction="inbound").count() == 2


def test_younger_receipts_stay(client):
    text(client)
    tasks.sweep()
    assert Receipt.objects.count() == 1


def test_replaying_everything_changes_nothing(client, sent, mailed):  # noqa: F811
    text(client), mail(client, headers="Message-ID: <1@x>"), twilio(client, sent.pk)
    sendgrid(client, [event(mailed.pk, "processed"), event(mailed.pk), event(mailed.pk, "open")])

    def everything():
        rows = [list(Message.objects.order_by("pk").values()), list(Conversation.objects.order_by("pk").values())]
        events = Message.objects.order_by("pk", "events__pk").values_list("pk", "events__status", "events__at")
        return [*rows, list(events)]

    before = everything()
    assert command("replay_receipts", "--since", "2020-01-01").startswith("6 receipts applied again.\n")
    assert everything() == before


def test_a_receipt_that_was_given_up_is_replayed_by_hand(client, sent):  # noqa: F811
    twilio(client, "")
    Receipt.objects.update(next_attempt_at=None)
    Message.objects.update(provider_message_id="SM" + "1" * 32)
    assert "1 receipts would" in command("replay_receipts", "--result", "orphan", "--dry-run")
    assert Receipt.objects.get().result == "orphan"
    command("replay_receipts", str(Receipt.objects.get().pk))
    sent.refresh_from_db()
    assert (sent.status, Receipt.objects.get().result) == ("delivered", "applied")


def test_staff_replay_chosen_receipts_and_it_is_written_down_who_did(client, sent, admin_client):  # noqa: F811
    twilio(client, "")
    Receipt.objects.update(next_attempt_at=None)
    Message.objects.update(provider_message_id="SM" + "1" * 32)
    chosen = {"action": "replay", "_selected_action": [Receipt.objects.get().pk]}
    page = admin_client.post("/admin/webhooks/receipt/", chosen, follow=True).text
    assert "Replayed: 1 (1 applied)." in page
    sent.refresh_from_db()
    assert sent.status == "delivered"
    entry = LogEntry.objects.get(content_type__model="receipt")
    assert (entry.user.username, entry.change_message) == ("admin", "Replayed.")


def test_replaying_is_narrowed_by_provider_and_time(client, sent):  # noqa: F811
    text(client), mail(client)
    assert "1 receipts" in command("replay_receipts", "--provider", "sendgrid", "--dry-run")
    assert "0 receipts" in command("replay_receipts", "--until", "2020-01-01T00:00Z", "--dry-run")


@pytest.mark.parametrize("arguments", [[], ["--since", "yesterday"]])
def test_replaying_without_saying_what_is_an_error(arguments):
    with pytest.raises(CommandError):
        command("replay_receipts", *arguments)


def status(client, provider):
    return client.get(f"/api/v1/webhooks/status/{provider}")


def test_the_status_of_a_door_counts_its_last_day(client, sent, settings):  # noqa: F811
    twilio(client, sent.pk), twilio(client, "", MessageSid="SM" + "2" * 32), mail(client)
    Receipt.objects.bulk_create(
        [Receipt(provider="twilio", kind="status", payload={}, dedupe_key="old", verified=True, result="applied",
                 received_at=timezone.now() - timedelta(hours=25))]
    )  # fmt: skip
    Refusal.objects.count_one("twilio", "forged")
    answer = status(client, "twilio").json()
    latest = Receipt.objects.filter(provider="twilio").latest("received_at").received_at
    assert answer == {
        "provider": "twilio",
        "status": "active",
        "statistics": {
            "total_webhooks_24h": 3,
            "processed_webhooks_24h": 1,
            "error_webhooks_24h": 2,
            "last_webhook_at": latest.isoformat().replace("+00:00", "Z"),
        },
    }


def test_a_door_where_nothing_came_says_so(client):
    assert status(client, "sendgrid").json()["statistics"]["last_webhook_at"] is None


def test_the_status_of_an_unknown_provider_is_400(client):
    answer = status(client, "pigeon")
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_provider")


def test_staff_download_a_mail_as_it_came(client, admin_client):
    mail(client, text="Grüße")
    page = f"/admin/webhooks/receipt/{Receipt.objects.get().pk}/"
    assert f"{page}body/" in admin_client.get(f"{page}change/").content.decode()
    download = admin_client.get(f"{page}body/")
    assert download["Content-Disposition"].startswith("attachment")
    assert "Grüße".encode() in b"".join(download)
    assert client.get(f"{page}body/").status_code == 302


def test_what_was_fetched_by_hand_does_not_make_a_door_look_alive(client):
    text(client)
    Receipt.objects.update(backfilled=True)
    statistics = status(client, "twilio").json()["statistics"]
    assert (statistics["total_webhooks_24h"], statistics["last_webhook_at"]) == (0, None)


def test_replaying_says_what_stands_then(client):
    twilio(client, "")
    assert "1  No message of ours is meant" in command("replay_receipts", "--provider", "twilio")
    with pytest.raises(CommandError, match="No such receipts: 7"):
        command("replay_receipts", "7")


def test_who_repeats_a_message_id_replaces_nothing(client):
    genuine, forged = ("x" * (views.APPLIED_AT_ONCE_BYTES + 1), "evil" * views.APPLIED_AT_ONCE_BYTES)
    for body in (genuine, forged):
        assert mail(client, text=body, headers="Message-ID: <1@x>").status_code == 200
    tasks.sweep()
    assert Message.objects.get().body.startswith("xxx")
    with Receipt.objects.get().body.open() as kept:
        assert b"evil" not in kept.read()


def test_of_a_repetition_no_file_is_left(client, tmp_path):
    for body in ("one", "other"):
        mail(client, text=body, headers="Message-ID: <1@x>")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_only_a_large_body_waits_for_its_turn(client, monkeypatch):
    turns = []

    class Turns:
        def __enter__(self):
            turns.append("taken")

        def __exit__(self, *_):
            turns.append("given back")

    monkeypatch.setattr(views, "_large_body", Turns())
    mail(client, text="x")
    assert turns == []
    mail(client, text="x" * views.SMALL_BODY_BYTES)
    assert turns == ["taken", "given back"]


def test_what_is_stored_is_brought_to_the_disk(client, monkeypatch, tmp_path):
    synced = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(os.readlink(f"/proc/self/fd/{handle}")), sync(handle))
    )
    mail(client)
    path = tmp_path / Receipt.objects.get().body.name
    folders = {str(folder) for folder in path.parents if folder.is_relative_to(tmp_path)}
    assert folders <= set(synced)
    assert [name for name in synced if name.startswith(f"{path.parent}/tmp")]


def test_one_sweep_at_a_time_applies_receipts(client):
    mail(client, text="x" * (views.APPLIED_AT_ONCE_BYTES + 1))
    with tasks._sweeping:
        assert tasks.sweep() == "busy"
    assert not Message.objects.exists()


def test_a_sweep_ends_in_time_and_leaves_the_rest_to_the_next(client, monkeypatch):
    mail(client, text="x" * (views.APPLIED_AT_ONCE_BYTES + 1))
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "SWEEP_SECONDS", -1)
        assert tasks.sweep() == "receipts 0, forgotten 0"
    assert tasks.sweep() == "receipts 1, forgotten 0"


def test_a_receipt_whose_file_can_not_be_deleted_stays_and_stops_nobody(client, tmp_path):
    mail(client)
    path = tmp_path / Receipt.objects.get().body.name
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    Receipt.objects.update(received_at=timezone.now() - timedelta(days=365))
    tasks.sweep()
    assert Receipt.objects.count() == 1
