"""Accounts that can't send, and providers that are down: what waits for them, and how it goes on."""

import socket
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from conversations import delivery, tasks
from conversations.models import Message
from conversations.tests.conftest import claim, forget_accounts, in_threads
from providers import breaker
from providers.models import AccountState

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def short_times(settings):
    settings.RETRY_BASE_SECONDS = 0
    settings.PROVIDER_TIMEOUT_SECONDS = 1
    settings.BREAKER_FAILURES = 3
    settings.BREAKER_AFTER_SECONDS = 0


@pytest.fixture
def offers(monkeypatch):
    """The ids of the messages that were offered to a provider, in their order."""
    offered = []
    call = delivery.call

    async def counted(account, message, begin_before):
        offered.append(message.pk)
        return await call(account, message, begin_before)

    monkeypatch.setattr(delivery, "call", counted)
    return offered


def states():
    return dict(AccountState.objects.values_list("channel", "state"))


def probe_comes_due():
    """The time of the next probe has come, and by then long that of whatever a pause put back."""
    AccountState.objects.filter(probe_at__isnull=False).update(probe_at=timezone.now())
    Message.objects.filter(status="pending", error_code="20003").update(next_attempt_at=timezone.now())
    breaker.read_again()


def pause(**ago):
    """Twilio was paused so long ago, for a reason of its own; its next probe is far away."""
    later = timezone.now() + timedelta(hours=1)
    AccountState.objects.pause("twilio", ["sms", "mms"], code="20003", sentence="Refused.", probe_at=later)
    AccountState.objects.update(since=timezone.now() - timedelta(**ago))
    breaker.read_again()


def open_breaker(accept, providers, fault="500"):
    """Let three calls in a row end badly."""
    for number in range(3):
        accept(recipient=f"+1555000000{number}")
    providers.fault("twilio", fault, count=3)
    delivery.deliver_due("sms")
    assert states() == {"sms": "open"}


