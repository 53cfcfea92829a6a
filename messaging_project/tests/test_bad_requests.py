"""Every request in `bad_requests.jsonl` is refused with the status and code that stand there, and nothing is written.

A line is one request: `method`, `path` ({message}, {delivered}, {email} and {conversation} stand for ids), `body`
(JSON) or `raw` (text), `headers`; then the `status` and the `code` of the problem, or of the first of its `errors`.
"""

import json
from pathlib import Path

import pytest

from conversations.models import Conversation, Message, OptOut
from conversations.tests.conftest import accept  # noqa: F401

pytestmark = pytest.mark.django_db

LINES = (Path(__file__).parent / "bad_requests.jsonl").read_text().splitlines()


@pytest.fixture
def ids(accept):  # noqa: F811
    """What the placeholders stand for."""
    message, delivered = accept(), accept()
    Message.objects.filter(pk=delivered.pk).update(status="delivered", next_attempt_at=None)
    email = accept(type="email", sender="ann@example.com", recipient="bob@example.com", provider="sendgrid")
    named = {"message": message, "delivered": delivered, "email": email, "conversation": message.conversation}
    return {f"{{{name}}}": str(each.pk) for name, each in named.items()}


def rows():
    return [list(noun.objects.order_by("pk").values()) for noun in (Message, Conversation, OptOut)]


def code_of(answer):
    if answer["Content-Type"] != "application/problem+json":
        return None
    problem = answer.json()
    return problem["errors"][0]["code"] if "errors" in problem else problem["code"]


def test_every_bad_request_is_refused_for_its_reason_and_changes_nothing(client, settings, ids):
    settings.TRUST_LOCAL_REQUESTS = True
    before, wrong = rows(), []
    assert len(LINES) >= 300
    for line in LINES:
        for placeholder, pk in ids.items():
            line = line.replace(placeholder, pk)
        request = json.loads(line)
        body = request.get("raw", json.dumps(request["body"]) if "body" in request else "")
        headers = {"Content-Type": "application/json", **request.get("headers", {})}
        answer = client.generic(
            request["method"], request["path"], body, content_type=headers.pop("Content-Type"), headers=headers
        )
        told = (answer.status_code, code_of(answer))
        if told != (request["status"], request["code"]):
            wrong.append((line[:200], told))
    assert wrong == []
    assert rows() == before
