"""Staff at work, in a real browser, on the processes of `make run`."""

import base64
import re
import threading
import urllib.parse
import urllib.request

import pytest

from messaging_project.local.probe import local_http
from messaging_project.tests.test_inbound_journeys import manage, writes
from messaging_project.tests.test_journeys import message, send, times_in_ledger, wait_until

US = "+15551234567"
LIST = "/admin/conversations/conversation/"
PASSWORD = "read-and-answer-1"

ALARMS = (
    "window.alarms = []; for (const name of ['alert', 'confirm', 'prompt']) window[name] = () => alarms.push(name);"
)
PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'-alert(1)-'",
    "</textarea><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '<iframe srcdoc="<script>parent.alert(1)</script>"></iframe>',
    '<a href="javascript:alert(1)">x</a>',
    "{{ 7*7 }}{% debug %}${alert(1)}",
    "<details open ontoggle=alert(1)>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<body onload=alert(1)><base href=https://evil.test/>",
]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MAKE_STAFF = """
from django.contrib.auth.models import Permission, User
for name, more in (("agent", ["reply_conversation", "resend_message"]), ("reader", [])):
    user, _ = User.objects.get_or_create(username=name, is_staff=True)
    user.set_password({password!r}); user.save()
    names = ["view_conversation", "view_message", "view_media", *more]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
"""


@pytest.fixture(scope="module")
def staff(stack):
    """An agent, who answers, and a reader, who does not."""
    manage(stack, "shell", "--no-imports", "-c", MAKE_STAFF.format(password=PASSWORD))


@pytest.fixture
def watched(page, stack):
    """The page, and what must never happen on it: dialogs, errors, refusals of the policy, calls to other hosts."""
    happened, lock = [], threading.Lock()

    def note(kind):
        def noted(event):
            url, text = getattr(event, "url", ""), getattr(event, "text", "")
            if kind == "request" and url.startswith((stack.url, "data:", "about:", "blob:")):
                return
            if kind == "console" and not re.search("Security Policy|Blocked script", text):
                return
            with lock:
                happened.append((kind, url, text or str(event)))
            if kind == "dialog":
                event.dismiss()

        return noted

    for kind in ("dialog", "pageerror", "request", "console"):
        page.on(kind, note(kind))
    page.add_init_script(ALARMS)
    return page, happened


def log_in(page, stack, name="agent", path=LIST):
    page.goto(f"{stack.url}/admin/login/?next={path}")
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_url(f"**{path}")


def thread_of(stack, number):
    """The path of the page of a number's conversation."""
    found = stack.get(f"/api/v1/conversations/?participant={urllib.parse.quote(number)}").json
    return f"{LIST}{found['conversations'][0]['id']}/change/"


def opened(page, stack, number, name="agent"):
    """Somebody of the staff has the conversation with a number open."""
    log_in(page, stack, name, thread_of(stack, number))


def sent_to(stack, number):
    return stack.get(f"/api/v1/messages/?direction=outbound&to={urllib.parse.quote(number)}").json["messages"]


def focused(page):
    """The id of what the keyboard is at."""
    return page.evaluate("document.activeElement.id")


def bubble(page, text):
    return page.locator(".sb-entry", has_text=text)


def test_staff_find_a_conversation_read_it_answer_and_see_the_answer_delivered(stack, staff, watched):
    page, happened = watched
    writes(stack, body="Is the pomegranate juice back?", **{"from": "+15557200001"})
    log_in(page, stack)
    page.fill("#searchbar", "pomegranate")
    page.press("#searchbar", "Enter")
    page.click("text=+15557200001")
    bubble(page, "pomegranate juice").wait_for()
    page.fill("#body", "Yes, since today.")
    page.click("#reply [type=submit]")
    bubble(page, "Yes, since today.").wait_for()
    page.locator(".sb-outbound .sb-tick-delivered").wait_for()
    assert page.input_value("#body") == ""
    wait_until(lambda: focused(page) == "body")
    [answer] = sent_to(stack, "+15557200001")
    assert (answer["status"], answer["from"], answer["body"]) == ("delivered", US, "Yes, since today.")
    assert times_in_ledger(stack, [answer["id"]])[answer["id"]] == 1
    assert re.fullmatch(r"\d\d:\d\d", page.text_content(".sb-clock"))
    assert happened == []


