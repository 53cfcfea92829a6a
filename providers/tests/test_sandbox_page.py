"""The sandbox's page as a browser meets it: what its scripts are told, and who may ask and change."""

import json
import re
from urllib.parse import urlsplit

import pytest
import requests

from providers.sandbox.faults import FAULTS
from providers.sandbox.magic import ROWS
from providers.sandbox.page import PAGE, STATIC
from providers.tests.conftest import running_sandbox
from providers.tests.test_sandbox import a_caller, a_mail, post_mail, send_mail, send_sms, until

ANN, BOB, US = "+15559876543", "+15557654321", "+15551234567"
TEXT = {"type": "sms", "from": ANN, "to": US, "body": "Hello"}


@pytest.fixture
def door():
    with a_caller() as door:
        yield door


@pytest.fixture
def sandbox(door):
    with running_sandbox(public_url=door.url, callback_delay_ms=0) as running:
        yield running


def get(sandbox, path, headers=None, **query):
    return requests.get(sandbox.url + path, query, headers=headers, timeout=10)


def people(sandbox, **query):
    return [each["address"] for each in get(sandbox, "/people", **query).json()["people"]]


def texts(sandbox, phone=ANN, **query):
    return get(sandbox, "/messages", phone=phone, **{"with": US} | query).json()["messages"]


def mails(sandbox, address="ann@example.com"):
    return get(sandbox, "/messages", mailbox=address).json()["messages"]


def opened(sandbox, message_id):
    return get(sandbox, f"/messages/{message_id}", mailbox="ann@example.com").json()


# --- The page -------------------------------------------------------------------------------------------------------


