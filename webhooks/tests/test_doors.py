"""Status callbacks of both providers, as they knock."""

import base64
import json
import random
import time
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings as django_settings
from django.db import OperationalError
from django.utils import timezone
from twilio.request_validator import RequestValidator

from conversations.models import Message
from conversations.tests.conftest import accept, claim  # noqa: F401
from providers import routes
from providers.sandbox.credentials import credentials_of
from webhooks import tasks
from webhooks.models import Receipt
from webhooks.models.receipt import ReceiptQuerySet

pytestmark = pytest.mark.django_db

TWILIO, SENDGRID = "/api/v1/webhooks/twilio", "/api/v1/webhooks/sendgrid"


@pytest.fixture
def sent(accept):  # noqa: F811
    """An SMS in its first attempt, with Twilio."""
    accept()
    [message] = claim("sms")
    return message


@pytest.fixture
def mailed(accept):  # noqa: F811
    """An email in its first attempt, with SendGrid."""
    accept(type="email", sender="ann@example.com", recipient="bob@example.com", provider="sendgrid")
    [message] = claim("email")
    return message


def twilio(client, message_id, status="delivered", path=TWILIO, signed=True, attempt=1, token="", **values):
    form = {
        "MessageSid": "SM" + "1" * 32,
        "MessageStatus": status,
        "To": "+15559876543",
        "From": "+15551234567",
        **values,
    }
    path = f"{path}{'&' if '?' in path else '?'}m={message_id}&a={attempt}"
    headers = {}
    if signed:
        validator = RequestValidator(token or django_settings.TWILIO_AUTH_TOKEN)
        headers["X-Twilio-Signature"] = validator.compute_signature(f"{django_settings.PUBLIC_URL}{path}", form)
    return client.post(path, urlencode(form), content_type="application/x-www-form-urlencoded", headers=headers)


@pytest.fixture
def further_account(settings):
    """A second account with Twilio, whose callbacks name it."""
    settings.ROUTES = {**settings.ROUTES, "sms": ["twilio", "twilio_backup"]}
    for name in ("ACCOUNT_SID", "AUTH_TOKEN", "SECONDARY_AUTH_TOKEN", "SUBACCOUNT_TOKENS", "SHARED_KEYS", "BASE_URL"):
        setattr(settings, f"TWILIO_BACKUP_{name}", getattr(settings, f"TWILIO_{name}"))
    settings.TWILIO_BACKUP_AUTH_TOKEN = "the-backup-auth-token"
    routes.forget_accounts()
    yield "twilio_backup"
    routes.forget_accounts()


def sendgrid(client, events, signed=True, path=SENDGRID, private_key=""):
    body, at, headers = json.dumps(events).encode(), str(int(time.time())), {}
    if signed:
        private_key = private_key or django_settings.SANDBOX_SENDGRID_PRIVATE_KEY
        key = serialization.load_der_private_key(base64.b64decode(private_key), None)
        signature = key.sign(at.encode() + body, ec.ECDSA(hashes.SHA256()))
        headers["X-Twilio-Email-Event-Webhook-Signature"] = base64.b64encode(signature).decode()
        headers["X-Twilio-Email-Event-Webhook-Timestamp"] = at
    return client.post(path, body, content_type="application/json", headers=headers)


def event(message_id, name="delivered", **values):
    return {
        "event": name, "email": "bob@example.com", "timestamp": 1700000000, "sg_event_id": f"e-{name}",
        "sg_message_id": "abc.filter0001", "message_id": str(message_id), "attempt": "1", **values,
    }  # fmt: skip


@pytest.mark.parametrize("path", [TWILIO, TWILIO + "/"])
def test_a_signed_status_of_twilio_takes_effect(client, sent, path):
    response = twilio(client, sent.pk, path=path)
    sent.refresh_from_db()
    assert (response.status_code, response.content) == (200, b"<Response></Response>")
    assert response["Content-Type"] == "application/xml"
    assert (sent.status, sent.provider_message_id) == ("delivered", "SM" + "1" * 32)
    assert Receipt.objects.get().verified


def test_signed_events_of_sendgrid_take_effect(client, mailed):
    response = sendgrid(client, [event(mailed.pk, "processed"), event(mailed.pk)])
    mailed.refresh_from_db()
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert (mailed.status, mailed.provider_message_id) == ("delivered", "abc")
    assert Receipt.objects.filter(result="applied").count() == 2


def test_the_same_callback_counts_once(client, sent, mailed):
    for _ in range(3):
        assert twilio(client, sent.pk).status_code == 200
        assert sendgrid(client, [event(mailed.pk)] * 3).status_code == 200
    assert Receipt.objects.count() == 2
    for message in (sent, mailed):
        assert message.events.filter(status="delivered").count() == 1