def test_the_list_keeps_up_unless_something_is_chosen_in_it(stack, staff, watched):
    page, happened = watched
    writes(stack, body="Good morning", **{"from": "+15557200016"})
    log_in(page, stack)
    writes(stack, body="Good evening", **{"from": "+15557200017"})
    page.locator("#result_list", has_text="Good evening").wait_for()
    page.locator("#result_list tr", has_text="Good evening").locator(".action-select").check()
    assert page.text_content(".action-counter").startswith("1 of")
    state = stack.get(f"/api/v1/conversations/?participant={urllib.parse.quote('+15557200016')}").json
    writes(stack, body="Good night", **{"from": "+15557200016"})
    wait_until(lambda: stack.get(f"/api/v1/conversations/{state['conversations'][0]['id']}").json["message_count"] == 2)
    page.evaluate("keepUp()")
    assert page.locator("#result_list", has_text="Good night").count() == 0
    page.locator(".action-select:checked").uncheck()
    page.locator("#result_list", has_text="Good night").wait_for()
    assert happened == []


def test_a_message_appears_by_itself_and_the_draft_stays(stack, staff, watched):
    page, happened = watched
    writes(stack, body="First", **{"from": "+15557200002"})
    opened(page, stack, "+15557200002")
    page.fill("#body", "Half a sen")
    page.evaluate("document.getElementById('body').setSelectionRange(4, 4)")
    writes(stack, body="Second", **{"from": "+15557200002"})
    bubble(page, "Second").wait_for(timeout=3000)
    assert "Second" in page.text_content("#news")
    assert page.input_value("#body") == "Half a sen"
    assert page.evaluate("[document.activeElement.id, document.activeElement.selectionStart]") == ["body", 4]
    page.reload()
    assert page.input_value("#body") == "Half a sen"
    assert happened == []


def kept_drafts(page):
    return page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('draft-')).length")


def test_a_draft_outlives_a_session_but_neither_a_logout_nor_somebody_else(stack, staff, page):
    writes(stack, **{"from": "+15557200014"})
    path = thread_of(stack, "+15557200014")
    log_in(page, stack, path=path)
    page.fill("#body", "Half a sen")
    page.context.clear_cookies()
    log_in(page, stack, path=path)
    assert page.input_value("#body") == "Half a sen"
    other = page.context.new_page()
    other.goto(f"{stack.url}/admin/")
    other.click("#logout-form button")
    other.get_by_text("You are logged out").wait_for()
    page.type("#body", "tence")
    assert kept_drafts(page) == 0
    log_in(page, stack, path=path)
    page.fill("#body", "Another")
    page.context.clear_cookies()
    log_in(page, stack, "reader", path)
    assert kept_drafts(page) == 0


def test_what_is_looked_at_is_read_by_those_who_answer_only(stack, staff, page, browser):
    writes(stack, body="Unread", **{"from": "+15557200003"})
    path = f"/api/v1/conversations/{thread_of(stack, '+15557200003').split('/')[-3]}"
    context = browser.new_context()
    opened(context.new_page(), stack, "+15557200003", "reader")
    assert stack.get(path).json["unread_count"] == 1
    context.close()
    opened(page, stack, "+15557200003")
    wait_until(lambda: stack.get(path).json["unread_count"] == 0)


def test_a_double_click_and_a_reload_send_once(stack, staff, watched):
    page, happened = watched
    writes(stack, **{"from": "+15557200004"})
    opened(page, stack, "+15557200004")
    page.fill("#body", "Only once")
    page.dblclick("#reply [type=submit]")
    bubble(page, "Only once").wait_for()
    page.reload()
    bubble(page, "Only once").wait_for()
    assert len(sent_to(stack, "+15557200004")) == 1
    assert happened == []


def test_an_answer_that_was_lost_on_its_way_back_is_not_sent_twice(stack, staff, page):
    writes(stack, **{"from": "+15557200005"})
    opened(page, stack, "+15557200005")
    page.evaluate(
        "window.fetch = ((real) => async (url, wish) => { const answer = await real(url, wish);"
        " if (String(url).includes('/reply/') && !window.lost) { window.lost = true; throw new TypeError('lost'); }"
        " return answer; })(window.fetch)"
    )
    page.fill("#body", "Once, please")
    page.click("#reply [type=submit]")
    page.locator("#problem", has_text="Nobody answered").wait_for()
    page.click("#reply [type=submit]")
    wait_until(lambda: page.input_value("#body") == "")
    assert len(sent_to(stack, "+15557200005")) == 1


HELD_BACK = """
window.fetch = ((real) => async (url, wish) => {
  if (PATH.test(String(url)) && wish?.method === "POST") await new Promise((go) => { window.let_go = go; });
  return real(url, wish);
})(window.fetch)
"""
"""Holds requests back until `let_go()`."""


def test_what_is_typed_while_an_answer_is_sent_stays(stack, staff, page):
    writes(stack, **{"from": "+15557200011"})
    opened(page, stack, "+15557200011")
    page.evaluate(HELD_BACK.replace("PATH", "/reply/"))
    page.fill("#body", "First.")
    page.press("#body", "Control+Enter")
    wait_until(lambda: page.evaluate("Boolean(window.let_go)"))
    page.type("#body", " And more")
    page.evaluate("let_go()")
    bubble(page, "First.").wait_for()
    assert page.input_value("#body") == " And more"
    assert [each["body"] for each in sent_to(stack, "+15557200011")] == ["First."]


