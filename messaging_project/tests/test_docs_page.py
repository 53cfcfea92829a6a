"""/api/docs in a browser: it needs nobody but us."""

from urllib.parse import urlsplit

import pytest

from messaging_project.openapi.collection import generated_schema, operations

SUMMARIES = [operation["summary"] for _, _, operation in operations(generated_schema())]


@pytest.fixture
def visit(page, live_server):
    """Open the page of the API; what it asked for from other hosts, and what it complained of."""
    elsewhere, complaints = [], []
    ours = urlsplit(live_server.url).netloc
    page.on("request", lambda asked: urlsplit(asked.url).netloc != ours and elsewhere.append(asked.url))
    page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{live_server.url}/api/docs", wait_until="networkidle")
    page.locator(".opblock").first.wait_for()
    return elsewhere, complaints


def test_every_operation_is_shown_and_nobody_else_is_asked(page, visit):
    assert sorted(page.locator(".opblock-summary-description").all_inner_texts()) == sorted(SUMMARIES)
    assert visit == ([], [])


def test_an_operation_opens_with_its_example(page, visit):
    page.locator("#operations-Messages-sendMessage .opblock-summary-control").click()
    opened = page.locator("#operations-Messages-sendMessage")
    opened.locator(".opblock-body").wait_for()
    assert "curl -X POST" in opened.locator(".opblock-description").inner_text()
    assert "Your table is ready." in opened.locator("textarea.body-param__text").input_value()
    assert visit == ([], [])
