"""Accounts in an order: who carries a message whose first account can't, and how it says so."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from conversations import delivery, settling, tasks
from conversations.models import Message
from conversations.tests.conftest import claim, forget_accounts
from conversations.tests.test_breaker import nobody_listens, pause, probe_comes_due, short_times, states  # noqa: F401
from providers import breaker
from providers.base import DeliveryReport
from providers.models import AccountState
from providers.tests.conftest import running_sandbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def backup(providers, settings):
    """A second Twilio, which carries texts where the first one can't."""
    with running_sandbox(account_sid="AC" + "0" * 31 + "2", auth_token="the-backup-auth-token") as sandbox:
        settings.ROUTES = {**settings.ROUTES, "sms": ["twilio", "twilio_backup"], "mms": ["twilio", "twilio_backup"]}
        settings.TWILIO_BACKUP_ACCOUNT_SID, settings.TWILIO_BACKUP_AUTH_TOKEN = sandbox.account_sid, sandbox.auth_token
        settings.TWILIO_BACKUP_BASE_URL = sandbox.url
        settings.TWILIO_BACKUP_SECONDARY_AUTH_TOKEN = ""
        settings.TWILIO_BACKUP_SUBACCOUNT_TOKENS = settings.TWILIO_BACKUP_SHARED_KEYS = {}
        forget_accounts()
        yield sandbox
        forget_accounts()


