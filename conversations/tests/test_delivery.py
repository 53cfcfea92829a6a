"""Claim, call, outcome: against a provider that answers over HTTP and refuses, hangs or babbles when told to."""

import threading
from contextlib import suppress

import pytest
from django.db import NotSupportedError, OperationalError, connection

from conversations import delivery
from conversations.attempt import not_begun, outcome_of, retry_delay
from conversations.models import Message
from conversations.models.status import Status
from conversations.tests.conftest import another_connection, claim
from providers.errors import NotSent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def short_times(settings):
    settings.RETRY_BASE_SECONDS = 0.01
    settings.PROVIDER_TIMEOUT_SECONDS = 1


def end_backend(pid):
    """Break a connection from the server's side, over one that is not of the pool: that could be the very same."""
    with another_connection() as another:
        another.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_everything_due_on_the_channel_is_sent_once(accept, providers):
    for number in range(30):
        accept(recipient=f"+1555000{number % 10:04}", body=str(number))
    accept(type="mms", recipient="+15550009999")
    assert delivery.deliver_due("sms") == {"sent": 30}
    assert Message.objects.filter(status="sent").exclude(provider_message_id="").count() == 30
    sent = providers.ledger()
    assert len(sent) == len({row["message_id"] for row in sent}) == 30


def test_within_a_conversation_they_arrive_in_order(accept, providers):
    messages = [accept(body=str(number)) for number in range(8)]
    delivery.deliver_due("sms")
    assert [row["message_id"] for row in providers.ledger()] == [str(message.pk) for message in messages]


@pytest.mark.parametrize(
    ("fault", "status", "in_ledger"),
    [
        ("429", "pending", 0),
        ("401", "pending", 0),
        ("500", "uncertain", 0),
        ("500_accepted", "uncertain", 1),
        ("reset", "uncertain", 0),
        ("reset_accepted", "uncertain", 1),
        ("hang_accepted", "uncertain", 1),
        ("garbage", "uncertain", 1),
    ],
)
@pytest.mark.parametrize("channel", ["sms", "email"])
def test_a_provider_that_fails_leaves_an_explained_row_and_harms_no_neighbour(
    accept, providers, settings, channel, fault, status, in_ledger
):
    settings.RETRY_BASE_SECONDS = 600
    address = {"sms": "+155500000{:02}", "email": "ann{:02}@example.com"}[channel]
    values = {"type": channel, "sender": address.format(99)}
    providers.fault({"sms": "twilio", "email": "sendgrid"}[channel], fault)
    for number in range(5):
        accept(recipient=address.format(number), **values)
    delivery.deliver_due(channel)
    [unlucky] = Message.objects.exclude(status="sent")
    assert unlucky.status == status
    assert unlucky.error_code
    assert unlucky.error_message
    assert unlucky.events.last().detail == unlucky.error_message
    assert Message.objects.filter(status="sent").count() == 4
    assert [row["message_id"] for row in providers.ledger()].count(str(unlucky.pk)) == in_ledger


def test_a_refused_message_has_failed_with_the_providers_code(accept, providers):
    accept(recipient="+15005550001")
    delivery.deliver_due("sms")
    message = Message.objects.get()
    assert (message.status, message.error_code, message.attempts) == ("failed", "21211", 1)


def test_a_message_that_was_not_sent_is_tried_again_when_its_time_comes(accept, providers):
    providers.fault("twilio", "429", count=2)
    message = accept()
    Message.objects.filter(pk=message.pk).update(next_attempt_at=message.created_at)
    for _ in range(3):
        delivery.deliver_due("sms")
        Message.objects.filter(status="pending").update(next_attempt_at=message.created_at)
    message.refresh_from_db()
    assert (message.status, message.attempts) == ("sent", 3)
    assert [event.status for event in message.events.all()] == ["pending", "pending", "pending", "sent"]


@pytest.mark.parametrize(("seconds_left", "begun"), [(3, False), (5.5, False), (30, True)])
def test_no_call_begins_when_the_lease_leaves_no_time_for_it_and_its_margin(accept, providers, seconds_left, begun):
    accept()
    claimed = claim("sms")
    calls = delivery.Calls("sms")
    calls.begin(claimed, lease_began=delivery.time.monotonic() - 60 + seconds_left)
    delivery.record(calls.wait(5))
    message = Message.objects.get()
    assert (message.status, message.attempts) == (("sent", 1) if begun else ("pending", 0))
    assert len(providers.ledger()) == begun


