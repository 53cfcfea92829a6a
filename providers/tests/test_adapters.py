"""The contract that every adapter keeps, run for each on loopback: over real HTTP, and what fits over SMTP too."""

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest

from providers import transport
from providers.base import Callback, OutboundMessage, Signature
from providers.errors import Misconfigured, NotSent, Rejected, Uncertain, UnreadableCallback
from providers.sendgrid import SendGridAccount
from providers.smtp import SmtpAccount
from providers.tests.conftest import ACCOUNT_SID, running_sandbox
from providers.tests.odd_server import answering, drip, hang_up, http, silence, truncated
from providers.twilio import TwilioAccount

SECRET_BODY = "the body nobody may log"
GOOD_ANSWERS = {
    "twilio": http(201, json.dumps({"sid": "SM1", "num_segments": "1"})),
    "sendgrid": http(202, X_Message_Id="abc"),
}


TWILIO_SID = "AC0123456789abcdef0123456789abcdef"


def twilio(url, sid=TWILIO_SID, token="token", timeout=5.0, callback_url="http://127.0.0.1:9/hook", **more):
    more = {"account_sid": sid, "auth_token": token, "callback_url": callback_url, "connections": 64, **more}
    return TwilioAccount(base_url=url, timeout=timeout, **more)


def sendgrid(url, key="SG.key", public_key="", timeout=5.0, **more):
    more = {"api_key": key, "webhook_public_key": public_key, "connections": 64, **more}
    return SendGridAccount(base_url=url, timeout=timeout, **more)


def smtp(url, has_url=True, timeout=5.0, **more):
    url = url.replace("https:", "smtps:").replace("http:", "smtp:")
    return SmtpAccount(url=url if has_url else "", timeout=timeout, connections=64, **more)


@dataclass(frozen=True)
class Kind:
    """One adapter under test: how to make it, plainly or for a sandbox, and what it sends and is refused with."""

    name: str
    make: Callable
    for_sandbox: Callable
    message: OutboundMessage
    refusal: str
    no_key: dict
    wrong_key: dict


TWILIO = Kind(
    name="twilio",
    make=twilio,
    for_sandbox=lambda box, door="http://127.0.0.1:9", **more: twilio(
        box.url, box.account_sid, box.auth_token, callback_url=f"{door}/api/v1/webhooks/twilio", **more
    ),
    message=OutboundMessage(
        message_id=uuid4(), attempt=3, channel="sms", sender="+15551234567", recipient="+15559876543", body=SECRET_BODY
    ),
    refusal=json.dumps({"code": 21211, "message": "The 'To' number +15559876543 is not valid.", "status": 400}),
    no_key={"sid": "", "token": ""},
    wrong_key={"sid": ACCOUNT_SID, "token": "wrong"},
)
SENDGRID = Kind(
    name="sendgrid",
    make=sendgrid,
    for_sandbox=lambda box, door="", **more: sendgrid(box.url, box.api_key, box.public_key, **more),
    message=OutboundMessage(
        message_id=uuid4(),
        attempt=3,
        channel="email",
        sender="us@example.com",
        recipient="you@example.com",
        body=SECRET_BODY,
        subject="Hello",
    ),
    refusal=json.dumps({"errors": [{"message": "you@example.com is bad", "field": "personalizations.0.to.0.email"}]}),
    no_key={"key": ""},
    wrong_key={"key": "wrong"},
)
# It has no sandbox, refusals that are no HTTP, and no callbacks.
SMTP = Kind(
    name="smtp",
    make=smtp,
    for_sandbox=lambda box, **more: smtp(box.url, **more),
    message=replace(SENDGRID.message, message_id=uuid4()),
    refusal="",
    no_key={"has_url": False},
    wrong_key={},
)