def test_a_repeated_event_counts_once_even_under_a_new_event_id(client, sent):
    sendgrid(client, [event(sent.pk, sg_event_id="e-1")])
    sendgrid(client, [event(sent.pk, sg_event_id="e-2")])
    assert Receipt.objects.count() == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_a_wrong_signature_is_403_everywhere_and_leaves_nothing(client, sent, settings, trusted):
    settings.TRUST_LOCAL_REQUESTS = trusted
    form = {"MessageSid": "SM1", "MessageStatus": "delivered"}
    response = client.post(
        f"{TWILIO}?m={sent.pk}&a=1", urlencode(form), content_type="application/x-www-form-urlencoded",
        headers={"X-Twilio-Signature": "bm8="},
    )  # fmt: skip
    sent.refresh_from_db()
    assert (response.status_code, response.json()["code"]) == (403, "invalid_signature")
    assert (sent.status, Receipt.objects.count()) == ("sending", 0)


def test_forged_requests_by_the_hundred_leave_no_row_and_no_5xx(client, settings):
    settings.TRUST_LOCAL_REQUESTS = False
    chance = random.Random(7)
    for _ in range(150):
        noise = "".join(map(chr, (chance.randrange(33, 256) for _ in range(chance.randrange(90)))))
        names = [
            "X-Twilio-Signature",
            "X-Twilio-Email-Event-Webhook-Signature",
            "X-Twilio-Email-Event-Webhook-Timestamp",
        ]
        headers = {name: noise for name in names if chance.random() < 0.7}
        body = chance.randbytes(chance.randrange(200))
        path, kind = chance.choice([(TWILIO, "application/x-www-form-urlencoded"), (SENDGRID, "application/json")])
        assert client.post(path, body, content_type=kind, headers=headers).status_code == 403
    assert not Receipt.objects.exists()


def test_a_missing_signature_is_taken_on_a_developers_machine_only(client, sent, settings):
    assert twilio(client, sent.pk, signed=False).status_code == 200
    assert not Receipt.objects.get().verified
    settings.TRUST_LOCAL_REQUESTS = False
    assert twilio(client, sent.pk, status="sent", signed=False).status_code == 403
    assert sendgrid(client, [event(sent.pk)], signed=False).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        (TWILIO, b"", "application/x-www-form-urlencoded"),
        (SENDGRID, b"{}", "application/json"),
        (SENDGRID, b"[", "application/json"),
        (SENDGRID, b"[7]", "application/json"),
        (SENDGRID, b"[" * 100_000, "application/json"),
    ],
)
def test_what_can_not_be_read_is_400_with_a_reason(client, path, body, kind):
    response = client.post(path, body, content_type=kind)
    assert (response.status_code, response.json()["code"]) == (400, "unreadable_callback")
    assert response.json()["detail"]


def test_one_readable_event_is_enough(client, mailed):
    assert sendgrid(client, [7, event(mailed.pk), {"event": "from the future", "message_id": "?"}]).status_code == 200
    mailed.refresh_from_db()
    assert mailed.status == "delivered"


def test_a_callback_that_is_too_large_is_kept_without_its_body_once_a_minute(client):
    for _ in range(3):
        response = client.post(TWILIO, b"a" * (256 * 1024 + 1), content_type="text/plain")
        assert (response.status_code, response.content) == (200, b"<Response></Response>")
    assert 1 <= Receipt.objects.filter(payload={"oversized": True}, verified=False).count() <= 2


def test_of_a_long_array_the_rest_is_applied_by_the_sweep(client, mailed, monkeypatch):
    monkeypatch.setattr("webhooks.views.APPLIED_AT_ONCE", 1)
    sendgrid(client, [event(mailed.pk, "processed"), event(mailed.pk)])
    mailed.refresh_from_db()
    assert mailed.status == "sent"
    tasks.sweep()
    mailed.refresh_from_db()
    assert mailed.status == "delivered"


@pytest.mark.parametrize(
    "odd", [{"attempt": 99999}, {"MessageSid": "S" * 300}, {"status": "w" * 60}], ids=["attempt", "sid", "word"]
)
def test_a_callback_with_an_odd_value_takes_effect_all_the_same(client, sent, odd):
    assert twilio(client, sent.pk, **odd).status_code == 200
    assert Receipt.objects.get().result == "applied"


def test_a_receipt_that_took_effect_is_never_applied_again(client, sent, monkeypatch):
    twilio(client, sent.pk)
    monkeypatch.setattr("conversations.models.report.take_report", lambda *_: 1 / 0)
    receipt = Receipt.objects.get()
    Receipt.objects.apply([receipt])
    receipt.refresh_from_db()
    assert (receipt.result, receipt.error) == ("applied", "")


