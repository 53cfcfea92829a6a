"""People who write to us, as the sandbox plays them, over HTTP: checked by the SDKs, read by our adapters."""

import base64
import json
import socket
import struct
import zlib
from datetime import UTC, datetime, timedelta
from io import StringIO
from queue import Empty
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from django.core.management import CommandError, call_command
from multidict import MultiDict
from sendgrid.helpers.eventwebhook import EventWebhook
from twilio.request_validator import RequestValidator

from providers.base import Callback
from providers.management.commands.simulate_inbound import sandbox_url
from providers.sandbox.courier import Insistence, like_twilio
from providers.tests.conftest import running_sandbox
from providers.tests.test_adapters import sendgrid as sendgrid_account
from providers.tests.test_adapters import twilio as twilio_account
from providers.tests.test_sandbox import a_caller, send_mail, send_sms, status_callback, twilio_client, until

TEXT = {"type": "sms", "from": "+15559876543", "to": "+15551234567", "body": "Grüße & +1"}
MAIL = {
    "type": "email",
    "from": "Ann Lee <ann@example.com>",
    "to": "shop@example.org",
    "subject": "Grüße",
    "body": "Hi!",
}
PNG = b"\x89PNG\r\n\x1a\n\x00\xff\r\n--\r\n"
LOGO = {
    "filename": "ein Bild für Sie.png",
    "content_type": "image/png",
    "content_base64": base64.b64encode(PNG).decode(),
    "content_id": "logo1",
}
NOTES = {"filename": "notes.txt", "content_type": "text/plain", "content_base64": "Tm90ZXM="}


@pytest.fixture
def door():
    """Where our webhooks would be."""
    with a_caller() as door:
        yield door


@pytest.fixture
def sandbox(door):
    with running_sandbox(public_url=door.url, callback_delay_ms=0) as running:
        yield running


def next_form(door):
    return MultiDict(parse_qsl(door.next()[2].decode(), keep_blank_values=True))


def read(account, came):
    url, headers, body = came
    callback = Callback(url=url, body=body, headers={name.lower(): value for name, value in headers.items()})
    [part] = account.split(callback)
    assert part.kind == "inbound"
    return account.read_inbound(part.payload, part.body)


def read_mail(door):
    return read(sendgrid_account("http://127.0.0.1:9"), door.next())


def read_text(door):
    return read(twilio_account("http://127.0.0.1:9"), door.next())


def nothing_more(door):
    with pytest.raises(Empty):
        door.callbacks.get_nowait()


# --- SMS and MMS ----------------------------------------------------------------------------------------------------


def test_a_text_comes_as_twilio_documents_it_signed_over_the_public_url(sandbox, door):
    [message] = sandbox.write(**TEXT)
    url, headers, body = door.next()
    form = MultiDict(parse_qsl(body.decode(), keep_blank_values=True))
    assert url == f"{door.url}/api/v1/webhooks/twilio"
    assert RequestValidator(sandbox.auth_token).validate(url, form, headers["X-Twilio-Signature"])
    assert message["id"] == form["MessageSid"] == form["SmsSid"] == form["SmsMessageSid"]
    assert (form["AccountSid"], form["SmsStatus"], form["NumMedia"]) == (sandbox.account_sid, "received", "0")
    assert (form["FromCountry"], form["FromCity"], form["NumSegments"]) == ("US", "", "1")
    assert message["callbacks"] == [200]


def test_a_text_reads_in_our_words(sandbox, door):
    [message] = sandbox.write(**TEXT | {"opt_out_type": "STOP"})
    found = read_text(door)
    assert (found.channel, found.sender, found.recipient) == ("sms", "+15559876543", "+15551234567")
    assert (found.body, found.keyword, found.provider_message_id) == ("Grüße & +1", "stop", message["id"])


def test_a_picture_is_behind_the_accounts_credentials_and_a_redirect_to_another_host(sandbox, door):
    [message] = sandbox.write(**TEXT | {"type": "mms"})
    found = read_text(door)
    [medium] = found.media
    assert (found.channel, medium.content_type, message["id"][:2]) == ("mms", "image/png", "MM")
    assert requests.get(medium.url, timeout=10).status_code == 401
    credentials = (sandbox.account_sid, sandbox.auth_token)
    redirect = requests.get(medium.url, auth=credentials, timeout=10, allow_redirects=False)
    assert redirect.status_code == 307
    assert urlsplit(redirect.headers["Location"]).hostname == "localhost"
    picture = requests.get(redirect.headers["Location"], timeout=10)
    assert picture.headers["Content-Type"] == "image/png"
    assert size_of_png(picture.content) == (64, 64)