def nobody_listens(settings):
    """Lead Twilio's account to a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings.TWILIO_BASE_URL = f"http://127.0.0.1:{taken.getsockname()[1]}"
    forget_accounts()


def somebody_listens(settings, providers):
    settings.TWILIO_BASE_URL = providers.url
    forget_accounts()


def test_the_first_message_that_meets_wrong_credentials_pauses_all_channels_of_the_account(
    accept, providers, offers, caplog
):
    providers.fault("twilio", "401")
    message = accept()
    delivery.deliver_due("sms")
    message.refresh_from_db()
    assert (message.status, message.attempts, message.error_code) == ("pending", 0, "20003")
    event = message.events.last()
    assert (event.status, event.code, event.detail) == ("pending", "20003", message.error_message)
    assert states() == {"sms": "paused", "mms": "paused"}
    assert "account twilio, sms: paused (20003)" in caplog.text
    assert message.recipient not in caplog.text


def test_while_an_account_is_paused_nothing_is_offered_and_nothing_fails(accept, providers, offers):
    providers.fault("twilio", "401")
    first = accept()
    delivery.deliver_due("sms")
    waiting = [first, accept(), accept(recipient="+15005550001"), accept(type="mms")]
    for channel in ("sms", "mms"):
        assert delivery.deliver_due(channel) == {}
    assert offers == [first.pk]
    assert {(message.status, message.attempts) for message in Message.objects.all()} == {("pending", 0)}
    assert Message.objects.count() == len(waiting)


def test_another_process_sees_the_pause(accept, providers, offers):
    pause(seconds=1)
    breaker.forget()
    accept()
    assert delivery.deliver_due("sms") == {}
    assert offers == []


def test_what_a_pause_puts_back_is_not_due_before_every_process_knows_of_it(accept, providers):
    providers.fault("twilio", "401")
    accept()
    began = timezone.now()
    delivery.deliver_due("sms")
    wait = Message.objects.get().next_attempt_at - began
    assert wait >= timedelta(seconds=breaker.READ_AGAIN_SECONDS)


def test_what_waits_for_an_account_that_is_pretended_to_be_down_is_sent_when_that_is_over(accept, providers, offers):
    sms = AccountState.objects.create(account="twilio", channel="sms")
    AccountState.objects.rehearse(sms, timedelta(minutes=10))
    message = accept()
    breaker.forget()
    assert delivery.deliver_due("sms") == {}
    AccountState.objects.update(probe_at=timezone.now())
    tasks.sweep()
    assert states() == {"sms": "running"}
    breaker.forget()  # another process
    assert delivery.deliver_due("sms") == {"sent": 1}
    assert offers == [message.pk]


def test_a_paused_account_stops_no_other(accept, providers):
    pause(seconds=1)
    accept(type="email", sender="me@example.com", recipient="ann@example.com", provider="sendgrid")
    assert delivery.deliver_due("email") == {"sent": 1}


def test_sending_in_the_request_respects_a_pause(accept, providers, offers):
    pause(seconds=1)
    assert not delivery.deliver_now(accept())
    assert offers == []


def test_sending_in_the_request_pauses_too(accept, providers, offers):
    providers.fault("twilio", "401")
    delivery.deliver_now(accept())
    assert not delivery.deliver_now(accept(recipient="+15550000001"))
    assert len(offers) == 1


def expired():
    """The types of what a sweep has ended."""
    tasks.sweep()
    return list(Message.objects.filter(status="expired").values_list("type", flat=True))


def test_the_clock_of_a_paused_account_stands_still(accept, providers):
    before, during = accept(), accept(recipient="+15550000001")
    accept(type="email", sender="me@example.com", recipient="ann@example.com")
    pause(minutes=10)
    past = timezone.now() - timedelta(minutes=5)
    Message.objects.update(created_at=past - timedelta(minutes=10), expires_at=past)
    Message.objects.filter(pk=during.pk).update(created_at=past - timedelta(minutes=1))
    assert expired() == ["email"]
    AccountState.objects.all().resume()
    assert expired() == ["email"]
    lived_on = [Message.objects.get(pk=message.pk).expires_at - past for message in (before, during)]
    assert [round(longer.total_seconds() / 60) for longer in lived_on] == [10, 6]


def test_a_doubt_that_lasts_through_a_pause_lives_on_as_well(accept):
    message = accept()
    claim("sms")
    Message.objects.update(lease_expires_at=timezone.now())
    Message.objects.doubt_expired_leases(limit=1)
    past = timezone.now() - timedelta(minutes=5)
    pause(minutes=10)
    Message.objects.update(created_at=past - timedelta(minutes=10), expires_at=past)
    AccountState.objects.all().resume()
    message.refresh_from_db()
    assert (message.status, message.expires_at > timezone.now(), message.next_attempt_at) == ("uncertain", True, None)


def test_what_had_expired_before_the_pause_expires(accept):
    message = accept()
    Message.objects.filter(pk=message.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
    pause(seconds=1)
    assert expired() == ["sms"]


def test_a_time_to_send_that_lies_ahead_is_no_time_lost(accept):
    message = accept(send_at=timezone.now() + timedelta(hours=2))
    pause(minutes=10)
    AccountState.objects.all().resume()
    assert Message.objects.get().expires_at == message.expires_at


def test_a_probe_resumes_all_channels_once_the_credentials_work_again(accept, providers, offers):
    providers.fault("twilio", "401")
    accept()
    delivery.deliver_due("sms")
    for number in range(5):
        accept(recipient=f"+1555000000{number}", type="mms" if number % 2 else "sms")
    probe_comes_due()
    assert delivery.deliver_due("sms") == {"sent": 4}
    assert delivery.deliver_due("mms") == {"sent": 2}
    assert states() == {"sms": "running", "mms": "running"}
    assert set(Message.objects.values_list("attempts", flat=True)) == {1}


def test_messages_past_their_time_serve_as_probes_of_a_paused_account(accept, providers):
    accept()
    pause(minutes=10)
    Message.objects.update(expires_at=timezone.now() - timedelta(minutes=5))
    probe_comes_due()
    assert delivery.deliver_due("sms") == {"sent": 1}


def test_a_probe_that_meets_the_same_trouble_is_one_message_and_says_so_once(accept, providers, offers, caplog):
    providers.fault("twilio", "401", count=3)
    message = accept()
    delivery.deliver_due("sms")
    for number in range(5):
        accept(recipient=f"+1555000000{number}")
    Message.objects.exclude(pk=message.pk).update(next_attempt_at=timezone.now() + timedelta(minutes=1))
    for _ in range(2):
        probe_comes_due()
        assert delivery.deliver_due("sms") == {"pending": 1}
        assert delivery.deliver_due("sms") == {}
    assert len(offers) == 3
    assert [event.code for event in message.events.all()] == ["", "20003"]
    assert caplog.text.count("account twilio, sms: paused") == 1


def test_a_probe_that_is_refused_for_its_own_sake_shows_that_the_provider_works(accept, providers):
    pause(seconds=1)
    accept(recipient="+15005550001")
    probe_comes_due()
    assert delivery.deliver_due("sms") == {"failed": 1}
    assert states() == {"sms": "running", "mms": "running"}


def test_among_ten_workers_one_has_the_probe(accept, providers, offers):
    pause(seconds=1)
    providers.fault("twilio", "401", count=10)
    for number in range(20):
        accept(recipient=f"+155500000{number:02}")
    probe_comes_due()
    tallies = in_threads(10, lambda number: sum(delivery.deliver_due(["sms", "mms"][number % 2]).values()))
    assert sum(tallies) == len(offers) == 1


def test_a_probe_for_which_nothing_is_due_is_given_back(accept, providers):
    pause(seconds=1)
    probe_comes_due()
    assert delivery.deliver_due("sms") == {}
    accept(type="mms")
    assert delivery.deliver_due("mms") == {"sent": 1}


def test_a_probe_whose_worker_died_comes_again_when_its_lease_is_over(accept, settings):
    pause(seconds=1)
    probe_comes_due()
    assert [permit.accounts for permit in breaker.permits("sms")] == [["twilio"]]
    taken = AccountState.objects.get(channel="sms").probe_at - timezone.now()
    assert settings.LEASE_SECONDS - 5 < taken.total_seconds() <= settings.LEASE_SECONDS
    assert list(breaker.permits("sms")) == []


def test_what_a_person_paused_no_probe_resumes(accept, providers, offers):
    AccountState.objects.pause("twilio", ["sms"], code="paused_by_staff", sentence="By hand.", probe_at=None)
    providers.fault("twilio", "401")
    mms = accept(type="mms")
    delivery.deliver_due("mms")
    accept()
    probe_comes_due()
    assert delivery.deliver_due("mms") == {"sent": 1}
    assert delivery.deliver_due("sms") == {}
    assert states() == {"sms": "paused", "mms": "running"}
    assert set(offers) == {mms.pk}


def test_one_command_resumes(accept, providers, capsys):
    accept()
    pause(seconds=1)
    assert delivery.deliver_due("sms") == {}
    call_command("resume", "twilio")
    assert capsys.readouterr().out == "Resumed: sms, mms.\n"
    breaker.read_again()
    assert delivery.deliver_due("sms") == {"sent": 1}


def test_nobody_is_rung_for_a_stopped_account_before_a_probe_is_due_and_then_somebody_is(accept, monkeypatch):
    rung = []
    monkeypatch.setattr(tasks, "ring", rung.append)
    monkeypatch.setattr(tasks.broker, "waiting", lambda queue: 0)
    message = accept()
    pause(minutes=10)
    past = timezone.now() - timedelta(minutes=5)
    Message.objects.update(created_at=past - timedelta(minutes=1), next_attempt_at=past, expires_at=past)
    assert not tasks.ring_overdue("sms", test=False)
    probe_comes_due()
    assert tasks.ring_overdue("sms", test=False)
    AccountState.objects.all().resume()
    assert rung == [message, message]


@pytest.mark.parametrize("fault", ["500", "reset", "garbage"])
def test_sustained_failure_opens_the_breaker_and_what_comes_then_waits(accept, providers, offers, fault):
    open_breaker(accept, providers, fault)
    row = AccountState.objects.get()
    assert (row.code, row.failures) == ("provider_failing", 3)
    assert row.sentence.startswith("3 calls in a row failed, at last with: ")
    late = accept(recipient="+15550000009")
    assert delivery.deliver_due("sms") == {}
    assert late.pk not in offers


def test_a_provider_that_nobody_can_reach_opens_the_breaker_and_its_messages_wait(accept, providers, settings):
    settings.RETRY_BASE_SECONDS = 60
    nobody_listens(settings)
    for number in range(3):
        accept(recipient=f"+1555000000{number}")
    assert delivery.deliver_due("sms") == {"pending": 3}
    assert states() == {"sms": "open"}
    assert set(Message.objects.values_list("error_code", flat=True)) == {"connect"}


def test_a_breaker_closes_by_a_probe_and_what_was_unreachable_is_due_at_once(accept, providers, settings):
    settings.RETRY_BASE_SECONDS = 60
    nobody_listens(settings)
    for number in range(3):
        accept(recipient=f"+1555000000{number}")
    delivery.deliver_due("sms")
    accept(recipient="+15550000009")
    probe_comes_due()
    assert delivery.deliver_due("sms") == {"pending": 1}
    assert states() == {"sms": "open"}
    somebody_listens(settings, providers)
    accept(recipient="+15550000008")
    probe_comes_due()
    assert delivery.deliver_due("sms") == {"sent": 5}
    assert states() == {"sms": "running"}
    assert len(providers.ledger()) == 5


def test_who_was_told_to_wait_waits_whoever_is_resumed(accept, providers):
    providers.fault("twilio", "429")
    told = accept()
    delivery.deliver_due("sms")
    Message.objects.update(next_attempt_at=timezone.now() + timedelta(minutes=5))
    open_breaker(accept, providers)
    AccountState.objects.all().resume()
    pause(seconds=1)
    AccountState.objects.all().resume()
    told.refresh_from_db()
    assert told.error_code == "20429"
    assert told.next_attempt_at > timezone.now() + timedelta(minutes=4)


def test_the_breaker_of_texts_stops_neither_pictures_nor_mails(accept, providers):
    open_breaker(accept, providers)
    accept(type="mms", recipient="+15550000009")
    accept(type="email", sender="me@example.com", recipient="ann@example.com", provider="sendgrid")
    assert delivery.deliver_due("mms") == {"sent": 1}
    assert delivery.deliver_due("email") == {"sent": 1}


def test_a_burst_in_one_instant_does_not_open_the_breaker(accept, providers, settings):
    settings.BREAKER_AFTER_SECONDS = 2
    providers.fault("twilio", "reset", count=20)
    for number in range(20):
        accept(recipient=f"+155500000{number:02}")
    assert delivery.deliver_due("sms") == {"uncertain": 20}
    assert states() == {}


def test_many_rate_limits_do_not_open_the_breaker(accept, providers, settings):
    settings.RETRY_BASE_SECONDS = 60
    providers.fault("twilio", "429", count=20)
    for number in range(20):
        accept(recipient=f"+155500000{number:02}")
    assert delivery.deliver_due("sms") == {"pending": 20}
    assert states() == {}


def test_failures_with_a_success_in_between_do_not_open_the_breaker(accept, providers):
    for number in range(4):
        providers.fault("twilio", "500", count=2)
        for each in range(3):
            accept("thread", recipient=f"+1555000{number}{each:03}")
            delivery.deliver_due("sms")
    assert Message.objects.filter(status="uncertain").count() == 8
    assert states() == {}


def test_a_hanging_provider_is_as_bad_for_as_long_as_its_calls_hung(accept, providers, settings):
    settings.BREAKER_AFTER_SECONDS = 0.9
    providers.fault("twilio", "hang_accepted", count=3)
    for number in range(3):
        accept(recipient=f"+1555000000{number}")
    delivery.deliver_due("sms")
    assert states() == {"sms": "open"}


def test_what_failed_before_a_stop_is_no_reason_for_the_next(accept, providers):
    providers.fault("twilio", "500", count=3)
    for number in range(2):
        accept(recipient=f"+1555000000{number}")
    delivery.deliver_due("sms")
    pause(seconds=1)
    breaker.stopped("twilio", "sms")
    AccountState.objects.all().resume()
    breaker.read_again()
    accept(recipient="+15550000009")
    delivery.deliver_due("sms")
    assert states() == {"sms": "running", "mms": "running"}


def test_the_states_cost_a_claim_no_query(accept, providers, django_assert_num_queries):
    breaker.running("sms", test=False)
    with django_assert_num_queries(0):
        assert list(breaker.permits("sms")) == [breaker.Permit(["twilio"])]
