"""Test clients: what they send, hear and see never meets what is real."""

from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from conversations.delivery import deliver_due
from conversations.models import ApiKey, Client, Conversation, Message, OptOut, SenderPace
from conversations.receiving import receive
from conversations.tests.conftest import forget_accounts
from providers import routes
from providers.base import DeliveryReport, InboundMessage
from providers.models import AccountState
from providers.sandbox.credentials import credentials_of
from providers.tests.conftest import running_sandbox

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "only-for-tests-only-for-tests-only-for-tests"
KNOWN = credentials_of(SECRET)
SMS = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": "Hello"}
MAIL = {"from": "ann@example.com", "to": "bob@example.com", "type": "email", "body": "Hello"}


@pytest.fixture(autouse=True)
def a_sandbox_for_tests(settings):
    """Of which the settings know; nothing listens there."""
    settings.TRUST_LOCAL_REQUESTS = False
    settings.SANDBOX_URL, settings.SANDBOX_SECRET = "http://127.0.0.1:9", SECRET
    routes.forget_accounts()
    yield
    forget_accounts()


@pytest.fixture
def listening(settings):
    """The sandbox of test clients."""
    own = {"account_sid": KNOWN.account_sid, "auth_token": KNOWN.auth_token, "api_key": KNOWN.api_key}
    with running_sandbox(**own) as sandbox:
        settings.SANDBOX_URL = sandbox.url
        yield sandbox


def asking(client, name, *, test):
    """Return who calls the API as a client of this name."""
    _, key = ApiKey.objects.make(Client.objects.create(name=name, test=test), ["admin"])

    def ask(method, path, body=None):
        headers = {"Authorization": f"Bearer {key}"}
        return getattr(client, method)(f"/api/v1/{path}", body, content_type="application/json", headers=headers)

    return ask


@pytest.fixture
def tester(client):
    return asking(client, "tester", test=True)


@pytest.fixture
def shop(client):
    return asking(client, "shop", test=False)


def heard(provider, body="Hi", sender="+15559876543", **values):
    return receive(
        provider,
        InboundMessage(
            provider_message_id=f"SM{Message.objects.count()}",
            channel="sms",
            sender=sender,
            recipient="+15551234567",
            body=body,
            **values,
        ),
    )


@pytest.mark.parametrize("body", [SMS, MAIL, {**SMS, "attachments": ["https://example.com/a.png"]}])
def test_what_a_test_client_sends_goes_to_the_sandbox(tester, listening, body):
    message = tester("post", "messages/send", body).json()
    assert deliver_due(message["type"]) == {"sent": 1}
    found = Message.objects.get(pk=message["id"])
    assert (message["provider"], found.provider, found.status) == ("sandbox", "sandbox", "sent")
    assert [row["message_id"] for row in listening.ledger()] == [message["id"]]


def test_what_is_real_never_goes_there_though_its_own_account_is_stopped(shop, tester, listening):
    shop("post", "messages/send", SMS)
    AccountState.objects.pause("twilio", ["sms"], code="by_hand", sentence="Stopped.", probe_at=None)
    tester("post", "messages/send", SMS)
    assert deliver_due("sms") == {"sent": 1}
    assert dict(Message.objects.values_list("provider", "status")) == {"sandbox": "sent", "twilio": "pending"}


def test_a_test_waits_for_its_sandbox_and_for_no_other_account(tester):
    tester("post", "messages/send", SMS)
    assert deliver_due("sms") == {"pending": 1}
    [events] = [list(message.events.values_list("status", flat=True)) for message in Message.objects.all()]
    assert "failover" not in events


def test_a_batch_of_a_test_client_is_of_a_test(tester):
    [result] = tester("post", "messages/batch", {"messages": [SMS]}).json()["results"]
    assert result["message"]["provider"] == "sandbox"
    assert Conversation.objects.get().test


def test_a_pair_has_one_thread_in_tests_and_another_that_is_real(tester, shop):
    ids = {ask("post", "messages/send", SMS).json()["conversation_id"] for ask in (tester, shop, tester, shop)}
    assert len(ids) == 2


