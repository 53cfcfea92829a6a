"""The sandbox's phone and mailbox in a browser, on the processes of `make run`: what a newcomer does first."""

import base64
import re
from urllib.parse import quote

import pytest
import requests

from messaging_project.tests.test_inbound_journeys import received
from messaging_project.tests.test_journeys import delivered, message, send, wait_until

US = "+15551234567"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "</textarea><iframe srcdoc='<script>parent.alert(4)</script>'></iframe>",
    "javascript:alert(5)",
)
EVIL_HTML = (
    "<script>alert(6)</script><img src=x onerror=alert(7)><svg onload=alert(8)></svg>"
    "<iframe src='javascript:alert(9)'></iframe><form action='javascript:alert(10)'><button>Go</button></form>"
    "<meta http-equiv=refresh content='0;url=javascript:alert(11)'>"
    "<img src='ELSEWHERE/img/icon-yes.svg'><link rel=stylesheet href='ELSEWHERE/css/base.css'>"
    "<style>body { background: url(ELSEWHERE/img/icon-no.svg) }</style>"
    "<a href='javascript:alert(12)' target=_blank>Here</a>"
)


@pytest.fixture
def page(page):
    """A page on which nothing may open a dialog."""
    opened = []
    page.on("dialog", lambda dialog: (opened.append(dialog.message), dialog.dismiss()))
    yield page
    assert opened == []


def look_at(page, stack, kind, address):
    page.goto(f"{stack.sandbox_url}/#{kind}/{quote(address, safe='')}")


def write(page, text):
    page.get_by_label("Text to send").fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def bubble(page, text, status):
    """Wait for a bubble with this text and status."""
    page.locator("#log li", has_text=text).filter(has_text=status).wait_for()


def send_mail(stack, to, **values):
    mail = {"from": "shop@example.com", "to": to, "type": "email", "subject": "Your order", "body": "It left."}
    return send(stack, **mail | values)


def test_a_newcomer_texts_in_and_sees_the_answer_on_the_phone(stack, page):
    number = "+15557100001"
    look_at(page, stack, "phone", number)
    write(page, "Is anybody there?")
    bubble(page, "Is anybody there?", "sent")
    [inbound] = wait_until(lambda: received(stack, number))
    answer = send(stack, to=number, body="Yes, we are.", parent_id=inbound["id"])
    bubble(page, "Yes, we are.", "delivered")
    assert re.fullmatch(r"\d\d:\d\d", page.text_content("#clock"))
    assert message(stack, answer)["conversation_id"] == inbound["conversation_id"]


def test_what_is_typed_while_an_answer_to_a_mail_is_sent_stays(stack, page):
    mail = send_mail(stack, "typing@example.com")
    delivered(stack, [mail])
    look_at(page, stack, "mailbox", "typing@example.com")
    page.locator("#answer-to", has_text="@").wait_for()
    page.evaluate(
        "window.fetch = ((real) => async (url, wish) => {"
        " if (wish?.method === 'POST') await new Promise((go) => { window.letGo = go; });"
        " return real(url, wish); })(window.fetch)"
    )
    page.fill("#answer-body", "Thanks.")
    page.press("#answer-body", "Control+Enter")
    wait_until(lambda: page.evaluate("Boolean(window.letGo)"))
    page.type("#answer-body", " By the way")
    page.evaluate("letGo()")
    wait_until(lambda: received(stack, "typing@example.com"))
    wait_until(lambda: page.input_value("#answer-body") == " By the way")


def test_a_picture_from_the_phone_comes_in_as_an_mms(stack, page):
    number = "+15557100002"
    look_at(page, stack, "phone", number)
    page.locator("#picture").set_input_files({"name": "door.png", "mimeType": "image/png", "buffer": PNG})
    write(page, "This door?")
    page.locator("#log li.mine img").wait_for()
    bubble(page, "This door?", "sent")
    write(page, "Or the next?")
    bubble(page, "Or the next?", "sent")
    texts = [(each["type"], each["body"], len(each["attachments"])) for each in received(stack, number)]
    assert texts == [("sms", "Or the next?", 0), ("mms", "This door?", 1)]


def test_a_picture_from_elsewhere_is_a_link_that_names_its_host_whatever_url_it_has(stack, page):
    number, account = "+15557100007", stack.env["TWILIO_ACCOUNT_SID"]
    fields = {"To": number, "From": US, "Body": "Look"}
    urls = ["https://example.com:8443/lamp.png", "https://not.for.browsers.1/lamp.png"]
    requests.post(
        f"{stack.sandbox_url}/2010-04-01/Accounts/{account}/Messages.json",
        {**fields, "MediaUrl": urls},
        auth=(account, stack.env["TWILIO_AUTH_TOKEN"]),
        timeout=10,
    ).raise_for_status()
    look_at(page, stack, "phone", number)
    bubble(page, "Attachment on example.com:8443", "Attachment on no URL")


def test_after_stop_on_the_phone_nothing_is_sent_until_start(stack, page):
    number = "+15557100003"
    look_at(page, stack, "phone", number)
    page.get_by_role("button", name="STOP").click()
    wait_until(lambda: received(stack, number))
    refused = message(stack, send(stack, to=number))
    assert (refused["status"], refused["error_code"]) == ("failed", "recipient_opted_out")
    page.get_by_role("button", name="START").click()
    wait_until(lambda: len(received(stack, number)) == 2)
    delivered(stack, [send(stack, to=number)])


