"""`manage.py verify_queue` against the processes of `make run`: what it finds, and what it leaves behind."""

import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import redis
from django.core.management import CommandError, call_command

from conversations.models import ApiKey, Client, Message
from messaging_project.local.probe import trouble
from messaging_project.local.processes import spawn, stop
from messaging_project.local.servers import free_port
from messaging_project.tests.test_journeys import delivered, send, wait_until
from messaging_project.verification import CannotVerify
from messaging_project.verification.broker import Broker
from messaging_project.verification.system import MAIL_SENDER, SENDER

VERIFY = [sys.executable, "manage.py", "verify_queue"]


def verify(stack, *arguments, **environment):
    """The exit code, and each check's word and sentence by its name."""
    run = subprocess.run(
        [*VERIFY, *arguments], env={**stack.env, **environment}, capture_output=True, text=True, timeout=120
    )
    lines = [line.partition("  ") for line in run.stdout.splitlines() if line.startswith(("PASS", "FAIL"))]
    found = {rest.partition(": ")[0]: (word, rest.partition(": ")[2]) for word, _, rest in lines}
    assert not left_over(stack), run.stdout + run.stderr
    return run.returncode, found


def left_over(stack):
    """The conversations of verifications that are still there."""
    with stack.database() as connection:
        query = "SELECT id FROM conversations_conversation WHERE participant_from = ANY(%s)"
        return connection.execute(query, [[SENDER, MAIL_SENDER]]).fetchall()


def failed(found):
    return [name for name, (word, _) in found.items() if word == "FAIL"]


def consumes(stack, queue):
    return bool(Broker(stack.env["REDIS_URL"]).workers()[queue])


def workers_of(broker, queue):
    """The workers of a queue, once they say so: one that is busy or connecting anew may not answer in time."""
    return wait_until(lambda: broker.workers()[queue])


@contextmanager
def beside(stack, *command, **environment):
    """One more process with the stack's environment."""
    process = spawn([sys.executable, "-m", *command], environment={**stack.env, **environment}, directory=".", output=1)
    try:
        yield
    finally:
        stop({process: signal.SIGTERM}, seconds=25)


def test_a_well_system_passes(stack):
    code, found = verify(stack)
    assert (code, failed(found), len(found)) == (0, [], 8), found


def test_a_test_clients_key_is_enough(stack):
    command = [sys.executable, "manage.py", "create_api_key", "verification", "--test"]
    key = subprocess.run(command, env=stack.env, capture_output=True, text=True, check=True).stdout.strip()
    code, found = verify(stack, API_KEY=key)
    assert (code, failed(found)) == (0, []), found
    assert "came into one" in found["Several conversations between the same two"][1]


def test_a_missing_worker_is_named(stack):
    stack.stop_workers()
    try:
        code, found = verify(stack)
        assert (code, found["Message queued to Redis"][0]) == (1, "PASS")
        assert "no worker consumes sms, mms, email" in found["sms, mms and email all consumed"][1]
        assert "no worker consumes sms:" in found["Worker processed the message that was queued before it started"][1]
        with beside(stack, "celery", "-A", "messaging_project", "worker", "-P", "threads", "-Q", "sms,email"):
            wait_until(lambda: consumes(stack, "email"))
            code, found = verify(stack)
    finally:
        stack.start_workers()
    assert (code, failed(found)) == (1, ["sms, mms and email all consumed", "Webhook integration"])
    assert "no worker consumes mms:" in found["sms, mms and email all consumed"][1]


def test_synchronous_processing_is_named(stack):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    web = ["gunicorn", "messaging_project.wsgi", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    with beside(stack, *web, SYNC_MESSAGE_PROCESSING="true"):
        wait_until(lambda: not trouble(url))
        code, found = verify(stack, "--url", url)
    assert code == 1
    assert failed(found) == list(found)[:5]
    assert all("SYNC_MESSAGE_PROCESSING=false" in found[name][1] for name in failed(found))


def test_who_is_told_to_go_lets_the_worker_go_on_and_leaves_nothing(stack):
    wait_until(lambda: consumes(stack, "sms"))
    with subprocess.Popen(VERIFY, env=stack.env, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline().startswith("PASS")
        run.terminate()
    assert run.returncode == 143
    assert consumes(stack, "sms")
    assert not left_over(stack)


def test_a_hold_ends_by_itself_and_by_its_holder_alone(stack):
    """A worker that has to reconnect meanwhile forgets every hold; it does not do so three times."""
    first, second = (Broker(stack.env["REDIS_URL"]) for _ in range(2))
    workers = workers_of(first, "mms")

    def outlives_the_others():
        first._tell(workers, "hold_queue", queue="mms", seconds=30)
        second._tell(workers, "hold_queue", queue="mms", seconds=12)
        first._tell(workers, "release_queue", queue="mms")
        return not consumes(stack, "mms")

    assert any(outlives_the_others() for _ in range(3))
    wait_until(lambda: consumes(stack, "mms"))


def test_a_worker_that_was_held_finds_its_queue_again_after_a_reconnect(stack):
    broker = Broker(stack.env["REDIS_URL"])

    def is_held():
        workers = workers_of(broker, "sms")
        with broker.hold("sms", workers):
            return broker._celery.control.inspect(workers, timeout=5, limit=1).active_queues() == {workers[0]: []}

    assert any(is_held() for _ in range(3))
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    delivered(stack, [send(stack, 4711)])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", [False, True])
def test_nothing_is_sent_where_somebody_could_get_it(live_server, settings, monkeypatch, key):
    settings.TRUST_LOCAL_REQUESTS = not key
    settings.TWILIO_BASE_URL = settings.SENDGRID_BASE_URL = "https://api.example.com"
    if key:
        client = Client.objects.create(name="real")
        monkeypatch.setenv("API_KEY", ApiKey.objects.make(client, ["messages:send", "messages:read"])[1])
    with pytest.raises(CommandError, match="real accounts"):
        call_command("verify_queue", url=live_server.url)
    assert not Message.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_without_a_key_where_one_is_asked_for_it_says_how_to_make_one(live_server, settings):
    settings.TRUST_LOCAL_REQUESTS = False
    with pytest.raises(CommandError, match="create_api_key verification --test") as refusal:
        call_command("verify_queue", url=live_server.url)
    assert refusal.value.returncode == 2


@pytest.mark.parametrize("url", ["redis://127.0.0.1:9/0", "amqp://127.0.0.1"])
def test_a_broker_that_can_not_be_asked_is_named(url):
    with pytest.raises(CannotVerify, match="BROKER_URL"):
        Broker(url).workers()