def test_a_picture_goes_along_and_is_seen_by_whoever_has_its_link(stack, staff, watched):
    page, happened = watched
    writes(stack, **{"from": "+15557200015"})
    opened(page, stack, "+15557200015")
    chosen = {"name": "lamp.png", "mimeType": "image/png", "buffer": base64.b64decode(PIXEL)}
    page.set_input_files("#files", [{**chosen, "buffer": b"x" * 6_000_000}])
    page.get_by_text("Together the files are larger").wait_for()
    page.set_input_files("#files", [chosen])
    page.locator("#files-chosen", has_text="lamp.png (1 KB)").wait_for()
    page.press("#body", "Control+Enter")
    page.locator(".sb-outbound img[alt='lamp.png']").wait_for()
    page.locator(".sb-outbound .sb-tick-delivered").wait_for()
    assert page.is_hidden("#files-box")
    assert [(each["type"], each["body"]) for each in sent_to(stack, "+15557200015")] == [("mms", "")]
    ledger = stack.get(f"{stack.sandbox_url}/messages?phone=%2B15557200015&with={urllib.parse.quote(US)}").json
    [medium] = [each for row in ledger["messages"] for each in row["media"]]
    with local_http.open(medium["url"], timeout=10) as answer:
        assert answer.read() == base64.b64decode(PIXEL)
    assert happened == []


def test_what_another_tab_sent_under_the_same_draft_is_in_nobodys_way(stack, staff, page):
    writes(stack, **{"from": "+15557200012"})
    opened(page, stack, "+15557200012")
    page.fill("#body", "Hello")
    other = page.context.new_page()
    other.goto(page.url)
    page.press("#body", "Control+Enter")
    bubble(page, "Hello").wait_for()
    other.fill("#body", "Hello again")
    other.press("#body", "Control+Enter")
    other.locator("#problem:not(:empty)").wait_for()
    other.press("#body", "Control+Enter")
    bubble(other, "Hello again").wait_for()
    assert [each["body"] for each in sent_to(stack, "+15557200012")] == ["Hello again", "Hello"]


def test_more_than_a_page_holds_leaves_no_gap(stack, staff, page):
    writes(stack, body="Before", **{"from": "+15557200013"})
    opened(page, stack, "+15557200013")
    page.fill("#body", "Half a sen")
    page.evaluate("polling = true")
    writes(stack, body="Meanwhile", count=60, **{"from": "+15557200013"})
    path = f"/api/v1/conversations/{thread_of(stack, '+15557200013').split('/')[-3]}"
    wait_until(lambda: stack.get(path).json["message_count"] == 61)
    page.evaluate("polling = false")
    page.locator("#older").wait_for()
    assert page.locator(".sb-entry").count() == 50
    assert page.input_value("#body") == "Half a sen"


def test_keys_send_and_the_price_is_told_on_the_way(stack, staff, page):
    writes(stack, **{"from": "+15557200006"})
    opened(page, stack, "+15557200006")
    page.fill("#body", "It’s ready")
    page.locator("#count", has_text="10 characters, 1 segment (UCS-2)").wait_for()
    assert "’ right single quotation mark" in page.text_content("#count")
    page.press("#body", "Enter")
    assert sent_to(stack, "+15557200006") == []
    assert page.get_by_label("Reply").get_attribute("aria-describedby").startswith("reply-hint ")
    assert page.locator("#reply-hint").is_visible()
    page.press("#body", "Control+Enter")
    bubble(page, "It’s ready").wait_for()
    assert len(sent_to(stack, "+15557200006")) == 1


def test_who_said_stop_is_warned_of_as_soon_as_they_said_it(stack, staff, page):
    writes(stack, body="Hi", **{"from": "+15557200007"})
    opened(page, stack, "+15557200007")
    assert page.locator(".sb-notice-bad").count() == 0
    writes(stack, body="STOP", **{"from": "+15557200007"})
    page.locator(".sb-notice-bad", has_text="A reply will not be sent").wait_for(timeout=3000)
    page.fill("#body", "But we have an offer")
    assert page.get_by_role("button", name="Send", exact=True).is_disabled()
    page.press("#body", "Control+Enter")
    page.locator("#problem", has_text="opted out").wait_for()
    writes(stack, body="START", **{"from": "+15557200007"})
    wait_until(lambda: page.get_by_role("button", name="Send", exact=True).is_enabled())
    page.press("#body", "Control+Enter")
    bubble(page, "But we have an offer").wait_for()
    assert len(sent_to(stack, "+15557200007")) == 1