@contextmanager
def at_work(channel):
    """A worker delivers meanwhile."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(delivery.deliver_due, channel)
        yield
        threads.submit(connections.close_all)


def told(message):
    """The timeline of a message: (status, code, detail)."""
    return list(message.events.values_list("status", "code", "detail"))


def is_carried_by(account, message):
    message.refresh_from_db()
    return (message.provider, message.status) == (account, "sent")


def test_while_all_is_well_the_first_account_carries_everything(accept, providers, backup):
    message = accept()
    assert delivery.deliver_due("sms") == {"sent": 1}
    assert is_carried_by("twilio", message)
    assert "failover" not in [status for status, *_ in told(message)]


def test_a_lone_message_whose_account_nobody_can_reach_leaves_by_the_next_at_once(accept, backup, settings):
    settings.RETRY_BASE_SECONDS = 60
    nobody_listens(settings)
    message = accept()
    assert delivery.deliver_due("sms") == {"pending": 1, "sent": 1}
    assert is_carried_by("twilio_backup", message)
    sentence = "No connection to Twilio could be made. twilio_backup is tried next."
    assert told(message)[1:] == [("pending", "connect", sentence), ("sent", "", "The provider accepted it.")]


def test_who_is_known_to_fail_is_not_even_tried_and_the_timeline_says_why(accept, backup, settings):
    nobody_listens(settings)
    accept(recipient="+15550000001"), accept(recipient="+15550000002"), accept(recipient="+15550000003")
    delivery.deliver_due("sms")
    assert states() == {"sms": "open"}
    message = accept()
    assert delivery.deliver_due("sms") == {"sent": 1}
    status, code, detail = told(message)[1]
    assert (status, code) == ("failover", "provider_failing")
    assert detail.startswith("twilio is stopped: 3 calls in a row failed")
    assert detail.endswith("twilio_backup is tried.")


def test_what_meets_a_paused_account_leaves_by_the_next(accept, providers, backup):
    pause(seconds=1)
    message = accept()
    assert delivery.deliver_due("sms") == {"sent": 1}
    assert is_carried_by("twilio_backup", message)
    assert [entry["message_id"] for entry in backup.ledger()] == [str(message.pk)]


@pytest.mark.parametrize("fault", ["reset", "500", "garbage", "hang_accepted"])
def test_nobody_else_gets_what_the_first_may_have_sent(accept, providers, backup, fault):
    providers.fault("twilio", fault)
    message = accept()
    assert delivery.deliver_due("sms") == {"uncertain": 1}
    message.refresh_from_db()
    assert (message.provider, backup.ledger()) == ("twilio", [])


def test_a_doubt_is_settled_with_the_account_that_was_asked_and_then_sent_by_the_one_that_runs(
    accept, providers, backup
):
    providers.fault("twilio", "500")
    message = accept()
    delivery.deliver_due("sms")
    pause(seconds=1)
    for _ in range(2):
        Message.objects.update(settle_at=timezone.now())
        settling.settle_due()
    assert delivery.deliver_due("sms") == {"sent": 1}
    assert is_carried_by("twilio_backup", message)
    assert providers.ledger() == []


def test_who_asks_for_patience_gets_it(accept, providers, backup, settings):
    settings.RETRY_BASE_SECONDS = 60
    providers.fault("twilio", "429")
    message = accept()
    assert delivery.deliver_due("sms") == {"pending": 1}
    message.refresh_from_db()
    assert (message.provider, backup.ledger()) == ("twilio", [])


def test_a_message_that_nobody_takes_waits_between_its_rounds(accept, backup, settings):
    settings.RETRY_BASE_SECONDS = settings.BREAKER_FAILURES = 60
    nobody_listens(settings)
    settings.TWILIO_BACKUP_BASE_URL = settings.TWILIO_BASE_URL
    forget_accounts()
    message = accept()
    assert delivery.deliver_due("sms") == {"pending": 2}
    message.refresh_from_db()
    assert (message.attempts, message.provider) == (2, "twilio")
    assert message.next_attempt_at > timezone.now()


def test_one_message_at_a_time_finds_out_whether_the_first_works_again(accept, providers, backup):
    pause(seconds=1)
    providers.fault("twilio", "401")
    for number in range(4):
        accept(recipient=f"+1555000000{number}")
    probe_comes_due()
    assert delivery.deliver_due("sms") == {"pending": 1, "sent": 3}
    probe_comes_due()
    assert delivery.deliver_due("sms") == {"sent": 1}
    assert states() == {"sms": "running", "mms": "running"}
    assert (len(providers.ledger()), len(backup.ledger())) == (1, 3)


def test_a_provider_that_hangs_is_left_long_before_its_calls_end(accept, providers, backup, settings):
    settings.PROVIDER_TIMEOUT_SECONDS, settings.BREAKER_STALL_SECONDS = 15, 0.5
    settings.CALLS_IN_FLIGHT = 3
    forget_accounts()
    providers.fault("twilio", "hang_accepted", count=3)
    hanging = [accept(recipient=f"+1555000000{number}") for number in range(3)]
    with at_work("sms"):
        message = accept()
        give_up_at = time.monotonic() + 10
        while not is_carried_by("twilio_backup", message) and time.monotonic() < give_up_at:
            time.sleep(0.05)
        assert is_carried_by("twilio_backup", message)
        assert {Message.objects.get(pk=each.pk).status for each in hanging} == {"sending"}
        assert AccountState.objects.get().sentence.endswith("No answer for 0.5 s.")


def test_a_call_that_hangs_counts_once(accept, providers, backup, settings):
    settings.BREAKER_STALL_SECONDS = 0.3
    providers.fault("twilio", "hang_accepted", count=2)
    accept(recipient="+15550000001"), accept(recipient="+15550000002")
    assert delivery.deliver_due("sms") == {"uncertain": 2}
    assert states() == {}


def test_an_account_that_refuses_slowly_is_paused_as_well(accept, providers, settings):
    settings.BREAKER_STALL_SECONDS = 0.1
    providers.dial(latency_ms=500)
    providers.fault("twilio", "401", count=2)
    accept(recipient="+15550000001"), accept(recipient="+15550000002")
    assert delivery.deliver_due("sms") == {"pending": 2}
    assert states() == {"sms": "paused", "mms": "paused"}


def test_what_waited_for_a_paused_account_lives_on_when_another_is_put_on_the_route(accept, backup, settings):
    both, settings.ROUTES = settings.ROUTES, {**settings.ROUTES, "sms": ["twilio"]}
    message, now = accept(), timezone.now()
    pause(hours=2)
    Message.objects.update(created_at=now - timedelta(hours=3), expires_at=now - timedelta(hours=1))
    assert "expired 0" in tasks.sweep()
    settings.ROUTES = both
    breaker.read_again()
    assert "expired 0" in tasks.sweep()
    message.refresh_from_db()
    assert timedelta(minutes=59) < message.expires_at - timezone.now() < timedelta(minutes=61)


def test_time_that_was_given_back_once_is_not_given_back_again(accept, providers):
    accept()
    pause(hours=2)
    tasks.sweep()
    AccountState.objects.all().resume()
    before = Message.objects.get().expires_at
    tasks.sweep()
    assert Message.objects.get().expires_at == before


def test_a_request_that_sends_takes_the_next_account_when_the_first_can_not_be_reached(client, backup, settings):
    settings.SYNC_MESSAGE_PROCESSING = True
    nobody_listens(settings)
    body = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": "Hello"}
    sent = client.post("/api/v1/messages/send", body, content_type="application/json").json()
    assert (sent["status"], sent["provider"]) == ("sent", "twilio_backup")


def test_the_clock_stands_still_only_while_all_accounts_are_paused(accept, backup):
    pause(minutes=10)
    assert breaker.clock_stopped_at("sms", test=False) is None
    AccountState.objects.pause("twilio_backup", ["sms"], code="20003", sentence="Refused.", probe_at=None)
    breaker.read_again()
    assert timezone.now() - breaker.clock_stopped_at("sms", test=False) < timedelta(minutes=1)


def test_time_in_which_one_account_ran_is_no_time_lost(accept, backup):
    message = accept()
    pause(minutes=10)
    AccountState.objects.all().resume()
    message.refresh_from_db()
    assert message.expires_at == message.created_at + timedelta(days=1)


@pytest.mark.parametrize(("account", "counts"), [("twilio", True), ("twilio_backup", True), ("sendgrid", False)])
def test_a_late_word_of_the_account_that_was_left_still_counts_and_no_strangers(accept, backup, account, counts):
    message = accept()
    claim()
    Message.objects.update(status="pending", next_attempt_at=timezone.now(), lease_expires_at=None)
    pause(seconds=1)
    delivery.deliver_due("sms")
    report = DeliveryReport(
        provider_message_id="SM1", status="delivered", provider_status="delivered", message_id=message.pk, attempt=1
    )
    assert Message.objects.apply_report(account, report) is counts
    message.refresh_from_db()
    assert (message.status == "delivered") is counts


def test_an_account_that_left_the_route_hands_on_what_was_planned_for_it(accept, providers):
    message = accept(provider="twilio_former")
    assert delivery.deliver_due("sms") == {"sent": 1}
    assert told(message)[1] == ("failover", "", "This attempt is not for twilio_former. twilio is tried.")
