"""What is particular to SMTP: which step a call was at decides whether it may be tried again."""

import asyncio
import datetime
import email
import email.policy
import ipaddress
import threading
from dataclasses import replace
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from providers.base import Accepted, Callback, Signature
from providers.errors import Misconfigured, NotSent, Rejected, Uncertain, UnreadableCallback
from providers.smtp import SmtpAccount
from providers.smtp_errors import REFUSALS, refusal
from providers.tests.mail_servers import PASSWORD, USER, drip, drop, hang, odd_mail_server, post_office, reset
from providers.tests.test_adapters import SMTP, send

LOGIN_UNENCRYPTED = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}@"


def account(server, scheme="smtp", login="", timeout=5.0, connections=64):
    url = f"{scheme}://{login}127.0.0.1:{server.port}"
    return SmtpAccount(url=url, timeout=timeout, connections=connections)


def mail_that_arrived(**fields):
    """The mail as any program would read it, with its envelope."""
    with post_office() as office:
        outcome = send(account(office), replace(SMTP.message, **fields))
    assert type(outcome) is Accepted, outcome
    [envelope] = office.taken
    return email.message_from_bytes(envelope.content, policy=email.policy.default), envelope, outcome


def outcome_of(timeout=5.0, message=SMTP.message, login="", scheme="smtp", **answers):
    with odd_mail_server(**answers) as server:
        return send(account(server, scheme, login, timeout), message)


def told(outcome):
    return type(outcome), getattr(outcome, "code", "")


def test_the_mail_is_what_was_asked_for():
    mail, envelope, _ = mail_that_arrived(body="Text", html="<p>Text</p>", subject="Grüße")
    assert (envelope.mail_from, envelope.rcpt_tos) == ("us@example.com", ["you@example.com"])
    assert (mail["From"], mail["To"], mail["Subject"]) == ("us@example.com", "you@example.com", "Grüße")
    assert mail["Date"].datetime
    parts = [(part.get_content_type(), part.get_content().strip()) for part in mail.iter_parts()]
    assert (mail.get_content_type(), parts) == (
        "multipart/alternative",
        [("text/plain", "Text"), ("text/html", "<p>Text</p>")],
    )


@pytest.mark.parametrize(("field", "kind"), [("body", "text/plain"), ("html", "text/html")])
def test_plain_text_and_html_alone_stay_alone(field, kind):
    mail, _, _ = mail_that_arrived(**{"body": "", "html": "", field: "<p>Hi</p>"})
    assert (mail.get_content_type(), mail.get_content().strip()) == (kind, "<p>Hi</p>")


def test_a_mail_without_a_subject_gets_the_same_one_as_through_others():
    assert mail_that_arrived(subject="")[0]["Subject"] == "(no subject)"


def test_attachments_are_links():
    mail, _, _ = mail_that_arrived(body="Text", attachments=("https://example.com/a.pdf",))
    assert mail.get_content().split() == ["Text", "Attachments:", "https://example.com/a.pdf"]