def test_an_unknown_word_is_kept_and_changes_nothing(client, sent):
    assert twilio(client, sent.pk, status="teleported").status_code == 200
    sent.refresh_from_db()
    assert sent.status == "sending"
    assert sent.events.last().status == "teleported"


def test_a_callback_for_nobody_is_kept_and_applied_once_its_message_is_there(client, sent):
    twilio(client, "", signed=True)
    receipt = Receipt.objects.get()
    assert (receipt.result, receipt.attempts) == ("orphan", 1)
    Message.objects.update(provider_message_id="SM" + "1" * 32)
    Receipt.objects.update(next_attempt_at=timezone.now())
    tasks.sweep()
    sent.refresh_from_db()
    assert sent.status == "delivered"
    assert Receipt.objects.get().result == "applied"


def test_an_orphan_is_tried_for_a_day_and_then_rests(client, sent):
    twilio(client, "")
    Receipt.objects.update(next_attempt_at=timezone.now(), received_at=timezone.now() - timedelta(hours=25))
    tasks.sweep()
    receipt = Receipt.objects.get()
    assert (receipt.result, receipt.next_attempt_at) == ("orphan", None)


def test_a_receipt_that_fails_is_applied_by_the_sweep(client, sent, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("conversations.models.report.take_report", lambda *_: 1 / 0)
        assert twilio(client, sent.pk).status_code == 200
    receipt = Receipt.objects.get()
    assert (receipt.result, receipt.error, receipt.attempts) == ("", "ZeroDivisionError", 1)
    Receipt.objects.update(next_attempt_at=timezone.now())
    tasks.sweep()
    sent.refresh_from_db()
    assert sent.status == "delivered"


def test_a_database_that_is_away_is_503_so_that_the_provider_comes_again(client, sent, monkeypatch):
    def away(*_, **__):
        raise OperationalError

    monkeypatch.setattr(ReceiptQuerySet, "_store", away)
    response = sendgrid(client, [event(sent.pk)])
    assert (response.status_code, response["Retry-After"]) == (503, "5")


def test_a_further_account_is_believed_by_its_own_secret_alone(client, accept, further_account):  # noqa: F811
    accept(provider="twilio_backup")
    [message] = claim("sms")
    path, secret = f"{TWILIO}?p={further_account}", "the-backup-auth-token"
    assert twilio(client, message.pk, path=path).status_code == 403
    assert twilio(client, message.pk, token=secret).status_code == 403
    assert twilio(client, message.pk, path=path, token=secret).status_code == 200
    message.refresh_from_db()
    assert (message.status, Receipt.objects.get().provider) == ("delivered", "twilio_backup")


@pytest.fixture
def sandbox_account(settings):
    """The account of test clients, and its credentials."""
    settings.SANDBOX_URL = "http://127.0.0.1:9"
    settings.SANDBOX_SECRET = "only-for-tests-only-for-tests-only-for-tests"
    routes.forget_accounts()
    yield credentials_of(settings.SANDBOX_SECRET)
    routes.forget_accounts()


def test_the_sandbox_is_believed_by_its_own_secret_and_only_about_tests(client, accept, sandbox_account):  # noqa: F811
    accept(provider="twilio")
    [real] = claim("sms")
    of_test = accept(provider="sandbox", test=True, recipient="+15550000001")
    path, token = f"{TWILIO}?p=sandbox", sandbox_account.auth_token
    assert twilio(client, of_test.pk, path=path).status_code == 403
    assert twilio(client, real.pk, token=token).status_code == 403
    for message in (real, of_test):
        assert twilio(client, message.pk, path=path, token=token, attempt=0).status_code == 200
    assert dict(Message.objects.values_list("test", "status")) == {False: "sending", True: "delivered"}


def test_what_the_sandbox_says_keeps_no_real_callback_from_counting(client, mailed, sandbox_account):
    fact, key = [event(mailed.pk)], sandbox_account.sendgrid_private_key
    assert sendgrid(client, fact, path=f"{SENDGRID}?p=sandbox", private_key=key).status_code == 200
    assert sendgrid(client, fact).status_code == 200
    mailed.refresh_from_db()
    assert mailed.status == "delivered"


@pytest.mark.parametrize("name", ["nobody", "sendgrid", "twilio_", "twilio_nobody", ""])
def test_a_callback_that_names_no_account_of_this_door_is_refused(client, sent, name):
    answer = twilio(client, sent.pk, path=f"{TWILIO}?p={name}")
    assert (answer.status_code, Receipt.objects.count()) == (403, 0)