def test_neither_sees_what_the_other_has(tester, shop):
    for ask, other in ((tester, shop), (shop, tester)):
        message = ask("post", "messages/send", SMS).json()
        opt_out = {"channel_type": "sms", "our_address": SMS["from"], "their_address": "+15550000001"}
        opt_out = ask("post", "opt-outs/", opt_out).json()
        ids = {"messages": message["id"], "conversations": message["conversation_id"], "opt-outs": opt_out["id"]}
        paths = [f"{noun}/{each}" for noun, each in ids.items()]
        assert [ask("get", path).status_code for path in paths] == [200] * 3
        assert [other("get", path).status_code for path in paths] == [404] * 3
    assert [ask("get", "messages/").json()["total"] for ask in (tester, shop)] == [1, 1]
    assert tester("post", "conversations/search", {"query": "hello"}).json()["total"] == 1


def test_a_made_conversation_is_of_the_client_who_made_it(tester, shop):
    body = {"participant_from": "ann@example.com", "participant_to": "bob@example.com"}
    assert tester("post", "conversations/", body).json()["id"] != shop("post", "conversations/", body).json()["id"]


def test_a_stop_in_a_test_stops_tests_only(tester, shop):
    heard("sandbox", "STOP")
    assert tester("post", "messages/send", SMS).json()["status"] == "failed"
    assert tester("post", "messages/preview", SMS).json()["opted_out"]
    assert shop("post", "messages/send", SMS).json()["status"] == "pending"
    assert not shop("post", "messages/preview", SMS).json()["opted_out"]
    heard("twilio", "START")
    assert OptOut.objects.in_force().get().test


def test_an_answer_through_the_sandbox_joins_the_test_and_no_real_thread(tester, shop):
    of_test, real = (ask("post", "messages/send", SMS).json()["conversation_id"] for ask in (tester, shop))
    Message.objects.update(status="sent", next_attempt_at=None)
    assert str(heard("sandbox").conversation_id) == of_test
    assert str(heard("twilio").conversation_id) == real


def test_a_mail_through_the_sandbox_joins_no_real_thread_whatever_it_names(accept):
    real = accept(type="email", sender="ann@example.com", recipient="bob@example.com", provider="sendgrid")
    mail = InboundMessage(
        provider_message_id="<1@x>",
        channel="email",
        sender="bob@example.com",
        recipient="ann@example.com",
        in_reply_to=real.message_id_header,
    )
    assert receive("sandbox", mail).conversation_id != real.conversation_id


def test_the_sandbox_says_nothing_about_real_messages(accept, tester):
    real, of_test = accept(), tester("post", "messages/send", {**SMS, "to": "+15550000002"}).json()["id"]
    for message_id, known in ((real.pk, False), (UUID(of_test), True)):
        report = DeliveryReport(
            provider_message_id="SM9", status="delivered", provider_status="delivered", message_id=message_id, attempt=0
        )
        assert Message.objects.apply_report("sandbox", report) == known
    assert dict(Message.objects.values_list("test", "status")) == {False: "pending", True: "delivered"}


def test_without_a_sandbox_a_test_client_is_told_so(tester, settings):
    settings.SANDBOX_URL = settings.SANDBOX_SECRET = ""
    for path, body in (("messages/send", SMS), ("messages/batch", {"messages": [SMS]})):
        answer = tester("post", path, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "no_sandbox")
    assert not Message.objects.exists()


def test_tests_take_nobodys_turn(tester, settings, listening):
    settings.SENDER_RATES = {SMS["from"]: 0.1}
    for _ in range(2):
        tester("post", "messages/send", {**SMS, "to": f"+1555000000{_}"})
    assert deliver_due("sms") == {"sent": 2}
    assert not SenderPace.objects.exists()


def test_what_is_past_its_time_expires_in_tests_too(tester, accept):
    tester("post", "messages/send", SMS)
    accept()
    Message.objects.update(expires_at=timezone.now())
    assert [Message.objects.expire_overdue("sms", limit=9, test=test) for test in (True, False)] == [1, 1]


def test_a_key_of_a_new_test_client_is_made_by_one_command(capsys):
    call_command("create_api_key", "tester", "--test")
    assert Client.objects.get().test
    with pytest.raises(CommandError, match="already"):
        call_command("create_api_key", "tester", "--test")


def test_credentials_follow_from_the_secret_alone():
    assert credentials_of(SECRET) == KNOWN
    assert credentials_of(SECRET + "x") != KNOWN
    assert SECRET not in str(KNOWN)
