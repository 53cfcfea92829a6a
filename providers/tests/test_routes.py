"""Settings → adapters."""

import os
import signal

import pytest

from providers import routes
from providers.base import Signature
from providers.sendgrid import SendGridAccount
from providers.smtp import SmtpAccount
from providers.tests import test_signatures as signatures
from providers.twilio import TwilioAccount


@pytest.fixture(autouse=True)
def fresh_accounts():
    routes.forget_accounts()
    yield
    routes.forget_accounts()


def test_every_channel_has_its_account_made_once():
    assert routes.accounts_for("sms") == routes.accounts_for("mms") == {"twilio": routes.account_named("twilio")}
    assert routes.accounts_for("email") == {"sendgrid": routes.account_named("sendgrid")}
    assert type(routes.account_named("twilio")) is TwilioAccount
    assert type(routes.account_named("sendgrid")) is SendGridAccount


def test_accounts_come_in_the_order_of_their_route_each_of_its_kind(settings):
    settings.ROUTES = {**settings.ROUTES, "email": ["smtp", "sendgrid"]}
    assert [type(account) for account in routes.accounts_for("email").values()] == [SmtpAccount, SendGridAccount]
    assert (routes.channels_of("smtp"), routes.channels_of("twilio")) == (["email"], ["sms", "mms"])


def test_rings_have_no_more_calls_in_flight_than_the_mail_server_on_their_route_lets_in(settings):
    assert routes.calls_in_flight("email") == settings.CALLS_IN_FLIGHT
    settings.ROUTES = {**settings.ROUTES, "email": ["sendgrid", "smtp_office"]}
    assert 0 < routes.RINGS * routes.calls_in_flight("email") <= routes.SMTP_CONNECTIONS
    assert routes.calls_in_flight("sms") == settings.CALLS_IN_FLIGHT


def test_a_name_that_nobody_has_is_none():
    assert routes.account_named("carrier-pigeon") is None


def test_every_account_carries_the_name_that_it_is_found_by():
    names = routes.account_names()
    assert [routes.account_named(name).name for name in names] == list(names) == ["twilio", "sendgrid"]


@pytest.mark.parametrize(
    ("public_url", "base_url", "callback_url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8090", "http://127.0.0.1:8080/api/v1/webhooks/twilio"),
        ("http://localhost:8080", "https://api.twilio.com", None),
        ("https://example.com", "https://api.twilio.com", "https://example.com/api/v1/webhooks/twilio"),
    ],
)
def test_a_real_twilio_is_not_asked_to_call_a_loopback_address(settings, public_url, base_url, callback_url):
    settings.PUBLIC_URL, settings.TWILIO_BASE_URL = public_url, base_url
    assert routes._twilio_callback_url("twilio") == callback_url


def test_a_further_account_asks_to_be_named_in_its_callbacks(settings):
    settings.TWILIO_BACKUP_BASE_URL = settings.TWILIO_BASE_URL
    assert routes._twilio_callback_url("twilio_backup").endswith("/api/v1/webhooks/twilio?p=twilio_backup")


def test_every_secret_that_is_set_verifies_twilios_callbacks(settings):
    settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = signatures.TWILIO_SID, "new"
    settings.TWILIO_SECONDARY_AUTH_TOKEN = "old"
    settings.TWILIO_SUBACCOUNT_TOKENS = {signatures.SUBACCOUNT: "sub"}
    settings.TWILIO_SHARED_KEYS = {"key_1": "one"}
    account = routes.account_named("twilio")
    told = [signatures.signed(token="new"), signatures.signed(token="old")]
    told += [signatures.signed(signatures.naming(signatures.SUBACCOUNT), "sub")]
    told += [signatures.by_key("one", "key=key_1,algorithm=HMAC_SHA256")]
    assert {account.check_signature(each) for each in told} == {Signature.VALID}


def test_every_secret_that_is_set_verifies_sendgrids_callbacks(settings):
    settings.SENDGRID_WEBHOOK_PUBLIC_KEY = signatures.PUBLIC_KEY
    settings.SENDGRID_INBOUND_PUBLIC_KEY = signatures.PUBLIC
    settings.SENDGRID_INBOUND_SECRET = signatures.SECRET
    account = routes.account_named("sendgrid")
    told = [signatures.events(), signatures.mail(signatures.sign(signatures.MAIL))]
    told += [signatures.mail(url=signatures.SECRET_URL)]
    assert {account.check_signature(each) for each in told} == {Signature.VALID}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_forked_while_another_thread_made_an_account_makes_its_own():
    ours = routes.account_named("twilio")
    with routes._lock:
        child = os.fork()
        if not child:
            signal.alarm(5)
            os._exit(0 if routes.account_named("twilio") is not ours else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