def test_an_answer_from_the_mailbox_joins_the_conversation_of_the_mail(stack, page):
    sent = send_mail(stack, "ann@phone.example", conversation_type="thread", html="<p>It <b>left</b>.</p>")
    look_at(page, stack, "mailbox", "ann@phone.example")
    page.get_by_role("heading", name="Your order").wait_for()
    page.frame_locator("#html").locator("b", has_text="left").wait_for()
    page.get_by_label("Your answer").fill("Thank you!")
    page.get_by_role("button", name="Answer", exact=True).click()
    [answer] = wait_until(lambda: received(stack, "ann@phone.example"))
    assert answer["conversation_id"] == message(stack, sent)["conversation_id"]
    assert (answer["parent_id"], answer["subject"]) == (sent, "Re: Your order")
    assert answer["body"].startswith("Thank you!")
    page.locator("#mails li", has_text="Re: Your order").wait_for()


def test_anybody_can_write_to_us_by_mail(stack, page):
    page.goto(stack.sandbox_url)
    page.get_by_role("button", name="New message").click()
    page.locator("#compose").get_by_text("Mail", exact=True).click()
    page.get_by_label("From, any number").fill("bob@phone.example")
    page.get_by_label("To, one of yours").fill("shop@example.com")
    page.get_by_label("Subject").fill("A question")
    page.get_by_label("Message", exact=True).fill("Do you ship to Malta?")
    page.locator("#compose-send").click()
    page.get_by_role("heading", name="A question").wait_for()
    [inbound] = wait_until(lambda: received(stack, "bob@phone.example"))
    assert (inbound["to"], inbound["body"].strip()) == ("shop@example.com", "Do you ship to Malta?")


def test_a_fault_from_the_dial_is_met_and_one_that_was_not_met_is_taken_back(stack, page):
    look_at(page, stack, "phone", "+15557100004")
    page.get_by_role("button", name="500 refused with a 500").click()
    page.get_by_text("1 fault waits").wait_for()
    met = send(stack, to="+15557100004", body="Twice")
    bubble(page, "Twice", "delivered")
    wait_until(lambda: message(stack, met)["status"] == "delivered")
    assert message(stack, met)["attempts"] == 2
    page.get_by_role("button", name="429").click()
    page.get_by_label("Of a hundred callbacks so many come twice.").fill("40")
    page.keyboard.press("Tab")
    page.get_by_text("1 fault waits, 1 dial turned").wait_for()
    page.get_by_role("button", name="Back to normal").click()
    page.get_by_text("All is normal").wait_for()
    assert stack.get(f"{stack.sandbox_url}/faults").json == {"faults": []}
    unmet = send(stack, to="+15557100004")
    delivered(stack, [unmet])
    assert message(stack, unmet)["attempts"] == 1


def test_on_a_narrow_screen_one_part_is_shown_at_a_time_and_nothing_sticks_out(stack, page):
    page.set_viewport_size({"width": 420, "height": 800})
    look_at(page, stack, "phone", "+15557100006")
    write(page, "A long word: " + "x" * 200)
    bubble(page, "A long word", "sent")
    for part, shown in (("People", "#people"), ("Faults", "#controls"), ("Screen", "#phone")):
        page.get_by_role("navigation", name="Parts of the page").get_by_role("button", name=part).click()
        page.locator(shown).wait_for()
        assert [each for each in ("#people", "#controls", "#phone") if page.locator(each).is_visible()] == [shown]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") is True


def test_what_people_write_is_shown_and_never_run(stack, page):
    number = "+15557100005"
    asked = []
    page.on("requestfinished", lambda request: asked.append(request.url))
    for payload in PAYLOADS:
        stack.post(f"{stack.sandbox_url}/inbound", {"type": "sms", "from": number, "to": US, "body": payload})
    look_at(page, stack, "phone", number)
    for payload in PAYLOADS:
        page.locator("#log li").get_by_text(payload, exact=True).wait_for()
    name = '"<img src=x onerror=alert(13)>" <eve@phone.example>'
    # Another origin that does answer: what was got from it would be seen.
    html = EVIL_HTML.replace("ELSEWHERE", f"{stack.url}/static/admin")
    evil = {"html": html, "body": PAYLOADS[1], "subject": PAYLOADS[0], "from": name, "to": "shop@example.com"}
    files = [{"filename": PAYLOADS[1], "content_base64": "eA=="}]
    stack.post(f"{stack.sandbox_url}/inbound", {"type": "email", "attachments": files, **evil})
    look_at(page, stack, "mailbox", "eve@phone.example")
    page.get_by_role("heading", name=PAYLOADS[0]).wait_for()
    page.locator("#files", has_text=PAYLOADS[1]).wait_for()
    page.frame_locator("#html").get_by_role("link", name="Here").click()
    page.locator("#as").get_by_role("button", name="Text").click()
    page.locator("#plain", has_text=PAYLOADS[1]).wait_for()
    assert {url for url in asked if not url.startswith((stack.sandbox_url, "about:"))} == set()
