"""Staff look after messages in a real browser, on the running stack."""

import subprocess
import sys
import time

import pytest
from django.conf import settings

from messaging_project.tests.test_journeys import wait_until

PASSWORD = "long-enough-for-ann"
MAKE_READER = f"""
from django.contrib.auth.models import Group, User
ann, _ = User.objects.get_or_create(username="ann", is_staff=True)
ann.set_password("{PASSWORD}")
ann.save()
ann.groups.add(Group.objects.get(name="readers"))
"""


def log_in(page, stack, username, password):
    page.goto(f"{stack.url}/admin/login/?next=/admin/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


@pytest.fixture
def admin(page, stack):
    log_in(page, stack, "admin", stack.env["ADMIN_PASSWORD"])
    return page


@pytest.fixture
def reader(page, stack):
    made = [sys.executable, "manage.py", "shell", "--no-imports", "-c", MAKE_READER]
    subprocess.run(made, env=stack.env, cwd=settings.BASE_DIR, check=True)
    log_in(page, stack, "ann", PASSWORD)
    return page


def send(stack, body):
    sms = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": body}
    return stack.post("/api/v1/messages/send", sms).json["id"]


def wait_for(stack, message_id, status):
    give_up_at = time.monotonic() + 20
    while (found := stack.get(f"/api/v1/messages/{message_id}").json["status"]) != status:
        assert time.monotonic() < give_up_at, f"still {found}"
        time.sleep(0.1)


def delivered_once(stack, body):
    message_id = send(stack, body)
    wait_for(stack, message_id, "delivered")
    return message_id


def test_the_first_page_draws_what_was_sent_and_runs_no_script_that_fails(admin, stack):
    failures = []
    delivered_once(stack, "for the chart")
    admin.on("pageerror", lambda error: failures.append(str(error)))
    admin.goto(f"{stack.url}/admin/")
    chart = admin.get_by_role("img", name="Messages per hour, by outcome")
    chart.wait_for()
    assert chart.locator(".series-delivered").count() >= 1
    as_of = admin.locator(".as-of time")
    before = as_of.inner_text()
    wait_until(lambda: as_of.inner_text() != before)
    assert failures == []


def test_what_was_never_settled_is_sent_again_in_bulk_after_a_question(admin, stack):
    ids = [delivered_once(stack, f"once more {number}") for number in range(2)]
    for message_id in ids:
        assert stack.call("PATCH", f"/api/v1/messages/{message_id}/status", {"status": "unresolved"}).status == 200
    admin.goto(f"{stack.url}/admin/conversations/notreached/?status=unresolved&q=%2B15559876543")
    for message_id in ids:
        admin.locator(f"input[value='{message_id}']").check()
    admin.get_by_label("Action:").select_option(label="Send again")
    admin.get_by_role("button", name="Go", exact=True).click()
    assert "2 of them may have been sent already" in admin.locator(".warning-text").inner_text()
    admin.get_by_role("button", name="Send 2 again").click()
    assert "Queued again: 2." in admin.locator(".messagelist").inner_text()
    for message_id in ids:
        wait_for(stack, message_id, "delivered")
    admin.goto(f"{stack.url}/admin/admin/logentry/")
    assert admin.get_by_text("Sent again.").count() >= 2


def test_a_reader_reads_and_is_offered_and_allowed_nothing_more(reader, stack):
    reader.goto(f"{stack.url}/admin/conversations/notreached/")
    assert reader.locator("select[name=action]").count() == 0
    reader.goto(f"{stack.url}/admin/")
    assert reader.get_by_role("link", name="API keys").count() == 0
    for closed in ("providers/accountstate", "webhooks/receipt", "conversations/apikey", "admin/logentry"):
        assert reader.goto(f"{stack.url}/admin/{closed}/").status == 403


def test_a_long_address_hides_no_reason_and_what_is_wider_is_scrolled_by_keys(admin, stack):
    mail = {"from": "orders@harbourbooks.example.com", "to": "genevieve.featherstonehaugh@long.example.com"}
    mail |= {"type": "email", "subject": "Your order", "body": "It is on its way."}
    message_id = stack.post("/api/v1/messages/send", mail).json["id"]
    wait_for(stack, message_id, "delivered")
    assert stack.call("PATCH", f"/api/v1/messages/{message_id}/status", {"status": "undelivered"}).status == 200
    admin.set_viewport_size({"width": 1280, "height": 720})
    box = admin.locator(".results")
    for noun in ("message", "notreached"):
        admin.goto(f"{stack.url}/admin/conversations/{noun}/?q=featherstonehaugh")
        assert box.evaluate("(it) => it.scrollWidth - it.clientWidth") <= 0
    assert box.get_attribute("tabindex") is None
    admin.set_viewport_size({"width": 500, "height": 720})
    wait_until(lambda: box.get_attribute("tabindex") == "0")


CONTRAST = """
([one, other]) => {
  const context = document.createElement("canvas").getContext("2d");
  const [a, b] = [one, other].map((colour) => {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((each) => each / 255)
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  });
  return Math.max(a, b) / Math.min(a, b);
}
"""
"""How two colours differ: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""


def colour(page, selector, name, pseudo=""):
    return page.locator(selector).evaluate(f"(it) => getComputedStyle(it, '{pseudo}').getPropertyValue('{name}')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_where_the_keyboard_is_and_what_to_write_is_seen_in_light_and_dark(admin, stack, scheme):
    delivered_once(stack, "to be looked at")
    admin.emulate_media(color_scheme=scheme)
    admin.goto(f"{stack.url}/admin/conversations/conversation/")
    pairs = [(colour(admin, "#searchbar", "color", "::placeholder"), colour(admin, "#searchbar", "background-color"))]
    admin.click(".sb-who a >> nth=0")
    admin.locator("#body").wait_for()
    pairs += [(colour(admin, "#body", "color", "::placeholder"), colour(admin, "#body", "background-color"))]
    admin.keyboard.press("Tab")
    for place, link in (("#header", "#logout-form button"), (".breadcrumbs", ".breadcrumbs a >> nth=0")):
        admin.focus(link)
        pairs += [(colour(admin, link, "outline-color"), colour(admin, place, "background-color"))]
    assert min(admin.evaluate(CONTRAST, list(pair)) for pair in pairs) >= 4.5