ODD_TEXTS = {
    "a period alone": "a\n.\nb",
    "periods": ".\n..\n...b",
    "a second mail": "a\r\n.\r\nMAIL FROM:<x@example.com>\r\n",
    "bare line ends around a period": "a\n.\rMAIL FROM:<x@example.com>\r.\n",
    "From at the beginning": "From here\nFrom there",
    "every language": "Grüße, 你好, 🙂\u2028\x85",
    "a long line": "x" * 5000,
    "spaces at the ends": "  a  \n\t\n",
}


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS.keys())
def test_a_text_arrives_as_it_is_in_one_mail_of_short_lines_in_ascii(text):
    mail, envelope, _ = mail_that_arrived(body=text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    assert mail.get_content().replace("\r\n", "\n").rstrip("\n") == lines.rstrip("\n")
    assert envelope.content.isascii()
    assert max(map(len, envelope.content.split(b"\r\n"))) <= 76


def test_a_mail_carries_its_place_in_the_thread_and_where_answers_go():
    mail, _, _ = mail_that_arrived(
        references=("<1@example.com>", "<2@example.com>"),
        reply_to='"a, b"@in.example.com',
        unsubscribe_url="https://example.com/unsubscribe/token",
    )
    assert (mail["In-Reply-To"], mail["References"]) == ("<2@example.com>", "<1@example.com> <2@example.com>")
    assert mail["Reply-To"] == '"a, b"@in.example.com'
    assert mail["List-Unsubscribe"] == "<https://example.com/unsubscribe/token>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_the_message_id_is_the_messages_own_and_what_we_remember():
    mail, _, outcome = mail_that_arrived(message_id_header="<3@example.com>")
    assert (mail["Message-ID"], outcome.provider_message_id) == ("<3@example.com>", "3@example.com")


@pytest.mark.parametrize("own", ["", "none", f"<{'x' * 255}@example.com>"])
def test_a_message_without_a_usable_id_gets_one_for_this_attempt(own):
    mail, _, outcome = mail_that_arrived(message_id_header=own)
    assert outcome.provider_message_id == f"{SMTP.message.message_id}.3@example.com"
    assert mail["Message-ID"] == f"<{outcome.provider_message_id}>"


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "a\r\nBcc: b@example.com"},
        {"subject": "a\x0cb"},
        {"subject": "a\x00"},
        {"sender": "us@example.com\nBcc: b@example.com"},
        {"recipient": "you@example.com, b@example.com"},
        {"recipient": "you@example.com> NOTIFY=NEVER"},
        {"reply_to": "us@example.com\r\n"},
        {"message_id_header": "<a\r\n@example.com>"},
        {"unsubscribe_url": "https://example.com/\r\nBcc: b@example.com"},
        {"body": "\ud800"},
    ],
)
def test_what_can_not_stand_in_a_header_is_rejected_without_a_connection(fields):
    with odd_mail_server() as server:
        outcome = send(account(server), replace(SMTP.message, **fields))
        assert server.said == []
    assert told(outcome) == (Rejected, "bad_header")


def test_a_domain_that_is_not_ascii_is_written_in_ascii_for_any_server():
    mail, envelope, outcome = mail_that_arrived(sender="us@münchen.example", message_id_header="<3@münchen.example>")
    assert (envelope.mail_from, mail["From"]) == ("us@xn--mnchen-3ya.example",) * 2
    assert outcome.provider_message_id == "3@xn--mnchen-3ya.example"


def test_an_address_that_is_not_ascii_goes_to_a_server_that_takes_it():
    with post_office(enable_SMTPUTF8=True) as office:
        assert type(send(account(office), replace(SMTP.message, recipient="jürgen@example.com", body="ü"))) is Accepted
    [envelope] = office.taken
    assert envelope.rcpt_tos == ["jürgen@example.com"]
    assert "To: jürgen@example.com\r\n".encode() in envelope.content
    assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(envelope.mail_options)