def test_a_worker_that_is_told_to_go_finishes_its_calls_and_claims_no_more(accept, providers, monkeypatch):
    providers.dial(latency_ms=300)
    first, second = accept(), accept()
    stopping = threading.Event()
    monkeypatch.setattr(delivery, "STOPPING", stopping)
    begin = delivery.Calls.begin

    def begin_and_be_told(self, *arguments):
        begin(self, *arguments)
        stopping.set()

    monkeypatch.setattr(delivery.Calls, "begin", begin_and_be_told)
    assert delivery.deliver_due("sms") == {"sent": 1}
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status, second.attempts) == ("sent", "pending", 0)


def test_a_connection_that_breaks_during_a_call_loses_no_outcome(accept, providers, monkeypatch):
    accept()
    wait = delivery.Calls.wait

    def wait_and_lose_the_connection(self, seconds):
        outcomes = wait(self, seconds)
        if outcomes:
            end_backend(connection.connection.info.backend_pid)
        return outcomes

    monkeypatch.setattr(delivery.Calls, "wait", wait_and_lose_the_connection)
    delivery.deliver_due("sms")
    assert Message.objects.get().status == "sent"


def test_outcomes_wait_for_a_database_that_is_away(accept, providers, monkeypatch):
    record_outcomes = type(Message.objects.all()).record_outcomes
    failures = iter([OperationalError("away")])

    def away_once(self, outcomes):
        for failure in failures:
            raise failure
        return record_outcomes(self, outcomes)

    monkeypatch.setattr(type(Message.objects), "record_outcomes", away_once)
    accept()
    delivery.deliver_due("sms")
    assert Message.objects.get().status == "sent"