def test_a_note_stands_in_the_thread_and_goes_nowhere(stack, staff, page):
    writes(stack, body="Hi", **{"from": "+15557200008"})
    opened(page, stack, "+15557200008")
    page.click("text=Write a note")
    page.fill("#note-text", "She is a friend of the house")
    page.press("#note-text", "Control+Enter")
    page.locator(".sb-note", has_text="friend of the house").wait_for()
    assert sent_to(stack, "+15557200008") == []


def test_a_timeline_opens_where_it_stands_and_stays_open(stack, staff, page):
    sent = send(stack, 7109)
    wait_until(lambda: message(stack, sent)["status"] == "delivered")
    opened(page, stack, message(stack, sent)["to"])
    page.click(".sb-timeline > summary")
    page.locator(".sb-events", has_text="The provider accepted it.").wait_for()


def test_a_conversation_is_closed_and_opened_again_by_the_keyboard(stack, staff, page):
    writes(stack, body="Hi", **{"from": "+15557100010"})
    opened(page, stack, "+15557100010")
    page.focus("#note-text >> xpath=ancestor::details/summary")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_until(lambda: focused(page) == "actions")
    page.press("text=Close", "Enter")
    page.locator(".sb-notice", has_text="closed").wait_for()
    assert page.locator("#reply").count() == 0
    wait_until(lambda: focused(page) == "reopen")
    page.keyboard.press("Enter")
    page.locator("#reply").wait_for()
    wait_until(lambda: focused(page) == "body")


def test_a_reader_reads(stack, staff, page):
    writes(stack, body="Read me", **{"from": "+15557100011"})
    path = thread_of(stack, "+15557100011")
    log_in(page, stack, "reader", path)
    bubble(page, "Read me").wait_for()
    assert page.locator("#conversation textarea, #conversation button").count() == 0
    status = page.evaluate(
        "async (url) => (await fetch(url, {method: 'POST', body: new URLSearchParams({body: 'Forged',"
        " key: crypto.randomUUID(), csrfmiddlewaretoken: document.querySelector('[name=csrfmiddlewaretoken]').value})"
        "})).status",
        path.replace("/change/", "/reply/"),
    )
    assert (status, sent_to(stack, "+15557100011")) == (403, [])


def twilio(stack, **form):
    """Post what Twilio would not: a callback without a signature, which a developer's own machine takes."""
    request = urllib.request.Request(
        f"{stack.url}/api/v1/webhooks/twilio", urllib.parse.urlencode(form).encode(), method="POST"
    )
    with local_http.open(request, timeout=15) as answer:
        assert answer.status == 200


def hostile_world(stack):
    """Conversations in which everything that a stranger can choose is a payload; their ids."""
    for number, payload in enumerate(PAYLOADS):
        twilio(stack, From=payload, To=US, Body=payload, MessageSid=f"SM-xss-{number}")
        name = base64.b64encode(b"x").decode()
        mail = {
            "from": f'"{payload.replace(chr(34), "")}" <xss{number}@example.com>',
            "to": "us@example.com",
            "subject": payload,
            "html": f"<p>{payload}</p><img src='https://evil.test/p.gif'><link rel=stylesheet href=https://evil.test/>",
            "attachments": [{"filename": payload, "content_type": "text/html", "content_base64": name}],
        }
        writes(stack, "email", body=payload, **mail)
    found = stack.get("/api/v1/conversations/?limit=100").json["conversations"]
    hostile = [each for each in found if each["participant_from"] in PAYLOADS or "xss" in each["participant_from"]]
    for number, each in enumerate(hostile):
        payload = PAYLOADS[number % len(PAYLOADS)]
        stack.call("PATCH", f"/api/v1/conversations/{each['id']}", {"title": payload})
    return [each["id"] for each in hostile]


def test_nothing_that_a_stranger_writes_runs_or_calls_anywhere(stack, staff, watched):
    page, happened = watched
    ids = hostile_world(stack)
    assert len(ids) == 2 * len(PAYLOADS)
    log_in(page, stack)
    page.fill("#searchbar", PAYLOADS[0])
    page.press("#searchbar", "Enter")
    page.locator(".sb-who").first.wait_for()
    alarms = page.evaluate("alarms")
    for each in ids:
        page.goto(f"{stack.url}{LIST}{each}/change/")
        page.locator(".sb-bubble").first.wait_for()
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        wait_until(lambda: page.locator(".sb-timeline:not(:has(ol))").count() == 0)
        for frame in page.frames[1:]:
            frame.wait_for_selector("p", state="attached")
        alarms += [alarm for frame in page.frames for alarm in frame.evaluate("window.alarms ?? []")]
    assert (alarms, happened) == ([], [])