@pytest.mark.parametrize("hello", ["250 without it", "502 what?"])
def test_an_address_that_is_not_ascii_is_rejected_where_the_server_does_not_take_it(hello):
    outcome = outcome_of(message=replace(SMTP.message, recipient="jürgen@example.com"), EHLO=hello)
    assert told(outcome) == (Rejected, "no_smtputf8")


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """A PEM file with a key and a certificate for 127.0.0.1, which this process trusts."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    pem = serialization.Encoding.PEM
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.add_extension(addresses, critical=True).sign(key, hashes.SHA256()).public_bytes(pem)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return file


@pytest.mark.parametrize(("scheme", "is_tls"), [("smtp+tls", False), ("smtps", True), ("smtp+ssl", True)])
@LOGIN_UNENCRYPTED
def test_mail_goes_through_an_encrypted_connection_after_a_login(certificate, scheme, is_tls):
    with post_office(certificate, wants_login=True, is_tls=is_tls) as office:
        assert type(send(account(office, scheme, LOGIN), SMTP.message)) is Accepted


@pytest.mark.parametrize(("scheme", "is_tls"), [("smtp+tls", False), ("smtps", True)])
def test_a_certificate_that_nobody_trusts_is_not_sent_to(certificate, monkeypatch, scheme, is_tls):
    monkeypatch.delenv("SSL_CERT_FILE")
    with post_office(certificate, is_tls=is_tls) as office:
        assert told(send(account(office, scheme), SMTP.message)) == (NotSent, "tls")


def test_a_server_that_can_not_encrypt_gets_nothing_when_that_was_asked_for():
    with odd_mail_server() as server:
        wary = account(server, "smtp+tls", LOGIN)
        assert told(send(wary, SMTP.message)) == (Misconfigured, "no_starttls")
        wary._threads.shutdown(wait=True)
    assert server.commands == ["EHLO", "QUIT"]


@LOGIN_UNENCRYPTED
def test_a_wrong_password_and_a_missing_login_keep_the_message():
    with post_office(wants_login=True) as office:
        assert told(send(account(office, login="ann:wrong@"), SMTP.message)) == (Misconfigured, "535")
        assert told(send(account(office), SMTP.message)) == (Misconfigured, "530")


@pytest.mark.parametrize("offered", ["250 none", "250-odd\r\n250 AUTH GSSAPI"])
def test_a_server_without_a_login_that_we_know_keeps_the_message(offered):
    assert told(outcome_of(login=LOGIN, EHLO=offered)) == (Misconfigured, "no_auth")


CAN_LOGIN = "250-odd\r\n250 AUTH PLAIN"
CAN_ENCRYPT = "250-odd\r\n250 STARTTLS"
ANSWERS = [
    ("greeting", "421 closing", NotSent, "no_service"),
    ("greeting", "450 later", NotSent, "no_service"),
    ("greeting", "554 not you", Misconfigured, "554"),
    ("AUTH", "454 later", NotSent, "no_service"),
    ("AUTH", "432 renew", Misconfigured, "432"),
    ("AUTH", "534 weak", Misconfigured, "534"),
    ("AUTH", "535 wrong", Misconfigured, "535"),
    ("STARTTLS", "454 later", NotSent, "no_service"),
    ("STARTTLS", "501 no", Misconfigured, "501"),
    ("MAIL", "421 closing", NotSent, "no_service"),
    ("MAIL", "451 later", NotSent, "451"),
    ("MAIL", "530 login first", Misconfigured, "530"),
    ("MAIL", "550 you@example.com", Rejected, "550"),
    ("MAIL", "552 too large", Rejected, "552"),
    ("RCPT", "421 closing", NotSent, "no_service"),
    ("RCPT", "450-busy\r\n450 you@example.com", NotSent, "450"),
    ("RCPT", "550 you@example.com", Rejected, "550"),
    ("RCPT", "554 5.7.1 you@example.com: Relay access denied", Misconfigured, "relay_denied"),
    ("RCPT", "550 relay not permitted", Misconfigured, "relay_denied"),
    ("RCPT", "251 will forward", Accepted, ""),
    ("DATA", "451 later", NotSent, "451"),
    ("DATA", "554 no", Rejected, "554"),
    ("DATA", "250 what?", NotSent, "unreadable_answer"),
    ("end", "421 closing", NotSent, "no_service"),
    ("end", "451 later", NotSent, "451"),
    ("end", "552 too large", Rejected, "552"),
    ("end", "554 spam", Rejected, "554"),
    ("end", "250-taken\r\n250 really", Accepted, ""),
    ("end", "354 go on", Uncertain, "unreadable_answer"),
]


@pytest.mark.parametrize(("step", "answer", "outcome", "code"), ANSWERS)
def test_each_answer_to_each_step_has_its_outcome_and_names_nobody(step, answer, outcome, code):
    can = {"AUTH": {"login": LOGIN, "EHLO": CAN_LOGIN}, "STARTTLS": {"scheme": "smtp+tls", "EHLO": CAN_ENCRYPT}}
    found = outcome_of(**can.get(step, {}), **{step: answer})
    assert told(found) == (outcome, code)
    assert getattr(found, "unreachable", False) == (code == "no_service")
    assert outcome is Accepted or ("@" not in found.message and found.message.endswith("."))


def test_a_refused_hello_keeps_the_message():
    assert told(outcome_of(EHLO="550 not you", HELO="550 not you")) == (Misconfigured, "550")


STEPS = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "end"]
GARBAGE = ["what?", "", "25", "9" * 9000, "\x00\xff"]


@pytest.mark.parametrize("answer", GARBAGE, ids=["a word", "nothing", "two digits", "no end", "binary"])
@pytest.mark.parametrize("step", STEPS)
def test_garbage_is_not_sent_before_the_message_has_left_and_uncertain_after_it(step, answer):
    found = outcome_of(**{step: answer, "HELO": answer})
    assert type(found) is (Uncertain if step == "end" else NotSent)


@pytest.mark.parametrize("leave", [drop, reset])
@pytest.mark.parametrize(("step", "code"), [*zip(STEPS, ["connect"] * 2 + ["connection_lost"] * 4, strict=True)])
def test_a_lost_connection_is_not_sent_before_the_message_has_left_and_uncertain_after_it(step, code, leave):
    found = outcome_of(**{step: leave})
    assert told(found) == (Uncertain if step == "end" else NotSent, code)
    assert getattr(found, "unreachable", False) == (step != "end")


@pytest.mark.parametrize("wait", [hang, drip])
@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_hangs_is_not_sent_before_the_message_has_left_and_uncertain_after_it(step, wait):
    """Its thread comes back, and a message that was given up never leaves."""
    with odd_mail_server(**{step: wait}) as server:
        waiting = account(server, timeout=0.3)
        outcome = send(waiting, SMTP.message)
        waiting._threads.shutdown(wait=True)
    assert ("DATA" in server.commands) == (step in ("DATA", "end"))
    assert told(outcome) == ((Uncertain, "timeout") if step == "end" else (NotSent, "connect_timeout"))


@pytest.mark.parametrize("step", STEPS)
def test_the_sockets_own_clock_says_the_same_where_the_calls_is_late(step, monkeypatch):
    monkeypatch.setattr("providers.smtp.asyncio.timeout", lambda _seconds: asyncio.Timeout(None))
    outcome = outcome_of(timeout=0.3, **{step: hang})
    assert told(outcome) == ((Uncertain, "timeout") if step == "end" else (NotSent, "connect_timeout"))


def test_a_message_given_up_before_its_last_line_never_leaves(monkeypatch):
    """However late its thread wakes: the server has no whole message that it could deliver."""
    given_up = threading.Event()

    def slow(connection):
        given_up.wait(10)
        connection.sendall(b"354 go on\r\n")

    taken = []
    with odd_mail_server(DATA=slow, end=taken.append) as server:
        late = account(server, timeout=0.2)
        outcome = send(late, SMTP.message)
        given_up.set()
        late._threads.shutdown(wait=True)
    assert told(outcome) == (NotSent, "connect_timeout")
    assert taken == []


def test_a_connection_lost_in_the_middle_of_the_data_is_not_sent():
    """Without the line that ends them there is nothing that the server may deliver."""
    large = replace(SMTP.message, body="x" * 20_000_000)

    def go_on_and_leave(connection):
        connection.sendall(b"354 go on\r\n")
        return reset(connection)

    assert told(outcome_of(message=large, DATA=go_on_and_leave)) == (NotSent, "connection_lost")


@pytest.mark.parametrize("goodbye", ["500 what?", hang, drop, reset, "x" * 9000])
def test_an_accepted_message_stays_accepted_and_waits_for_no_goodbye(goodbye):
    with odd_mail_server(QUIT=goodbye) as server:
        quick = account(server, timeout=1.0)
        assert type(send(quick, SMTP.message)) is Accepted
        quick._threads.shutdown(wait=True)
    assert server.commands == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


def test_a_server_is_told_how_large_the_message_is_where_it_wants_to_know():
    with odd_mail_server(EHLO="250-odd\r\n250 SIZE 1000", MAIL="552 too large") as server:
        send(account(server), SMTP.message)
        assert server.said[1].startswith(b"mail FROM:<us@example.com> SIZE=")


def test_a_cancelled_send_stays_cancelled_and_never_leaves():
    async def cancel(waiting):
        sending = asyncio.create_task(waiting.send(SMTP.message))
        while "RCPT" not in server.commands:
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    with odd_mail_server(RCPT=hang) as server:
        waiting = account(server)
        asyncio.run(cancel(waiting))
        waiting._threads.shutdown(wait=True)
    assert server.commands[-1] == "RCPT"


def test_fifty_mails_at_once_all_arrive_under_their_own_ids():
    messages = [replace(SMTP.message, message_id_header=f"<{number}@example.com>") for number in range(50)]
    with post_office() as office:
        outcomes = send(account(office, connections=8), *messages)
    arrived = {email.message_from_bytes(each.content)["Message-ID"] for each in office.taken}
    assert arrived == {f"<{each.provider_message_id}>" for each in outcomes}
    assert (len(arrived), len(office.taken)) == (50, 50)


def test_a_closed_account_sends_nothing():
    with odd_mail_server() as server:
        closed = account(server)
        asyncio.run(closed.close())
        assert told(send(closed, SMTP.message)) == (NotSent, "closed")
        assert server.said == []


@pytest.mark.parametrize(("step", "outcome"), [("MAIL", NotSent), ("end", Uncertain)])
def test_what_nobody_foresaw_depends_on_the_step_and_is_logged_by_its_type_alone(step, outcome, monkeypatch, caplog):
    steps = iter(["MAIL", "RCPT", "end"])

    def surprise(answer):
        if next(steps) == step:
            raise KeyError("you@example.com")

    monkeypatch.setattr("providers.smtp._positive", surprise)
    assert told(outcome_of()) == (outcome, "unexpected")
    assert "KeyError" in caplog.text
    assert "you@example.com" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "smtp://",
        "smtp:127.0.0.1",
        "127.0.0.1:25",
        "http://127.0.0.1",
        "consolemail://",
        "smtp://ann@127.0.0.1",
        "smtp://ann:ü@127.0.0.1",
        "smtp://ann:se#cret@127.0.0.1",
        "smtp://127.0.0.1:mail",
        "smtp://127.0.0.1/?timeout=3",
        "smtp://[::1",
        f"smtp://{'x' * 70}.example",
    ],
)
def test_a_url_that_names_no_mail_server_keeps_the_message(url):
    outcome = send(SmtpAccount(url=url, timeout=1, connections=1), SMTP.message)
    assert told(outcome) == (Misconfigured, "bad_base_url")
    assert "se" + "#cret" not in str(outcome)


def test_every_row_is_the_answer_to_what_it_says():
    """A row that an earlier one hides would never be told."""
    for row in REFUSALS:
        codes = [int(row.code)] if row.code.isdigit() else range(int(row.code[0]) * 100, int(row.code[0]) * 100 + 100)
        assert any(refusal(row.step, code) is row for code in codes), row


def test_nobody_gets_in_by_a_door_that_does_not_exist():
    callback = Callback(url="https://example.com/hook", body=b"[]", headers={})
    nobody = SMTP.make("http://127.0.0.1:9")
    assert nobody.check_signature(callback) is Signature.INVALID
    for read in (nobody.split, nobody.read_report, nobody.read_inbound):
        with pytest.raises(UnreadableCallback):
            read(callback)
