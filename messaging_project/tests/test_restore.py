"""A copy that came out of a real dump of a real database into another cluster."""

import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from conversations import delivery, settling
from conversations import tasks as sending
from conversations.models import DatabaseIdentity, Message, MessageEvent
from conversations.models.message import MessageQuerySet
from conversations.tests.conftest import accept, claim, providers  # noqa: F401
from messaging_project import tally
from messaging_project.celery import say_gone, say_started
from messaging_project.local.servers import LOOPBACK, PostgreSQL
from messaging_project.models import Heartbeat, Tally
from providers.tests.conftest import sandbox  # noqa: F401
from webhooks import restoring
from webhooks import tasks as telling
from webhooks.tests.test_telling import soon, subscribe, subscriber  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def identity():
    """That of this database, which a flush between two tests takes away."""
    current = DatabaseIdentity.objects.current()
    return DatabaseIdentity.objects.update_or_create(pk=1, defaults={"identity": current, "numbers_of": current})[0]


@pytest.fixture
def other_cluster():
    """Not below tmp_path, which another run of pytest closes to others than its owner whenever one begins."""
    place = Path(tempfile.mkdtemp(prefix="switchboard-restored-"))
    place.chmod(0o711)  # as root, PostgreSQL runs as nobody, who has to pass through
    server = PostgreSQL(place / "postgres", password="test-restored", durable=False)
    try:
        yield server.start()
    finally:
        server.remove()
        place.rmdir()


# As a database that has run for a while: the numbers in its timelines lie far ahead of a new cluster's.
GROW_OLD = "DO $$ BEGIN FOR number IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"


def dump(server, path: Path):
    own = connection.settings_dict
    url = f"postgres://{own['USER']}:{quote(own['PASSWORD'])}@{own['HOST']}:{own['PORT']}/{own['NAME']}"
    subprocess.run([server.programs / "pg_dump", "-Fc", f"--file={path}", url], check=True)


def restore(server, path: Path):
    """Do with a database what docs/backup.md says under Restore."""
    page = (settings.BASE_DIR / "docs" / "backup.md").read_text().partition("## Restore")[2]
    lines = re.findall(r"^docker compose exec -T db (\w+) ([^<\n]+)(<.*)?$", page, re.MULTILINE)
    environment = {"PGHOST": LOOPBACK, "PGPORT": str(server.port), "PGPASSWORD": server.password}
    for program, arguments, takes_the_dump in lines:
        with open(path if takes_the_dump else os.devnull, "rb") as given:
            command = [server.programs / program, *arguments.split()]
            subprocess.run(command, env=environment, stdin=given, check=True)


@contextmanager
def restored(server, path: Path):
    """Within this, Django works on a copy of what was dumped."""
    restore(server, path)
    with connected_to(server.url):
        yield


@contextmanager
def connected_to(url):
    parts, own = urlsplit(url), dict(connection.settings_dict)
    names = {"NAME": parts.path[1:], "HOST": parts.hostname, "PORT": parts.port}
    try:
        lead_to({**names, "USER": parts.username, "PASSWORD": parts.password})
        yield
    finally:
        lead_to({name: own[name] for name in ("NAME", "HOST", "PORT", "USER", "PASSWORD")})


def lead_to(names):
    connection.close()
    connection.close_pool()
    connection.settings_dict.update(names)


def after_restore(*arguments):
    out = StringIO()
    call_command("after_restore", *arguments, stdout=out)
    return out.getvalue()


def status_of(message):
    return Message.objects.get(pk=message.pk).status


def work():
    """What workers and sweepers do of themselves, once."""
    return [dict(delivery.deliver_due("sms")), sending.sweep(), telling.tell()]