@pytest.mark.parametrize("error", [OperationalError("away"), RuntimeError("unforeseen")])
def test_an_outcome_is_written_down_where_its_accounts_state_can_not_be(accept, providers, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(delivery.breaker, "note", fail)
    accept()
    with suppress(RuntimeError):
        delivery.deliver_due("sms")
    assert Message.objects.get().status == "sent"


def test_no_more_calls_are_in_flight_than_there_are_slots(accept, providers, settings):
    settings.CALLS_IN_FLIGHT = 3
    providers.dial(latency_ms=30)
    for number in range(10):
        accept(recipient=f"+1555000{number:04}")
    most = []
    wait = delivery.Calls.wait

    def counted(self, seconds):
        most.append(self.in_flight)
        return wait(self, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery.Calls, "wait", counted)
        delivery.deliver_due("sms")
    assert max(most) == 3
    assert Message.objects.filter(status="sent").count() == 10


def test_a_ring_has_no_more_calls_in_flight_than_the_mail_server_on_its_route_lets_in(settings):
    settings.ROUTES = {**settings.ROUTES, "email": ["sendgrid", "smtp"]}
    assert delivery.Calls("email").free == delivery.routes.calls_in_flight("email") < settings.CALLS_IN_FLIGHT


def test_retry_delays_double_up_to_the_ceiling_and_never_undercut_the_providers_wish(settings):
    settings.RETRY_BASE_SECONDS, settings.RETRY_CEILING_SECONDS = 2, 100
    for attempt, ceiling in [(1, 2), (2, 4), (3, 8), (20, 100)]:
        delays = [retry_delay(attempt, None) for _ in range(200)]
        assert 0 <= min(delays) <= max(delays) <= ceiling
        assert max(delays) > ceiling / 2
    assert retry_delay(1, retry_after=30) == 30
    assert retry_delay(1, retry_after=10**9) == 100


def test_an_id_that_another_message_has_is_explained_and_harms_no_neighbour(accept):
    owner, clashing, neighbour = (accept(recipient=f"+1555000000{number}") for number in range(3))
    Message.objects.filter(pk=owner.pk).update(provider_message_id="SM1")
    claim("sms", 3)
    delivery.record(
        [
            delivery.Outcome(message_id=clashing.pk, attempt=1, status=Status.SENT, provider_message_id="SM1"),
            delivery.Outcome(message_id=neighbour.pk, attempt=1, status=Status.SENT, provider_message_id="SM2"),
        ]
    )
    clashing.refresh_from_db()
    neighbour.refresh_from_db()
    assert (clashing.status, clashing.provider_message_id, clashing.error_code) == ("sent", "", "unusable_answer")
    assert (neighbour.status, neighbour.provider_message_id) == ("sent", "SM2")


def then_fail(monkeypatch, error):
    """Let only the next claim succeed."""
    claim = type(Message.objects.all()).claim
    failing = iter([False, True])

    def claim_once(self, *arguments, **options):
        if next(failing):
            raise error
        return claim(self.all(), *arguments, **options)

    monkeypatch.setattr(type(Message.objects), "claim", claim_once)


def test_a_claim_that_fails_loses_no_call_in_flight(accept, providers, monkeypatch):
    accept()
    then_fail(monkeypatch, OperationalError("away"))
    assert delivery.deliver_due("sms") == {"sent": 1}
    assert Message.objects.get().status == "sent"


def test_a_claim_that_breaks_in_a_way_that_nobody_foresaw_loses_none_either(accept, providers, monkeypatch):
    accept()
    then_fail(monkeypatch, NotSupportedError("unforeseen"))
    with pytest.raises(NotSupportedError):
        delivery.deliver_due("sms")
    assert Message.objects.get().status == "sent"


def test_an_adapter_that_breaks_is_a_doubt_and_never_a_call_without_end(accept, monkeypatch):
    class Broken:
        name = "twilio"

        async def send(self, message):
            raise BaseException

    monkeypatch.setattr(delivery.routes, "accounts_for", lambda channel: {"twilio": Broken()})
    accept()
    assert delivery.deliver_due("sms") == {"uncertain": 1}
    assert Message.objects.get().error_code == "unexpected"


def test_an_outcome_that_comes_too_late_is_logged(accept, caplog):
    message = accept()
    delivery.record([delivery.Outcome(message_id=message.pk, attempt=7, status=Status.FAILED)])
    [record] = caplog.records
    assert (record.message, record.message_id) == ("failed came too late and changed nothing", message.pk)
    assert record.attempt == 7


@pytest.fixture
def written(monkeypatch):
    """How many outcomes were written down by each statement."""
    record, sizes = Message.objects.record_outcomes, []

    def counted(_, outcomes):
        sizes.append(len(outcomes))
        return record(outcomes)

    monkeypatch.setattr(type(Message.objects), "record_outcomes", counted)
    return sizes


def test_calls_that_end_near_each_other_are_written_down_together(accept, providers, monkeypatch, written):
    monkeypatch.setattr(delivery, "GATHER_SECONDS", 2)
    for number in range(20):
        accept(recipient=f"+1555000{number:04}")
    delivery.deliver_due("sms")
    assert written == [20]


def test_the_last_call_under_way_waits_for_none_that_got_stuck(accept, providers, settings, monkeypatch, written):
    monkeypatch.setattr(delivery, "GATHER_SECONDS", 2)
    settings.BREAKER_STALL_SECONDS = 0.1
    providers.fault("twilio", "hang_accepted")
    accept()
    calls = delivery.Calls("sms")
    calls.claim()
    while calls.free < settings.CALLS_IN_FLIGHT:
        calls.bring_home()
    accept(recipient="+15550000001")
    calls.claim()
    while calls.in_flight:
        calls.bring_home()
    assert written == [1, 1]


def test_outcomes_of_all_kinds_are_written_down_together(accept, written):
    for recipient in ("+15550000001", "+15550000002"):
        accept(recipient=recipient)
    first, second = claim(limit=2)
    delivery.record([not_begun(first), outcome_of(second, NotSent("Busy.", code="429"), 0.0)])
    assert written == [2]


def test_the_thousandth_retry_has_a_delay_too(settings):
    settings.RETRY_BASE_SECONDS = 2.0
    assert 0 <= retry_delay(2000, None) <= settings.RETRY_CEILING_SECONDS


def test_a_connection_that_died_in_the_pool_is_not_given_to_anybody():
    Message.objects.exists()
    pid = connection.connection.info.backend_pid
    connection.close()
    end_backend(pid)
    assert not Message.objects.exists()