@pytest.fixture(params=[TWILIO, SENDGRID], ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture(params=[TWILIO, SENDGRID, SMTP], ids=lambda kind: kind.name)
def any_kind(request):
    return request.param


def send(account, *messages):
    """The outcomes of messages sent at once: what `send` returned, or the exception it raised."""

    async def all_of_them():
        try:
            return await asyncio.gather(*map(account.send, messages), return_exceptions=True)
        finally:
            await account.close()

    outcomes = asyncio.run(all_of_them())
    return outcomes[0] if len(messages) == 1 else outcomes


def test_an_accepted_message_brings_its_provider_id_and_takes_our_id_and_attempt_along(kind, sandbox):
    outcome = send(kind.for_sandbox(sandbox), kind.message)
    [row] = sandbox.ledger()
    assert outcome.provider_message_id == row["provider_message_id"]
    assert (UUID(row["message_id"]), int(row["attempt"])) == (kind.message.message_id, 3)
    assert (row["provider"], row["from"], row["to"]) == (kind.name, kind.message.sender, kind.message.recipient)


@pytest.mark.parametrize(
    ("fault", "outcome", "reached"),
    [
        ("401", Misconfigured, 0),
        ("429", NotSent, 0),
        ("500", Uncertain, 0),
        ("500_accepted", Uncertain, 1),
        ("reset", Uncertain, 0),
        ("reset_accepted", Uncertain, 1),
        ("garbage", Uncertain, 1),
    ],
)
def test_each_fault_has_its_outcome_and_is_not_tried_again(kind, sandbox, fault, outcome, reached):
    sandbox.fault(kind.name, fault)
    assert type(send(kind.for_sandbox(sandbox), kind.message)) is outcome
    assert len(sandbox.ledger()) == reached


def test_too_many_requests_brings_the_providers_wish(kind, sandbox):
    sandbox.fault(kind.name, "429")
    assert send(kind.for_sandbox(sandbox), kind.message).retry_after == 1.0


def test_an_answer_that_never_comes_is_uncertain_within_the_timeout(kind, sandbox):
    sandbox.fault(kind.name, "hang_accepted")
    begun = time.monotonic()
    outcome = send(kind.for_sandbox(sandbox, timeout=0.4), kind.message)
    assert (type(outcome), outcome.code) == (Uncertain, "timeout")
    assert time.monotonic() - begun < 3


def test_an_answer_that_drips_is_uncertain_within_the_timeout(kind):
    begun = time.monotonic()
    with answering(drip) as server:
        outcome = send(kind.make(server.url, timeout=0.4), kind.message)
    assert (type(outcome), outcome.code) == (Uncertain, "timeout")
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("answer", [truncated, hang_up, b"not HTTP at all\r\n\r\n"])
def test_a_broken_answer_is_uncertain(kind, answer):
    with answering(answer) as server:
        assert type(send(kind.make(server.url), kind.message)) is Uncertain
        assert len(server.requests) == 1


ODD_ANSWERS = {
    "a firewall's 403": http(403, "<html>Blocked by your firewall</html>", "text/html"),
    "a proxy's 400": http(400, "<html>Bad</html>", "text/html"),
    "404 and an empty object": http(404, "{}"),
    "301": http(301, "", Location="/elsewhere"),
    "307": http(307, "", Location="/elsewhere"),
    "503": http(503, "busy", "text/plain", Retry_After="1"),
    "200 and an array": http(200, "[1, 2]"),
    "200 and half an object": http(200, "{"),
    "200 and a deep array": http(200, "[" * 100_000),
    "204": http(204),
}


@pytest.mark.parametrize("answer", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
def test_an_answer_that_is_not_the_providers_is_uncertain_and_not_followed(kind, answer):
    with answering(answer) as server:
        assert type(send(kind.make(server.url), kind.message)) is Uncertain
        assert len(server.requests) == 1


def test_a_refused_connection_is_not_sent(any_kind):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outcome = send(any_kind.make(f"http://127.0.0.1:{port}"), any_kind.message)
    assert (type(outcome), outcome.code) == (NotSent, "connect")


def test_a_host_that_does_not_exist_is_not_sent(any_kind):
    outcome = send(any_kind.make("http://nonexistent.invalid", timeout=20), any_kind.message)
    assert (type(outcome), outcome.code) == (NotSent, "dns")


def test_a_server_that_speaks_no_tls_is_not_sent(any_kind):
    def plain(connection):
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return False

    with answering(plain) as server:
        outcome = send(any_kind.make(server.url.replace("http:", "https:")), any_kind.message)
    assert (type(outcome), outcome.code) == (NotSent, "tls")


def test_a_connection_that_is_never_taken_is_not_sent_within_the_timeout(any_kind):
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        begun = time.monotonic()
        outcome = send(any_kind.make(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=1), any_kind.message)
    assert (type(outcome), outcome.code) == (NotSent, "connect_timeout")
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize("base_url", ["https://api..example.com", f"https://{'a' * 64}.com", "http://a:b@127.0.0.1:9"])
def test_a_base_url_to_which_no_connection_can_be_tried_keeps_the_message(kind, base_url):
    outcome = send(kind.make(base_url), kind.message)
    assert (type(outcome), outcome.code) == (Misconfigured, "bad_base_url")


def test_what_comes_unasked_is_nobodys_answer(kind):
    """A front end may answer twice; a refusal taken for the next call's would let that one be sent again."""
    released, came = threading.Event(), threading.Event()

    def twice(connection):
        connection.sendall(GOOD_ANSWERS[kind.name])
        if not came.is_set():
            released.wait(10)
            connection.sendall(http(429))
            came.set()

    async def two(account):
        await account.send(kind.message)
        released.set()
        await asyncio.to_thread(came.wait, 10)
        await account.send(kind.message)
        await account.close()

    with answering(twice) as server:
        asyncio.run(two(kind.make(server.url)))
        assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("base_url", ["/nowhere", "ftp://127.0.0.1/", "http://127.0.0.1:99999"])
def test_a_base_url_that_is_none_keeps_the_message(any_kind, base_url):
    outcome = send(any_kind.make(base_url), any_kind.message)
    assert (type(outcome), outcome.code) == (Misconfigured, "bad_base_url")


def test_connections_are_reused(kind):
    async def one_after_the_other(account):
        for _ in range(5):
            await account.send(kind.message)
        await account.close()

    with answering(GOOD_ANSWERS[kind.name]) as server:
        asyncio.run(one_after_the_other(kind.make(server.url)))
        assert (server.connections, len(server.requests)) == (1, 5)


def test_a_connection_idle_for_long_is_not_used_again(kind, monkeypatch):
    async def two(account):
        await account.send(kind.message)
        await account.send(kind.message)
        await account.close()

    monkeypatch.setattr(transport, "KEEPALIVE_SECONDS", 0)
    with answering(GOOD_ANSWERS[kind.name]) as server:
        asyncio.run(two(kind.make(server.url)))
        assert (server.connections, len(server.requests)) == (2, 2)


def test_a_call_given_up_while_the_name_was_resolved_never_leaves(kind, monkeypatch):
    """Resolving a name has no timeout: its thread may wake long after the loop gave up."""
    resolve, given_up, late = socket.getaddrinfo, threading.Event(), []

    def slow(*args, **named):
        late.append(given_up.wait(10))
        return resolve(*args, **named)

    async def give_up(account):
        with pytest.raises(NotSent) as outcome:
            await account.send(kind.message)
        given_up.set()
        await asyncio.get_running_loop().shutdown_default_executor()
        await account.close()
        return outcome.value.code

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with answering(GOOD_ANSWERS[kind.name]) as server:
        account = kind.make(server.url.replace("127.0.0.1", "localhost"), timeout=0.2)
        assert asyncio.run(give_up(account)) == "connect_timeout"
        assert late == [True]
        assert server.requests == []


def test_fifty_messages_at_once_are_all_accepted_under_their_own_ids(kind, sandbox):
    messages = [replace(kind.message, message_id=uuid4()) for _ in range(50)]
    outcomes = send(kind.for_sandbox(sandbox), *messages)
    rows = {row["message_id"]: row["provider_message_id"] for row in sandbox.ledger()}
    assert [rows[str(each.message_id)] for each in messages] == [each.provider_message_id for each in outcomes]


def test_an_account_without_credentials_keeps_the_message(any_kind):
    outcome = send(any_kind.make("http://127.0.0.1:9", **any_kind.no_key), any_kind.message)
    assert (type(outcome), outcome.code) == (Misconfigured, "no_credentials")


def test_wrong_credentials_keep_the_message(kind, sandbox):
    assert type(send(kind.make(sandbox.url, **kind.wrong_key), kind.message)) is Misconfigured


def test_a_refusal_names_a_code_but_no_address_and_no_body(kind):
    with answering(http(400, kind.refusal)) as server:
        outcome = send(kind.make(server.url), kind.message)
    assert type(outcome) is Rejected
    assert outcome.code
    assert outcome.message.endswith(".")
    for secret in (kind.message.recipient, kind.message.sender, SECRET_BODY):
        assert secret not in f"{outcome} {outcome.code} {outcome.__cause__}"


def test_what_nobody_foresaw_is_uncertain_and_logged_by_its_type_alone(kind, monkeypatch, caplog):
    def surprise(*_, **__):
        raise KeyError(SECRET_BODY)

    monkeypatch.setattr(f"providers.{kind.name}._accepted", surprise)
    with answering(GOOD_ANSWERS[kind.name]) as server:
        outcome = send(kind.make(server.url), kind.message)
    assert (type(outcome), outcome.code) == (Uncertain, "unexpected")
    assert "KeyError" in caplog.text
    assert SECRET_BODY not in caplog.text


def test_a_cancelled_send_stays_cancelled(kind):
    async def cancel(account):
        sending = asyncio.create_task(account.send(kind.message))
        while not server.requests:
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await account.close()

    with answering(silence) as server:
        asyncio.run(cancel(kind.make(server.url)))


def status_callbacks(kind, message):
    """The callbacks of a message that the sandbox delivers, as they came."""
    with answering(http(200)) as door, running_sandbox(public_url=door.url, callback_delay_ms=0) as sandbox:
        account = kind.for_sandbox(sandbox, door.url)
        send(account, message)
        deadline = time.monotonic() + 10
        while len(door.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return account, [as_callback(door.url, *request) for request in door.requests]


def as_callback(base, head, body):
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Callback(url=base + first.split()[1], body=body, headers=headers)


def test_callbacks_verify_and_tell_the_way_of_the_message(kind):
    account, callbacks = status_callbacks(kind, kind.message)
    parts = [part for callback in callbacks for part in account.split(callback)]
    reports = [account.read_report(json.loads(json.dumps(part.payload))) for part in parts]
    assert {account.check_signature(each) for each in callbacks} == {Signature.VALID}
    assert [part.kind for part in parts] == ["status", "status"]
    assert [report.status for report in reports] == ["sent", "delivered"]
    assert {(report.message_id, report.attempt) for report in reports} == {(kind.message.message_id, 3)}
    assert len({part.dedupe_key for part in parts}) == 2
    assert all(report.provider_message_id and not report.error_code for report in reports)


def test_a_callback_tampered_with_is_invalid_and_an_unsigned_one_missing(kind):
    account, [callback, *_] = status_callbacks(kind, kind.message)
    name = next(name for name in callback.headers if name.endswith("signature"))
    signature = callback.headers[name]
    tampered = [
        replace(callback, body=callback.body.replace(b"sent", b"read").replace(b"processed", b"delivered")),
        replace(callback, body=callback.body + b"&x=1"),
        replace(callback, headers={**callback.headers, name: signature[:-8] + "AAAAAAA="}),
        replace(callback, headers={**callback.headers, name: ""}),
        replace(callback, headers={**callback.headers, name: "ümlaut"}),
    ]
    assert {account.check_signature(each) for each in tampered} == {Signature.INVALID}
    unsigned = {key: value for key, value in callback.headers.items() if key != name}
    assert account.check_signature(replace(callback, headers=unsigned)) is Signature.MISSING


def test_every_part_is_kept_as_json_and_bytes_and_read_again_from_them(kind):
    account, callbacks = status_callbacks(kind, kind.message)
    for part in (part for callback in callbacks for part in account.split(callback)):
        assert part.body == b""
        assert account.read_report(json.loads(json.dumps(part.payload))) == account.read_report(part.payload)


@pytest.mark.parametrize(
    "url", ["https://example.com/a", "https://api.twilio.com.example.com/a", "", "a", "http://[", "/"]
)
def test_a_strangers_media_gets_no_credentials(any_kind, url):
    assert any_kind.make("https://api.twilio.com").media_credentials(url) is None


def test_an_account_without_a_key_believes_no_signature(kind):
    _, [callback, *_] = status_callbacks(kind, kind.message)
    account = kind.make("http://127.0.0.1:9", **kind.no_key)
    assert account.check_signature(callback) is Signature.INVALID


def test_no_malformed_callback_raises_anything_unforeseen(any_kind, sandbox):
    account, dice = any_kind.for_sandbox(sandbox), random.Random(20)
    headers = ["x-twilio-signature", "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"]
    beginnings = [b"", b"[", b"{", b'[{"event":', b"MessageStatus=", b"From=%00&To=", b"[[[[", b'"\\ud800', b"NaN"]
    for _ in range(500):
        noise = dice.randbytes(dice.randrange(60))
        text = noise.decode(dice.choice(["latin-1", "utf-16-le"]), "replace")
        chosen = {name: dice.choice([text, "", "=", "AAAA", "MEUCIQ=="]) for name in headers if dice.random() < 0.9}
        kinds = ["application/json", "multipart/form-data; boundary=" + text, "multipart/x; boundary*0=", text]
        url = dice.choice(["http://[::1/?" + text, "https://x:99999/?m=" + text, "https://example.com/?m=1&a=" + text])
        body = dice.choice(beginnings) + noise
        callback = Callback(url=url, body=body, headers={**chosen, "content-type": dice.choice(kinds)})
        assert account.check_signature(callback) is not Signature.VALID
        try:
            for part in account.split(callback):
                if part.kind == "inbound":
                    account.read_inbound(part.payload, part.body)
                else:
                    account.read_report(part.payload)
                json.dumps(part.payload, allow_nan=False).encode()
        except UnreadableCallback:
            pass


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"[1]", b"{", b"a=b", b"\xff\xfe", b"[" * 100_000, b"1e999"]
)
def test_a_callback_without_a_fact_is_unreadable(any_kind, sandbox, body):
    with pytest.raises(UnreadableCallback):
        any_kind.for_sandbox(sandbox).split(Callback(url="https://example.com/hook", body=body, headers={}))