def test_a_restored_copy_sends_nothing_until_somebody_says_so_and_then_nothing_twice(
    accept, providers, settings, client, subscriber, other_cluster, identity, tmp_path  # noqa: F811
):  # fmt: skip
    settings.SETTLE_GAP_SECONDS = 0
    providers.dial(callback_delay_ms=3_600_000)
    with connection.cursor() as cursor:
        cursor.execute(GROW_OLD)
    subscribe(subscriber.url, ["message.sent", "message.delivered", "message.uncertain"])
    before = accept(recipient="+15550000001")
    delivery.deliver_due("sms")
    telling.tell()
    held = accept(recipient="+15550000002")
    claim()
    waiting, unsent = accept(recipient="+15550000003"), accept(recipient="+15550000004")
    later = accept(recipient="+15550000005", send_at=timezone.now() + timedelta(days=1))
    before.events.create(status="delivered", evidence="reported", attempt=1)  # and nobody was told of it yet
    tally.count_on()
    dump(other_cluster, tmp_path / "backup")
    assert delivery.deliver_now(waiting)  # the original lives on

    with restored(other_cluster, tmp_path / "backup"):
        assert MessageEvent.objects.filter(transaction_number__gt=current_transaction()).exists()
        assert work() == [{}, sending.RESTORED_COPY, sending.RESTORED_COPY]
        assert (status_of(waiting), len(providers.ledger()), subscriber.types) == ("pending", 2, ["message.sent"])
        probe = client.get("/ready")
        assert (probe.status_code, probe.json()["checks"]["restore"]["mend"]) == (
            503,
            "python manage.py after_restore",
        )

        said = after_restore()
        assert "3 messages" in said
        assert "Scheduled for later: 1" in said
        assert [status_of(each) for each in (held, waiting, unsent)] == ["uncertain"] * 3
        assert (status_of(later), status_of(before)) == ("pending", "sent")
        assert client.get("/ready").status_code == 200

        for _ in range(settling.LOOKS_THAT_PROVE_ABSENCE):
            settling.settle_due()
        assert [status_of(each) for each in (held, waiting, unsent)] == ["pending", "sent", "pending"]
        work()
        sent_to = [entry["to"] for entry in providers.ledger()]
        assert sorted(sent_to) == [f"+1555000000{number}" for number in (1, 2, 3, 4)]
        # What was told is not told again, what was not is, and so is what is new, to whoever had subscribed.
        told = ["message.delivered", *["message.sent"] * 3, *["message.uncertain"] * 3]
        assert (subscriber.types[0], sorted(subscriber.types[1:])) == ("message.sent", told)
        sequences = [event["sequence"] for event in subscriber.events]
        # Whatever the original went on to tell; those of several conversations may overtake each other.
        assert min(sequences[1:]) - sequences[0] > restoring.SEQUENCES_SKIPPED
        # No number of the original is left that this database would reach one day, and each event is counted once.
        assert not MessageEvent.objects.filter(transaction_number__gt=current_transaction()).exists()
        tally.count_on()
        counted = Tally.objects.filter(name="messages_total", labels__contains=["pending"])
        assert sum(counted.values_list("value", flat=True)) == 5 + 2  # two were sent again


def test_a_backup_can_be_restored_over_a_newer_version_and_is_a_copy_there_too(other_cluster, identity, tmp_path):
    dump(other_cluster, tmp_path / "backup")
    with restored(other_cluster, tmp_path / "backup"):
        after_restore("--nothing-was-sent")
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE newer (message_id uuid REFERENCES conversations_message)")
    with restored(other_cluster, tmp_path / "backup"):
        assert "newer" not in connection.introspection.table_names()
        assert DatabaseIdentity.objects.is_copy()


def test_an_interrupted_after_restore_goes_on_where_it_was(accept, identity, monkeypatch):  # noqa: F811
    message = accept()
    DatabaseIdentity.objects.update(identity="another", numbers_of="another")
    with monkeypatch.context() as patch:
        patch.setattr(MessageQuerySet, "doubt_restored", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            after_restore()
    assert DatabaseIdentity.objects.is_copy()
    assert "Timelines" not in after_restore()
    assert (DatabaseIdentity.objects.is_copy(), status_of(message)) == (False, "uncertain")


def current_transaction():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return cursor.fetchone()[0]


def test_a_database_at_home_is_left_alone(accept, identity):  # noqa: F811
    message = accept()
    assert "no copy" in after_restore()
    assert status_of(message) == "pending"


def test_no_policy_sends_again_what_the_original_has_most_likely_sent(accept, identity, settings):  # noqa: F811
    settings.ON_UNRESOLVED = {**settings.ON_UNRESOLVED, "email": "resend"}
    message = accept(type="email", sender="ann@example.com", recipient="bob@example.com", provider="sendgrid")
    DatabaseIdentity.objects.update(identity="another", numbers_of="another")
    after_restore()
    Message.objects.update(settle_at=timezone.now(), settle_by=timezone.now())
    settling.settle_due()
    assert status_of(message) == "unresolved"


def test_what_was_moved_while_everything_stood_still_stays_pending(accept, identity):  # noqa: F811
    message = accept()
    DatabaseIdentity.objects.update(identity="another", numbers_of="another")
    assert not claim()
    after_restore("--nothing-was-sent")
    assert (status_of(message), len(claim())) == ("pending", 1)


def test_a_copy_of_files_is_doubted_on_request_and_not_beside_workers(accept, identity):  # noqa: F811
    message = accept()
    say_started.send(sender=None, worker="sms@one", queues=["sms"])
    Heartbeat.beat(["queue sms"], "sms@one")
    with pytest.raises(CommandError, match="Stop them first"):
        after_restore("--physical")
    say_gone.send(sender=None, worker="sms@one")
    after_restore("--physical")
    assert status_of(message) == "uncertain"
