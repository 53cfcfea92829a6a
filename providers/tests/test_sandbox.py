"""The sandbox as its callers meet it: over HTTP, through the real SDKs, checked by the SDKs' own validators."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from urllib.error import HTTPError
from urllib.parse import parse_qsl

import aiohttp
import pytest
import requests
from multidict import MultiDict
from python_http_client.exceptions import HTTPError as SendGridHTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers.eventwebhook import EventWebhook
from sendgrid.helpers.mail import CustomArg, Mail
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from providers.sandbox.twilio import segments
from providers.tests.conftest import running_sandbox
from providers.wire import is_loopback

PROJECT = Path(__file__).resolve().parents[2]
MESSAGE_ID = "01990000-0000-7000-8000-000000000001"


def twilio_client(sandbox):
    client = Client(sandbox.account_sid, sandbox.auth_token)
    client.api.base_url = sandbox.url
    return client


def send_sms(sandbox, **changes):
    fields = {"to": "+15559876543", "from_": "+15551234567", "body": "Hello"} | changes
    return twilio_client(sandbox).messages.create(**fields)


def send_mail(sandbox, to="ann@example.com", sender="shop@example.com", **custom_args):
    mail = Mail(sender, to, "Hello", "How are you?")
    for name, value in custom_args.items():
        mail.personalizations[0].add_custom_arg(CustomArg(name, value))
    return SendGridAPIClient(sandbox.api_key, host=sandbox.url).send(mail)


def post_mail(sandbox, mail):
    return requests.post(
        f"{sandbox.url}/v3/mail/send", json=mail, headers={"Authorization": f"Bearer {sandbox.api_key}"}, timeout=10
    )


def a_mail(**changes):
    mail = {
        "personalizations": [{"to": [{"email": "ann@example.com"}]}],
        "from": {"email": "shop@example.com"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "How are you?"}],
    } | changes
    return {name: value for name, value in mail.items() if value is not None}


class Caller:
    """Takes callbacks on loopback: `answers` are the status codes for the next ones, then it is 200 for ever."""

    def __init__(self, port=0):
        self.callbacks = Queue()
        self.answers = []
        caller = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                caller.callbacks.put((caller.url + self.path, self.headers, body))
                self.send_response(caller.answers.pop(0) if caller.answers else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def next(self):
        return self.callbacks.get(timeout=10)

    def next_but(self, word):
        """The URL of the next callback in whose URL this word is not."""
        while word in (url := self.next()[0]):
            pass
        return url

    def next_form(self):
        return dict(parse_qsl(self.next()[2].decode()))

    def next_events(self, count):
        events = []
        while len(events) < count:
            events += json.loads(self.next()[2])
        return events


@contextmanager
def a_caller(port=0):
    caller = Caller(port)
    thread = threading.Thread(target=caller.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield caller
    finally:
        caller.server.shutdown()
        caller.server.server_close()
        thread.join()


@pytest.fixture
def caller():
    with a_caller() as caller:
        yield caller


def status_callback(caller, attempt=1):
    return f"{caller.url}/api/v1/webhooks/twilio?m={MESSAGE_ID}&a={attempt}"


# --- Twilio ---------------------------------------------------------------------------------------------------------


def test_a_message_is_answered_as_twilio_answers(sandbox):
    message = send_sms(sandbox)
    assert message.sid.startswith("SM")
    assert len(message.sid) == 34
    assert (message.status, message.num_segments, message.num_media) == ("queued", "1", "0")
    assert message.date_created.tzinfo
    assert message.date_sent is None
    assert message.uri == f"/2010-04-01/Accounts/{sandbox.account_sid}/Messages/{message.sid}.json"


def test_a_message_with_media_gets_an_mm_sid(sandbox):
    message = send_sms(sandbox, body="", media_url=["https://example.com/a.png", "https://example.com/b.png"])
    assert message.sid.startswith("MM")
    assert message.num_media == "2"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": ""}, 21604),
        ({"from_": ""}, 21603),
        ({"body": ""}, 21602),
        ({"to": "12"}, 21211),
        ({"to": "+15005550001"}, 21211),
        ({"to": "+15005550004"}, 21610),
        ({"from_": "not a sender, too long"}, 21212),
        ({"body": "x" * 1601}, 21617),
        ({"media_url": ["https://example.com/a.png"] * 11}, 21623),
        ({"media_url": ["ftp://example.com/a.png"]}, 21620),
        ({"status_callback": "not a url"}, 21609),
    ],
)
def test_a_refused_message_carries_twilios_code_and_is_not_in_the_ledger(sandbox, changes, code):
    with pytest.raises(TwilioRestException) as refusal:
        send_sms(sandbox, **changes)
    assert (refusal.value.status, refusal.value.code) == (400, code)
    assert sandbox.ledger() == []


def test_wrong_twilio_credentials_are_20003(sandbox):
    client = Client(sandbox.account_sid, "wrong")
    client.api.base_url = sandbox.url
    with pytest.raises(TwilioRestException) as refusal:
        client.messages.create(to="+15559876543", from_="+15551234567", body="Hello")
    assert (refusal.value.status, refusal.value.code) == (401, 20003)


def test_empty_credentials_open_no_door():
    with running_sandbox(account_sid="", auth_token="", api_key="") as sandbox:
        path = f"{sandbox.url}/2010-04-01/Accounts//Messages.json"
        assert requests.get(path, auth=("", ""), timeout=10).status_code == 401
        send = requests.post(
            f"{sandbox.url}/v3/mail/send", json=a_mail(), headers={"Authorization": "Bearer "}, timeout=10
        )
        assert send.status_code == 401


def test_an_unknown_message_is_20404(sandbox):
    with pytest.raises(TwilioRestException) as refusal:
        twilio_client(sandbox).messages("SM" + "0" * 32).fetch()
    assert (refusal.value.status, refusal.value.code) == (404, 20404)


def test_the_list_is_newest_first_filtered_and_paged(sandbox):
    sids = [send_sms(sandbox, body=str(number)).sid for number in range(5)]
    send_sms(sandbox, to="+15557654321")
    send_sms(sandbox, from_="+15557654321")
    found = twilio_client(sandbox).messages.list(to="+15559876543", from_="+15551234567", page_size=2)
    assert [message.sid for message in found] == sids[::-1]


def test_the_list_finds_a_message_by_the_day_it_was_sent_once_it_was_sent(sandbox, caller):
    sandbox.dial(callback_delay_ms=60_000)
    queued = send_sms(sandbox)
    sandbox.dial(callback_delay_ms=0)
    sent = send_sms(sandbox, status_callback=status_callback(caller))
    caller.next()
    today = queued.date_created.date()
    assert [each.sid for each in twilio_client(sandbox).messages.list(date_sent=today)] == [sent.sid]
    assert [each.sid for each in twilio_client(sandbox).messages.list(date_sent_after=today)] == [sent.sid]


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("€" * 80, 1),
        ("x" * 152 + "€" * 5, 2),
        ("ы" * 70, 1),
        ("ы" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 67, 3),
    ],
)
def test_segments_are_counted_as_twilio_counts_them(body, count):
    assert segments(body) == count


# --- SendGrid -------------------------------------------------------------------------------------------------------


def test_a_mail_is_accepted_with_an_id_and_an_empty_body(sandbox):
    answer = send_mail(sandbox)
    assert (answer.status_code, answer.body) == (202, b"")
    assert [row["provider_message_id"] for row in sandbox.ledger()] == [answer.headers["X-Message-Id"]]


def test_a_wrong_api_key_is_a_401_in_sendgrids_words(sandbox):
    with pytest.raises(SendGridHTTPError) as refusal:
        SendGridAPIClient("SG.wrong", host=sandbox.url).send(Mail("a@example.com", "b@example.com", "s", "t"))
    assert refusal.value.status_code == 401
    assert refusal.value.to_dict["errors"][0]["message"].startswith("The provided authorization grant is invalid")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"personalizations": None}, "personalizations"),
        ({"personalizations": [{}]}, "personalizations.0.to"),
        ({"personalizations": [{"to": [{"email": "nobody"}]}]}, "personalizations.0.to.0.email"),
        ({"from": None}, "from.email"),
        ({"subject": None}, "subject"),
        ({"content": None}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
    ],
)
def test_an_incomplete_mail_is_a_400_that_names_the_field(sandbox, changes, field):
    answer = post_mail(sandbox, a_mail(**changes))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert sandbox.ledger() == []


def test_what_is_no_mail_at_all_is_a_bad_request(sandbox):
    assert [post_mail(sandbox, nonsense).status_code for nonsense in ([], "mail", 1, {})] == [400] * 4
    wild = {"personalizations": "x", "from": [], "content": {}, "subject": 1}
    assert post_mail(sandbox, a_mail(**wild)).status_code == 400


def test_an_unverified_sender_is_a_403_on_from(sandbox):
    answer = post_mail(sandbox, a_mail(**{"from": {"email": "unverified@example.com"}}))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (403, "from")


# --- Callbacks ------------------------------------------------------------------------------------------------------


def test_twilio_reports_sent_then_delivered_signed_over_the_whole_url(sandbox, caller):
    message = send_sms(sandbox, body="Grüße", status_callback=status_callback(caller))
    for status in ("sent", "delivered"):
        url, headers, body = caller.next()
        form = MultiDict(parse_qsl(body.decode()))
        assert (form["MessageSid"], form["MessageStatus"]) == (message.sid, status)
        assert url == status_callback(caller)
        assert RequestValidator(sandbox.auth_token).validate(url, form, headers["X-Twilio-Signature"])
        assert headers["I-Twilio-Idempotency-Token"]


def test_the_fetched_status_follows_the_callbacks(sandbox, caller):
    message = send_sms(sandbox, status_callback=status_callback(caller))
    caller.next()
    assert caller.next_form()["MessageStatus"] == "delivered"
    assert message.fetch().status == "delivered"


@pytest.mark.parametrize(("to", "code"), [("+15005550009", "30003"), ("+15005530007", "30007")])
def test_some_numbers_are_accepted_and_not_reached(sandbox, caller, to, code):
    message = send_sms(sandbox, to=to, status_callback=status_callback(caller))
    assert caller.next_form()["MessageStatus"] == "sent"
    report = caller.next_form()
    assert (report["MessageStatus"], report["ErrorCode"]) == ("undelivered", code)
    fetched = message.fetch()
    assert (fetched.status, fetched.error_code) == ("undelivered", int(code))


def test_sendgrid_reports_processed_then_delivered_signed_over_the_raw_bytes(caller):
    with running_sandbox(public_url=caller.url) as sandbox:
        message_id = send_mail(sandbox, message_id=MESSAGE_ID, attempt=2).headers["X-Message-Id"]
        webhook = EventWebhook(sandbox.public_key)
        for name in ("processed", "delivered"):
            url, headers, body = caller.next()
            assert url == f"{caller.url}/api/v1/webhooks/sendgrid"
            timestamp = headers["X-Twilio-Email-Event-Webhook-Timestamp"]
            signature = headers["X-Twilio-Email-Event-Webhook-Signature"]
            assert webhook.verify_signature(body.decode(), signature, timestamp)
            (event,) = json.loads(body)
            assert (event["event"], event["email"]) == (name, "ann@example.com")
            assert (event["message_id"], event["attempt"]) == (MESSAGE_ID, "2")
            assert event["sg_message_id"].partition(".")[0] == message_id


@pytest.mark.parametrize(("to", "names"), [("bounce", ["processed", "bounce"]), ("dropped", ["dropped"])])
def test_some_mailboxes_do_not_take_mail(caller, to, names):
    with running_sandbox(public_url=caller.url) as sandbox:
        send_mail(sandbox, to=f"{to}@example.com")
        events = caller.next_events(len(names))
        assert [event["event"] for event in events] == names
        assert events[-1]["reason"]


def test_every_recipient_of_a_mail_gets_its_own_events_with_its_own_custom_args(caller):
    people = [{"to": [{"email": f"{name}@example.com"}], "custom_args": {"who": name}} for name in ("ann", "bob")]
    with running_sandbox(public_url=caller.url) as sandbox:
        post_mail(sandbox, a_mail(personalizations=people, custom_args={"who": "all", "shop": "7"}))
        events = caller.next_events(4)
    assert [(each["event"], each["who"], each["shop"]) for each in events] == [
        ("processed", "ann", "7"),
        ("processed", "bob", "7"),
        ("delivered", "ann", "7"),
        ("delivered", "bob", "7"),
    ]


def test_a_caller_that_was_away_is_told_in_order_when_it_is_back(sandbox):
    with a_caller() as first:
        port = first.server.server_port
    message = send_sms(sandbox, status_callback=f"http://127.0.0.1:{port}/back")
    until(lambda: message.fetch().status == "sent")
    with a_caller(port) as back:
        assert [back.next_form()["MessageStatus"] for _ in range(2)] == ["sent", "delivered"]


def test_sendgrid_comes_again_after_a_5xx_with_the_same_events(caller):
    caller.answers = [503]
    with running_sandbox(public_url=caller.url) as sandbox:
        send_mail(sandbox)
        first, again = caller.next_events(1), caller.next_events(1)
    assert first[0]["event"] == "processed"
    assert again[0] == first[0]


def test_twilio_does_not_come_again_after_a_5xx(sandbox, caller):
    caller.answers = [503]
    send_sms(sandbox, status_callback=status_callback(caller))
    assert [caller.next_form()["MessageStatus"] for _ in range(2)] == ["sent", "delivered"]


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/x",
        "http://example.com/x",
        "http://127.0.0.1@example.com/x",
        "ftp://127.0.0.1/x",
        "http://[::1",
    ],
)
def test_nothing_but_loopback_is_ever_called(url):
    assert not is_loopback(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x", "http://localhost/x", "https://[::1]:8443/x"])
def test_loopback_has_many_names(url):
    assert is_loopback(url)


def test_a_message_whose_callback_is_elsewhere_is_delivered_without_one(sandbox, caplog):
    message = send_sms(sandbox, status_callback="http://192.0.2.1/x")
    until(lambda: message.fetch().status == "delivered")
    assert [record.message for record in caplog.records if message.sid in record.message] == [
        f"callbacks of {message.sid} dropped: their target is not on loopback"
    ]


def test_callbacks_to_a_public_url_are_delivered_as_a_proxy_before_it_would(caller):
    public = "https://switchboard.example.com"
    with running_sandbox(public_url=public, deliver_to=caller.url, callback_query="?p=sandbox") as sandbox:
        send_sms(sandbox, status_callback=f"{public}/api/v1/webhooks/twilio?p=sandbox")
        url, headers, body = caller.next()
        send_mail(sandbox)
        of_mail = caller.next_but("twilio")
    assert url == f"{caller.url}/api/v1/webhooks/twilio?p=sandbox"
    assert (headers["Host"], headers["X-Forwarded-Proto"]) == ("switchboard.example.com", "https")
    form, signature = dict(parse_qsl(body.decode())), headers["X-Twilio-Signature"]
    assert RequestValidator(sandbox.auth_token).validate(f"{public}/api/v1/webhooks/twilio?p=sandbox", form, signature)
    assert of_mail == f"{caller.url}/api/v1/webhooks/sendgrid?p=sandbox"


def test_a_redirect_is_not_followed(sandbox, caller):
    caller.answers = [307]
    message = send_sms(sandbox, status_callback=status_callback(caller))
    assert [caller.next_form()["MessageStatus"] for _ in range(2)] == ["sent", "delivered"]
    until(lambda: message.fetch().status == "delivered")
    assert caller.callbacks.empty()


def until(condition):
    """Look again and again, for ten seconds at most."""
    pause = threading.Event()
    for _ in range(500):
        if condition():
            return
        pause.wait(0.02)
    pytest.fail("it never came true")


# --- The ledger -----------------------------------------------------------------------------------------------------


def test_the_ledger_names_the_callers_message_and_attempt(sandbox):
    send_sms(sandbox, status_callback=f"http://127.0.0.1:9/?m={MESSAGE_ID}&a=3")
    send_mail(sandbox, message_id=MESSAGE_ID, attempt=4)
    send_sms(sandbox)
    rows = sandbox.ledger()
    assert [(row["provider"], row["message_id"], row["attempt"]) for row in rows] == [
        ("twilio", MESSAGE_ID, 3),
        ("sendgrid", MESSAGE_ID, 4),
        ("twilio", None, None),
    ]
    assert list(rows[0]) == ["message_id", "attempt", "provider", "provider_message_id", "from", "to", "at"]
    assert sandbox.call("GET", f"/ledger?message_id={MESSAGE_ID}")["requests"] == rows[:2]


def test_after_a_restart_everything_is_still_there(tmp_path):
    with running_sandbox(ledger=tmp_path / "ledger.jsonl", callback_delay_ms=0) as sandbox:
        message = send_sms(sandbox, body="Kept")
        until(lambda: message.fetch().status == "delivered")
        before = sandbox.ledger()
    with running_sandbox(ledger=tmp_path / "ledger.jsonl") as sandbox:
        assert sandbox.ledger() == before
        (found,) = twilio_client(sandbox).messages.list(to="+15559876543")
        assert (found.sid, found.body, found.status) == (message.sid, "Kept", "delivered")


def test_what_the_caller_was_not_told_before_a_restart_it_is_told_after(tmp_path, caller):
    settings = {"ledger": tmp_path / "ledger.jsonl", "public_url": caller.url}
    with running_sandbox(**settings, callback_delay_ms=60_000) as sandbox:
        send_sms(sandbox, status_callback=status_callback(caller))
        send_mail(sandbox)
    with running_sandbox(**settings):
        told = [caller.next()[0].partition("?")[0].rpartition("/")[2] for _ in range(4)]
        while settings["ledger"].read_text().count('"told":2}') < 2:
            pass  # until the sandbox has noted, too, what the caller has heard
    assert sorted(told) == ["sendgrid", "sendgrid", "twilio", "twilio"]
    with running_sandbox(**settings, latency_ms=100) as sandbox:
        send_sms(sandbox)
    with pytest.raises(Empty):
        caller.callbacks.get_nowait()


def test_a_line_torn_by_a_crash_is_cut_off(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    with running_sandbox(ledger=ledger) as sandbox:
        send_sms(sandbox)
    with ledger.open("ab") as file:
        file.write(b'{"message_id":"to')
    with running_sandbox(ledger=ledger) as sandbox:
        send_sms(sandbox)
    with running_sandbox(ledger=ledger) as sandbox:
        assert len(sandbox.ledger()) == 2


def test_a_message_is_in_the_ledger_before_its_answer_leaves():
    with running_sandbox(latency_ms=60_000) as sandbox:
        with pytest.raises(requests.Timeout):
            post_mail_with_timeout(sandbox, 0.2)
        assert len(sandbox.ledger()) == 1


def post_mail_with_timeout(sandbox, seconds):
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    return requests.post(f"{sandbox.url}/v3/mail/send", json=a_mail(), headers=headers, timeout=seconds)


def test_one_slow_answer_does_not_hold_up_the_others():
    async def send_fifty(sandbox):
        headers = {"Authorization": f"Bearer {sandbox.api_key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            sends = [session.post(f"{sandbox.url}/v3/mail/send", json=a_mail()) for _ in range(50)]
            return [answer.status for answer in await asyncio.wait_for(asyncio.gather(*sends), timeout=10)]

    # One after the other they would take 25 s.
    with running_sandbox(latency_ms=500) as sandbox:
        assert asyncio.run(send_fifty(sandbox)) == [202] * 50


# --- Faults ---------------------------------------------------------------------------------------------------------


def raw_send(sandbox, provider, timeout=10):
    if provider == "sendgrid":
        return post_mail_with_timeout(sandbox, timeout)
    path = f"{sandbox.url}/2010-04-01/Accounts/{sandbox.account_sid}/Messages.json"
    form = {"To": "+15559876543", "From": "+15551234567", "Body": "Hello"}
    return requests.post(path, data=form, auth=(sandbox.account_sid, sandbox.auth_token), timeout=timeout)


both = pytest.mark.parametrize("provider", ["twilio", "sendgrid"])


@both
@pytest.mark.parametrize(
    ("fault", "status", "accepted"),
    [("401", 401, 0), ("429", 429, 0), ("500", 500, 0), ("500_accepted", 500, 1), ("garbage", 200, 1)],
)
def test_an_answered_fault_says_in_the_ledger_whether_it_was_accepted(sandbox, provider, fault, status, accepted):
    sandbox.fault(provider, fault)
    answer = raw_send(sandbox, provider)
    assert (answer.status_code, len(sandbox.ledger())) == (status, accepted)
    assert answer.headers.get("Retry-After") == ("1" if fault == "429" else None)
    assert raw_send(sandbox, provider).ok


@both
@pytest.mark.parametrize(("fault", "accepted"), [("reset", 0), ("reset_accepted", 1)])
def test_a_reset_ends_the_connection_without_an_answer(sandbox, provider, fault, accepted):
    sandbox.fault(provider, fault)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        raw_send(sandbox, provider)
    assert len(sandbox.ledger()) == accepted


@both
def test_a_hang_accepts_and_never_answers(sandbox, provider):
    sandbox.fault(provider, "hang_accepted")
    with pytest.raises(requests.ReadTimeout):
        raw_send(sandbox, provider, timeout=0.3)
    assert len(sandbox.ledger()) == 1


def test_garbage_is_no_json(sandbox):
    sandbox.fault("twilio", "garbage")
    with pytest.raises(json.JSONDecodeError):
        send_sms(sandbox)


def test_faults_are_met_in_order_by_one_provider_and_only_by_what_would_be_accepted(sandbox):
    sandbox.fault("twilio", "429", count=2)
    sandbox.fault("twilio", "500")
    with pytest.raises(TwilioRestException):
        send_sms(sandbox, to="12")
    assert send_mail(sandbox).status_code == 202
    assert [raw_send(sandbox, "twilio").status_code for _ in range(4)] == [429, 429, 500, 201]


def test_faults_are_listed_and_taken_back(sandbox):
    sandbox.fault("sendgrid", "reset", count=2)
    assert sandbox.call("GET", "/faults") == {"faults": [{"provider": "sendgrid", "fault": "reset"}] * 2}
    assert sandbox.call("DELETE", "/faults") == {"faults": []}
    assert send_mail(sandbox).status_code == 202


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/faults", []),
        ("/faults", {"provider": "pigeon", "fault": "429"}),
        ("/faults", {"provider": ["twilio"], "fault": "429"}),
        ("/faults", {"provider": "twilio", "fault": "418"}),
        ("/faults", {"provider": "twilio", "fault": "429", "count": 0}),
        ("/faults", {"provider": "twilio", "fault": "429", "count": True}),
        ("/settings", {"latency": 1}),
        ("/settings", {"latency_ms": -1}),
        ("/settings", {"latency_ms": "5"}),
    ],
)
def test_a_wish_that_cannot_be_granted_is_a_400_with_a_sentence(sandbox, path, body):
    with pytest.raises(HTTPError) as refusal:
        sandbox.call("POST", path, body)
    with refusal.value as answer:
        assert answer.code == 400
        assert json.load(answer)["detail"].endswith(".")


def test_dials_turn_one_at_a_time(sandbox):
    assert sandbox.dial(latency_ms=3) == {"latency_ms": 3, "callback_delay_ms": 10}


def test_the_first_page_says_what_it_is(sandbox):
    page = requests.get(sandbox.url, timeout=10).text
    assert "/ledger" in page
    assert "hang_accepted" in page


# --- The process ----------------------------------------------------------------------------------------------------


def a_process(directory, port):
    environment = os.environ | {
        "DEBUG": "true",
        "SANDBOX_PORT": str(port),
        "SANDBOX_LEDGER": str(directory / "ledger.jsonl"),
        "SENDGRID_API_KEY": "SG.test",
        # Nobody is there: it must not be asked.
        "DATABASE_URL": "postgres://nobody@127.0.0.1:9/nothing",
    }
    command = [sys.executable, "manage.py", "sandbox"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=pipe, stderr=pipe, text=True)


@contextmanager
def running(process):
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_without_a_database_until_it_is_told_to_stop(tmp_path, number):
    with running(a_process(tmp_path, 0)) as process:
        url = process.stdout.readline().split()[-1]
        headers = {"Authorization": "Bearer SG.test"}
        assert requests.post(f"{url}/v3/mail/send", json=a_mail(), headers=headers, timeout=10).status_code == 202
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in errors


def test_a_killed_sandbox_has_lost_nothing(tmp_path):
    with running(a_process(tmp_path, 0)) as process:
        url = process.stdout.readline().split()[-1]
        headers = {"Authorization": "Bearer SG.test"}
        requests.post(f"{url}/v3/mail/send", json=a_mail(), headers=headers, timeout=10)
        process.kill()
        process.wait()
    with running_sandbox(ledger=tmp_path / "ledger.jsonl") as sandbox:
        assert [row["to"] for row in sandbox.ledger()] == ["ann@example.com"]


def test_a_taken_port_is_one_line_that_names_the_setting(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(a_process(tmp_path, port)) as process:
            _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert errors.strip().splitlines() == [f"CommandError: Port {port} is taken. Set SANDBOX_PORT to a free one."]


def test_an_unreadable_key_or_ledger_is_one_line_that_says_which(tmp_path, monkeypatch):
    monkeypatch.setenv("SANDBOX_SENDGRID_PRIVATE_KEY", "bm8ga2V5")
    with running(a_process(tmp_path, 0)) as process:
        assert "SANDBOX_SENDGRID_PRIVATE_KEY must be" in process.communicate(timeout=20)[1].splitlines()[0]
    monkeypatch.delenv("SANDBOX_SENDGRID_PRIVATE_KEY")
    (tmp_path / "ledger.jsonl").write_text("[]\n")
    with running(a_process(tmp_path, 0)) as process:
        assert "ledger.jsonl has a line" in process.communicate(timeout=20)[1].splitlines()[0]