def test_a_browser_gets_the_page_and_a_program_what_it_is(sandbox):
    page = get(sandbox, "/", {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.headers["Content-Type"], page.text) == ("text/html", PAGE.read_text())
    assert get(sandbox, "/").text == get(sandbox, "/help").text


def test_help_begins_with_what_makes_a_message_fail_and_names_no_file_of_ours(sandbox):
    page = get(sandbox, "/help", {"Accept": "text/html"}).text
    magic, faults, paths = (re.split("<code>|</code>", part) for part in page.split("<h2")[1:])
    assert {row.address for row in ROWS} <= set(magic)
    assert set(FAULTS) <= set(faults)
    assert "POST   /faults" in paths[0]
    assert [each for each in (page, get(sandbox, "/help").text) if re.search(r"providers[./]|\.py", each)] == []


@pytest.mark.parametrize("path", ["/", "/help"])
def test_a_page_may_load_and_run_nothing_but_our_own_files(sandbox, path):
    page = get(sandbox, path, {"Accept": "text/html"})
    policy = dict(each.strip().split(" ", 1) for each in page.headers["Content-Security-Policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", page.text)
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert [get(sandbox, name).status_code for name in names] == [200] * len(names)


def test_the_scripts_put_in_what_people_wrote_as_text_and_never_as_html():
    scripts = "".join(each.read_text() for each in STATIC.glob("*.js"))
    assert "textContent" in scripts
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|srcdoc", scripts)


# --- Who may ask ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "127.0.0.1.evil.example", "a@evil.example", ""])
def test_under_the_name_of_another_site_nothing_is_told(sandbox, host):
    send_sms(sandbox)
    answer = get(sandbox, "/ledger", {"Host": host} if host else {"Host": "."})
    assert (answer.status_code, "requests" in answer.text) == (403, False)


@pytest.mark.parametrize("host", ["localhost", "localhost:8090", "127.0.0.1:8090", "[::1]:8090", "sandbox:8091"])
def test_an_address_or_a_name_without_a_dot_is_how_it_is_called(sandbox, host):
    assert get(sandbox, "/ledger", {"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_changes_nothing(sandbox, headers):
    fault = {"provider": "twilio", "fault": "500"}
    for path, wish in (("/faults", fault), ("/settings", {"latency_ms": 9}), ("/inbound", TEXT)):
        assert requests.post(sandbox.url + path, json=wish, headers=headers, timeout=10).status_code == 403
    sandbox.fault("twilio", "500")
    assert requests.delete(f"{sandbox.url}/faults", headers=headers, timeout=10).status_code == 403
    assert len(sandbox.call("GET", "/faults")["faults"]) == 1
    assert sandbox.call("GET", "/inbound") == {"messages": []}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_could_post_is_not_taken(sandbox, kind):
    body = b'{"provider": "twilio", "fault": "500"}'
    answer = requests.post(f"{sandbox.url}/faults", data=body, headers={"Content-Type": kind}, timeout=10)
    assert (answer.status_code, answer.json()["detail"]) == (400, "The Content-Type must be application/json.")
    assert sandbox.call("GET", "/faults") == {"faults": []}


def test_the_page_itself_may_change_things(sandbox):
    own = {"Origin": sandbox.url, "Sec-Fetch-Site": "same-origin"}
    assert requests.post(f"{sandbox.url}/inbound", json=TEXT, headers=own, timeout=10).status_code == 201


def test_a_file_that_somebody_sent_runs_nothing(sandbox):
    evil = {"content_type": "text/html", "content_base64": "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="}
    sandbox.write(**TEXT | {"type": "mms", "attachments": [evil]})
    [row] = texts(sandbox)
    headers = get(sandbox, row["media"][0]["url"]).headers
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


# --- People ---------------------------------------------------------------------------------------------------------


def test_people_stand_by_their_last_activity_however_it_came_about(sandbox):
    send_sms(sandbox, to=ANN)
    send_mail(sandbox, to="Ann@Example.com")
    assert people(sandbox) == ["ann@example.com", ANN]
    sandbox.write(**TEXT)
    sandbox.write(**TEXT | {"from": BOB})
    assert people(sandbox) == [BOB, ANN, "ann@example.com"]
    last = get(sandbox, "/people").json()["people"][0]["last"]
    assert (last["direction"], last["text"]) == ("inbound", "Hello")


def test_people_are_searched_and_no_more_are_told_than_asked_for(sandbox):
    for number in range(5):
        sandbox.write(**TEXT | {"from": f"+1555000000{number}"})
    told = get(sandbox, "/people", limit=2).json()
    assert ([each["address"] for each in told["people"]], told["more"]) == (["+15550000004", "+15550000003"], True)
    assert people(sandbox, search="0003") == ["+15550000003"]
    assert get(sandbox, "/people").json()["more"] is False


def test_numbers_and_addresses_of_ours_are_told_the_latest_first_without_those_of_answers(sandbox):
    send_sms(sandbox, from_=US)
    sandbox.write(**TEXT | {"to": BOB})
    send_mail(sandbox, sender="shop@example.com")
    sandbox.write(**{"type": "email", "from": "ann@example.com", "to": "reply+x@example.com", "body": "Yes"})
    assert get(sandbox, "/people").json()["ours"] == {"phone": [BOB, US], "mailbox": ["shop@example.com"]}


# --- Phones ---------------------------------------------------------------------------------------------------------


def test_a_phone_shows_both_directions_with_one_number_of_ours(sandbox):
    send_sms(sandbox, body="How are you?")
    sandbox.write(**TEXT | {"body": "Fine"})
    send_sms(sandbox, from_=BOB, body="Another thread")
    until(lambda: [each["status"] for each in texts(sandbox)] == ["taken", "delivered"])
    assert [(each["direction"], each["body"]) for each in texts(sandbox)] == [
        ("inbound", "Fine"),
        ("outbound", "How are you?"),
    ]
    assert [each["body"] for each in texts(sandbox, **{"with": BOB})] == ["Another thread"]


def test_a_long_thread_is_told_page_by_page_newest_first(sandbox):
    ids = [each["id"] for each in sandbox.write(**TEXT, count=5)][::-1]
    first = get(sandbox, "/messages", phone=ANN, limit=2, **{"with": US}).json()
    assert ([each["id"] for each in first["messages"]], first["more"]) == (ids[:2], True)
    assert [each["id"] for each in texts(sandbox, before=ids[1], limit=2)] == ids[2:4]
    assert [each["id"] for each in texts(sandbox, before=ids[3])] == ids[4:]


def test_a_text_that_never_reached_the_phone_says_why(sandbox):
    send_sms(sandbox, to="+15005550009")
    until(lambda: texts(sandbox, "+15005550009")[0]["status"] == "undelivered")
    assert texts(sandbox, "+15005550009")[0]["error_code"] == 30003


def test_a_text_to_us_says_whether_it_was_taken(sandbox, door):
    door.answers = [403]
    sandbox.write(**TEXT)
    sandbox.dial(drop_percent=100)
    sandbox.write(**TEXT)
    assert [each["status"] for each in texts(sandbox)] == ["lost", "refused"]


def test_what_became_of_a_text_to_us_is_known_after_a_restart(door, tmp_path):
    kept = {"public_url": door.url, "callback_delay_ms": 0, "ledger": tmp_path / "ledger.jsonl"}
    with running_sandbox(**kept) as sandbox:
        door.answers = [403]
        sandbox.write(**TEXT)
        sandbox.dial(drop_percent=100)
        sandbox.write(**TEXT)
    with running_sandbox(**kept) as sandbox:
        assert [each["status"] for each in texts(sandbox)] == ["lost", "refused"]


def test_the_icon_is_where_browsers_look_for_it(sandbox):
    answer = get(sandbox, "/favicon.ico")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml")


def test_a_picture_that_we_sent_is_named_and_left_where_it_is(sandbox):
    send_sms(sandbox, media_url=["https://example.com/a.png"])
    assert texts(sandbox)[0]["media"] == [{"url": "https://example.com/a.png", "content_type": ""}]


# --- Mailboxes ------------------------------------------------------------------------------------------------------


def test_an_opened_mail_says_where_its_answer_goes_and_which_thread_it_is_in(sandbox):
    headers = {"Message-ID": "<3@shop>", "In-Reply-To": "<2@shop>", "References": "<1@shop> <2@shop>"}
    post_mail(sandbox, a_mail(reply_to={"email": "reply+x@in.example.com"}, headers=headers))
    [row] = mails(sandbox)
    mail = opened(sandbox, row["id"])
    assert (row["subject"], row["preview"], mail["text"]) == ("Hello", "How are you?", "How are you?")
    assert (mail["answer_to"], mail["message_id"]) == ("reply+x@in.example.com", "<3@shop>")
    assert (mail["references"], mail["has_html"]) == (["<1@shop>", "<2@shop>"], False)


def test_without_reply_to_an_answer_goes_to_the_sender(sandbox):
    send_mail(sandbox, sender="shop@example.com")
    assert opened(sandbox, mails(sandbox)[0]["id"])["answer_to"] == "shop@example.com"


def test_every_recipient_finds_the_mail_with_what_became_of_it(sandbox):
    everybody = [{"to": [{"email": "ann@example.com"}], "cc": [{"email": "bounce@example.com"}]}]
    post_mail(sandbox, a_mail(personalizations=everybody))
    until(lambda: mails(sandbox, "bounce@example.com")[0]["status"] == "bounce")
    assert mails(sandbox, "bounce@example.com")[0]["reason"].startswith("550 5.1.1")
    until(lambda: mails(sandbox)[0]["status"] == "delivered")


def test_the_html_of_a_mail_runs_and_loads_nothing(sandbox):
    post_mail(sandbox, a_mail(content=[{"type": "text/html", "value": "<b>Hi</b><script>alert(1)</script>"}]))
    page = get(sandbox, f"/messages/{mails(sandbox)[0]['id']}/html")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none';")
    assert "<b>Hi</b>" in page.text


def test_what_is_no_mail_is_not_opened(sandbox):
    text = send_sms(sandbox)
    assert [get(sandbox, f"/messages/{each}").status_code for each in (text.sid, "x")] == [404, 404]


def test_mails_of_a_ledger_that_kept_no_texts_are_shown_without(sandbox, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    with running_sandbox(ledger=ledger) as old:
        post_mail(old, a_mail())
    kept = ledger.read_text()
    ledger.write_text(re.sub(r',"name":"".*?"html":""', "", kept))
    assert ledger.read_text() != kept
    with running_sandbox(ledger=ledger) as new:
        [row] = mails(new)
        assert (row["subject"], opened(new, row["id"])["text"]) == ("Hello", "")


# --- The dial -------------------------------------------------------------------------------------------------------


def test_the_controls_say_in_words_what_there_is_and_how_it_stands(sandbox):
    sandbox.fault("twilio", "429", count=2)
    sandbox.fault("sendgrid", "500")
    sandbox.dial(drop_percent=30)
    told = sandbox.call("GET", "/controls")
    assert told["waiting"] == [
        {"provider": "twilio", "fault": "429", "count": 2},
        {"provider": "sendgrid", "fault": "500", "count": 1},
    ]
    assert [each["name"] for each in told["dials"] if each["value"] != each["first"]] == ["drop_percent"]
    assert all(each["what"] for each in told["dials"] + told["faults"])


def test_every_dial_is_turned_back_to_where_it_was(sandbox):
    before = sandbox.call("GET", "/controls")["dials"]
    sandbox.dial(**{each["name"]: each["largest"] for each in before})
    sandbox.call("DELETE", "/settings")
    assert sandbox.call("GET", "/controls")["dials"] == before


def test_the_ledger_is_read_line_by_line(sandbox):
    ids = [send_sms(sandbox).sid for _ in range(2)]
    lines = get(sandbox, "/ledger").text.splitlines()[1:-1]
    assert [json.loads(line.rstrip(","))["provider_message_id"] for line in lines] == ids


def test_the_ledger_says_where_people_see_the_same(sandbox):
    assert urlsplit(sandbox.call("GET", "/ledger")["phone"]).port == urlsplit(sandbox.url).port
