"""The addresses of the sandbox that make a message fail do what is said of them, wherever they are named."""

import re
from uuid import uuid4

import pytest

from messaging_project.local.binaries import CHECKOUT
from messaging_project.tests.test_journeys import message, send, wait_until
from providers.sandbox.magic import ROWS

ADDRESS = re.compile(r"\+1500\d{7}|\w+@any\.domain")


def wish(row, domain):
    """A message with this address in it."""
    mail = {"type": "email", "from": f"shop@{domain}", "to": f"ann@{domain}", "subject": "Hi"}
    return {**(mail if "@" in row.address else {}), row.field: row.address.replace("any.domain", domain)}


@pytest.mark.parametrize("page", ["README.md", "templates/sandbox/page.html"])
def test_a_page_names_addresses_that_there_are(page):
    named, known = set(ADDRESS.findall((CHECKOUT / page).read_text())), {row.address for row in ROWS}
    assert named == known if page == "README.md" else named < known


def test_a_message_ends_as_is_said_of_its_address(stack):
    domain = f"{uuid4().hex}.example.com"  # who bounces is sent nothing more
    ids = {row: send(stack, **wish(row, domain)) for row in ROWS}

    def all_ended():
        found = {row: message(stack, message_id) for row, message_id in ids.items()}
        return all((now["status"], now["error_code"]) == (row.end, row.code) for row, now in found.items())

    wait_until(all_ended)
    for row, message_id in ids.items():
        if row.end == "pending":
            assert stack.post(f"/api/v1/messages/{message_id}/cancel", {}).status == 200