def size_of_png(content):
    """The size, after every checksum and the number of pixels were found right."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", content, at + 8 + length) == (zlib.crc32(kind + data),)
        chunks[kind] = data
        at += 12 + length
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 3 * width)
    return width, height


def test_twilio_lists_the_media_of_a_message(sandbox):
    [message] = sandbox.write(**TEXT | {"type": "mms", "attachments": [LOGO, NOTES]})
    media = twilio_client(sandbox).messages(message["id"]).media.list()
    assert [each.content_type for each in media] == ["image/png", "text/plain"]
    assert {each.parent_sid for each in media} == {message["id"]}
    assert media[1].fetch().sid == media[1].sid
    url, credentials = f"{sandbox.url}{media[1].uri.removesuffix('.json')}", (sandbox.account_sid, sandbox.auth_token)
    assert requests.get(url, auth=credentials, timeout=10).content == b"Notes"
    assert requests.get(url[:-1] + "x", auth=credentials, timeout=10).status_code == 404


def test_a_picture_without_its_key_is_not_found(sandbox):
    [message] = sandbox.write(**TEXT | {"type": "mms"})
    assert requests.get(f"{sandbox.url}/media/{message['id']}/x", timeout=10).status_code == 404
    assert requests.get(f"{sandbox.url}/media/MMx/x", timeout=10).status_code == 404


def test_what_people_wrote_is_in_twilios_list_and_not_in_the_ledger_of_what_we_sent(sandbox):
    sent = send_sms(sandbox, to="+15559876543", from_="+15551234567")
    ids = [message["id"] for message in sandbox.write(**TEXT | {"type": "mms", "count": 3})]
    [latest] = twilio_client(sandbox).messages.list(to="+15551234567", from_="+15559876543", limit=1)
    assert (latest.sid, latest.direction, latest.status, latest.body) == (ids[-1], "inbound", "received", "Grüße & +1")
    assert (latest.num_media, latest.num_segments, latest.date_sent) == ("1", "1", latest.date_created)
    assert twilio_client(sandbox).messages(ids[0]).fetch().direction == "inbound"
    assert [row["provider_message_id"] for row in sandbox.ledger()] == [sent.sid]


def test_twilios_list_of_both_directions_is_newest_first_over_its_pages(sandbox):
    sids = []
    for _ in range(3):
        sids += [send_sms(sandbox).sid, sandbox.write(**TEXT)[0]["id"]]
    assert [each.sid for each in twilio_client(sandbox).messages.list(page_size=2)] == sids[::-1]


def test_twilios_list_finds_what_people_wrote_by_its_day(sandbox):
    [message] = sandbox.write(**TEXT)
    today, messages = datetime.now(UTC).date(), twilio_client(sandbox).messages
    assert message["id"] in [each.sid for each in messages.list(date_sent_after=today - timedelta(days=1))]
    assert messages.list(date_sent_before=today - timedelta(days=1)) == []


# --- Email ----------------------------------------------------------------------------------------------------------

raw_or_not = pytest.mark.parametrize("raw", [False, True])


@raw_or_not
def test_a_mail_is_signed_over_its_raw_bytes_with_the_key_of_the_events(sandbox, door, raw):
    sandbox.write(**MAIL | {"raw": raw})
    url, headers, body = door.next()
    signature = headers["X-Twilio-Email-Event-Webhook-Signature"]
    timestamp = headers["X-Twilio-Email-Event-Webhook-Timestamp"]
    assert url == f"{door.url}/api/v1/webhooks/sendgrid"
    assert EventWebhook(sandbox.public_key).verify_signature(body.decode(), signature, timestamp)
    assert (b'name="email"' in body, b'name="text"' in body) == (raw, not raw)


@raw_or_not
def test_a_mail_reads_in_our_words_with_its_thread(sandbox, door, raw):
    thread = {"in_reply_to": "<2@example.org>", "references": ["<1@example.org>", "<2@example.org>"]}
    [message] = sandbox.write(**MAIL | thread | {"raw": raw, "html": "<p>Größe</p>"})
    found = read_mail(door)
    assert (found.channel, found.sender, found.recipient) == ("email", "ann@example.com", "shop@example.org")
    assert (found.subject, found.body.strip(), found.html.strip()) == ("Grüße", "Hi!", "<p>Größe</p>")
    assert (found.message_id_header, found.in_reply_to) == (message["id"], "<2@example.org>")
    assert (found.references, found.automatic) == (("<1@example.org>", "<2@example.org>"), False)


@raw_or_not
def test_a_mail_brings_its_files_byte_for_byte(sandbox, door, raw):
    sandbox.write(**MAIL | {"raw": raw, "attachments": [LOGO, NOTES]})
    logo, notes = read_mail(door).media
    assert (logo.filename, logo.content_type, logo.content_id) == ("ein Bild für Sie.png", "image/png", "logo1")
    assert (notes.filename, notes.content, notes.content_id) == ("notes.txt", b"Notes", "")
    assert logo.content == PNG


@raw_or_not
def test_an_automatic_mail_is_marked(sandbox, door, raw):
    sandbox.write(**MAIL | {"raw": raw, "auto_submitted": "auto-replied"})
    assert read_mail(door).automatic is True


def test_without_a_key_a_mail_is_posted_unsigned(door):
    with running_sandbox(public_url=door.url, sendgrid_private_key="") as sandbox:
        assert sandbox.write(**MAIL)[0]["callbacks"] == [200]
    assert door.next()[1]["X-Twilio-Email-Event-Webhook-Signature"] is None


def test_sendgrid_posts_a_mail_again_after_a_5xx_and_never_after_a_4xx(sandbox, door):
    door.answers = [503, 200, 400]
    assert sandbox.write(**MAIL)[0]["callbacks"] == [200]
    assert read_mail(door).message_id_header == read_mail(door).message_id_header
    assert sandbox.write(**MAIL)[0]["callbacks"] == [400]
    door.next()
    nothing_more(door)


# --- Kept and told --------------------------------------------------------------------------------------------------


def test_what_people_wrote_is_still_there_after_a_restart(tmp_path, door):
    settings = {"ledger": tmp_path / "ledger.jsonl", "public_url": door.url}
    with running_sandbox(**settings) as sandbox:
        ids = [sandbox.write(**wish)[0]["id"] for wish in (TEXT | {"type": "mms"}, MAIL)]
        url = read_text(door).media[0].url
        door.next()
    with running_sandbox(**settings) as sandbox:
        rows = sandbox.call("GET", "/inbound")["messages"]
        assert [(row["id"], row["type"], row["told"]) for row in rows] == [
            (ids[0], "mms", True),
            (ids[1], "email", True),
        ]
        assert list(rows[0]) == ["type", "id", "from", "to", "at", "told"]
        credentials = (sandbox.account_sid, sandbox.auth_token)
        picture = requests.get(sandbox.url + urlsplit(url).path, auth=credentials, timeout=10)
        assert size_of_png(picture.content) == (64, 64)
    nothing_more(door)


def test_what_was_not_posted_before_a_restart_is_posted_after(tmp_path, door):
    settings = {"ledger": tmp_path / "ledger.jsonl", "public_url": door.url}
    with running_sandbox(**settings, callback_delay_ms=60_000) as sandbox:
        ids = {sandbox.write(wait=False, **wish)[0]["id"] for wish in (TEXT, MAIL)}
    with running_sandbox(**settings) as sandbox:
        until(lambda: all(row["told"] for row in sandbox.call("GET", "/inbound")["messages"]))
    came = sorted((door.next() for _ in range(2)), key=lambda came: came[0])
    mail, text = read(sendgrid_account("http://127.0.0.1:9"), came[0]), dict(parse_qsl(came[1][2].decode()))
    assert {mail.message_id_header, text["MessageSid"]} == ids


def test_without_wait_the_answer_comes_before_the_post(sandbox, door):
    sandbox.dial(callback_delay_ms=60_000)
    [message] = sandbox.write(wait=False, **TEXT)
    assert list(message) == ["id"]
    nothing_more(door)


def test_many_messages_are_each_their_own(sandbox, door):
    messages = sandbox.write(**TEXT | {"count": 5})
    assert {message["id"] for message in messages} == {next_form(door)["MessageSid"] for _ in range(5)}
    assert len({message["id"] for message in messages}) == 5


def test_nothing_is_posted_to_a_public_url_elsewhere():
    with running_sandbox(public_url="http://192.0.2.1") as sandbox:
        assert [message["callbacks"] for message in sandbox.write(**TEXT)] == [[]]


@pytest.mark.parametrize(
    "wish",
    [
        [],
        {},
        TEXT | {"type": "fax"},
        TEXT | {"type": ["sms"]},
        TEXT | {"from": ""},
        TEXT | {"to": "a@example.com"},
        TEXT | {"subject": "Hello"},
        TEXT | {"attachments": [LOGO]},
        TEXT | {"body": 1},
        TEXT | {"body": "x" * 1601},
        TEXT | {"body": "\ud800"},
        TEXT | {"count": 0},
        TEXT | {"count": True},
        TEXT | {"wait": "yes"},
        TEXT | {"opt_out_type": "QUIT"},
        TEXT | {"type": "mms", "attachments": [NOTES] * 11},
        MAIL | {"from": "+15551234567"},
        MAIL | {"to": "a@example.com, b@example.com"},
        MAIL | {"subject": "Hello\r\nBcc: everybody@example.com"},
        MAIL | {"references": [1]},
        MAIL | {"references": ["<a@b>\r\nX: y"]},
        MAIL | {"attachments": "a.png"},
        MAIL | {"attachments": [LOGO | {"content_type": "image"}]},
        MAIL | {"attachments": [LOGO | {"content_base64": "?"}]},
        MAIL | {"attachments": [LOGO | {"filename": 'a"\r\nX: y'}]},
        MAIL | {"attachments": [LOGO | {"size": "3"}]},
    ],
)
def test_nobody_can_write_what_cannot_be_and_a_sentence_says_why(sandbox, wish):
    with pytest.raises(HTTPError) as refusal:
        sandbox.call("POST", "/inbound", wish)
    with refusal.value as answer:
        assert answer.code == 400
        assert json.load(answer)["detail"].endswith(".")
    assert sandbox.call("GET", "/inbound") == {"messages": []}


# --- Repeats and accidents ------------------------------------------------------------------------------------------


def test_twilio_posts_a_text_once_whatever_the_answer(sandbox, door):
    door.answers = [503]
    assert sandbox.write(**TEXT)[0]["callbacks"] == [503]
    door.next()
    nothing_more(door)


def test_a_dial_makes_twilio_repeat_a_text_as_the_fragment_on_the_numbers_url_would(sandbox, door):
    sandbox.dial(inbound_retries=2)
    door.answers = [503, 403, 503, 200]
    assert sandbox.write(**TEXT)[0]["callbacks"] == [503]
    assert len({next_form(door)["MessageSid"] for _ in range(3)}) == 1
    nothing_more(door)
    assert sandbox.write(**TEXT)[0]["callbacks"] == [200]


def test_a_fragment_on_the_status_callback_asks_for_repeats_and_is_neither_called_nor_signed(sandbox, door):
    door.answers = [503, 404]
    message = send_sms(sandbox, status_callback=f"{status_callback(door)}#rc=2&rp=all")
    came = [door.next() for _ in range(4)]
    assert {url for url, _, _ in came} == {status_callback(door)}
    words = [dict(parse_qsl(body.decode()))["MessageStatus"] for _, _, body in came]
    assert words == ["sent", "sent", "sent", "delivered"]
    url, headers, body = came[2]
    form = MultiDict(parse_qsl(body.decode()))
    assert RequestValidator(sandbox.auth_token).validate(url, form, headers["X-Twilio-Signature"])
    until(lambda: message.fetch().status == "delivered")


@pytest.mark.parametrize(
    ("fragment", "repeats", "after"),
    [
        ("", 0, {"ct"}),
        ("rc=9&rp=all", 5, {"4xx", "5xx", "rt"}),
        ("rc=2&rp=5xx,rt", 2, {"5xx", "rt"}),
        ("rc=3", 3, {"ct"}),
        ("rc=many", 0, {"ct"}),
    ],
)
def test_the_fragment_is_read_as_twilio_documents_it(fragment, repeats, after):
    assert like_twilio(fragment) == Insistence(repeats, frozenset(after))


def test_a_duplicated_callback_comes_twice_byte_for_byte(sandbox, door):
    sandbox.dial(duplicate_percent=100)
    for wish in (TEXT, MAIL):
        assert sandbox.write(**wish)[0]["callbacks"] == [200, 200]
        assert door.next()[2] == door.next()[2]
    send_sms(sandbox, status_callback=status_callback(door))
    assert [next_form(door)["MessageStatus"] for _ in range(4)] == ["sent", "sent", "delivered", "delivered"]


def test_a_dropped_callback_never_comes_and_counts_as_told(tmp_path, door):
    settings = {"ledger": tmp_path / "ledger.jsonl", "public_url": door.url}
    with running_sandbox(**settings) as sandbox:
        sandbox.dial(drop_percent=100)
        assert sandbox.write(**TEXT)[0]["callbacks"] == []
        message = send_sms(sandbox, status_callback=status_callback(door))
        send_mail(sandbox)
        until(lambda: settings["ledger"].read_text().count('"told":2}') == 2)
        assert message.fetch().status == "delivered"
    with running_sandbox(**settings) as sandbox:
        assert [row["told"] for row in sandbox.call("GET", "/inbound")["messages"]] == [True]
        sandbox.write(**TEXT)
    assert next_form(door)["SmsStatus"] == "received"
    nothing_more(door)


def test_a_status_that_is_held_back_comes_after_the_next_one(sandbox, door):
    sandbox.dial(reorder_percent=100)
    send_sms(sandbox, status_callback=status_callback(door))
    assert [next_form(door)["MessageStatus"] for _ in range(2)] == ["delivered", "sent"]
    send_mail(sandbox)
    assert [event["event"] for event in door.next_events(2)] == ["delivered", "processed"]


def test_what_nothing_can_overtake_comes_a_moment_later(sandbox, door):
    sandbox.dial(reorder_percent=100)
    assert sandbox.write(**TEXT)[0]["callbacks"] == [200]
    send_mail(sandbox, to="dropped@example.com")
    assert next_form(door)["SmsStatus"] == "received"
    assert [event["event"] for event in door.next_events(1)] == ["dropped"]


@pytest.mark.parametrize("wish", [{"drop_percent": 101}, {"inbound_retries": 6}, {"reorder_percent": -1}])
def test_a_dial_does_not_turn_past_its_end(sandbox, wish):
    with pytest.raises(HTTPError, match="400"):
        sandbox.dial(**wish)


def test_the_dials_show_what_is_turned(sandbox):
    assert sandbox.dial(drop_percent=5) == {"latency_ms": 0, "callback_delay_ms": 0, "drop_percent": 5}
    assert sandbox.dial(drop_percent=0) == {"latency_ms": 0, "callback_delay_ms": 0}


# --- The command ----------------------------------------------------------------------------------------------------


def simulate(settings, port, *arguments):
    settings.TWILIO_BASE_URL, output = f"http://127.0.0.1:{port}", StringIO()
    call_command("simulate_inbound", "--from", "+15559876543", "--to", "+15551234567", *arguments, stdout=output)
    return output.getvalue().splitlines()


def test_the_command_prints_each_message_and_what_our_door_answered(sandbox, door, settings):
    lines = simulate(settings, urlsplit(sandbox.url).port, "--body", "Hi", "--count", "2")
    ids = {next_form(door)["MessageSid"] for _ in range(2)}
    assert {line.split()[0] for line in lines} == ids
    assert {line.partition(" ")[2] for line in lines} == {"answered 200"}


def test_the_command_says_when_our_door_or_the_sandbox_refuses(sandbox, door, settings):
    door.answers = [403]
    port = urlsplit(sandbox.url).port
    with pytest.raises(CommandError, match="1 of 1 were not taken"):
        simulate(settings, port, "--body", "Hi")
    with pytest.raises(CommandError, match="must be an email address"):
        simulate(settings, port, "--type", "email")


def test_the_command_says_when_nobody_or_somebody_else_answers(settings, door):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(CommandError, match="Start one with `make run`"):
        simulate(settings, port)
    with pytest.raises(CommandError, match="is no sandbox"):
        simulate(settings, door.server.server_port)


def test_without_a_sandbox_for_a_provider_the_usual_port_is_asked(settings):
    settings.TWILIO_BASE_URL = settings.SENDGRID_BASE_URL = "https://api.example.com"
    settings.SANDBOX_PORT = 9
    assert sandbox_url(test=False) == "http://127.0.0.1:9"
