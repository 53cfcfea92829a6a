"""Every request in `bad_requests.jsonl` is refused with the status and code that stand there, and nothing is written.

A line is one request: `method`, `path`, `body` (JSON) or `raw` (text), `headers`; then the `status` and the `code` of
the problem, or of the first of its `errors`. {message}, {delivered}, {email}, {conversation}, {subscription},
{subscription_of_key}, {opt_out}, {media} and {missing_media} stand for ids, {key}, {key_to_read} and {key_to_send} for
keys. Where a line shows one of these keys, it is asked as on a server, where nothing is trusted for being local.
"""

import json
import re
from pathlib import Path

import pytest
from django.core.files.base import ContentFile

from conversations.models import ApiKey, Client, Conversation, Media, Message, OptOut
from conversations.tests.conftest import accept  # noqa: F401
from messaging_project.openapi.collection import generated_schema, operations
from webhooks.models import Subscription

pytestmark = pytest.mark.django_db

LINES = (Path(__file__).parent / "bad_requests.jsonl").read_text().splitlines()
NOUNS = (Message, Conversation, OptOut, Media, Subscription)
FEWEST_LINES_EACH = 4


@pytest.fixture
def values(accept):  # noqa: F811
    """What the placeholders stand for."""
    message, delivered = accept(), accept()
    Message.objects.filter(pk=delivered.pk).update(status="delivered", next_attempt_at=None)
    email = accept(type="email", sender="ann@example.com", recipient="bob@example.com", provider="sendgrid")
    media = Media.objects.create(message=message, number=0, status="stored", content_type="image/png")
    media.file.save("a.png", ContentFile(b"picture"))
    missing = Media.objects.create(message=message, number=1, status="missing", error="It is gone.")
    client = Client.objects.create(name="shop")
    named = {"message": message, "delivered": delivered, "email": email, "conversation": message.conversation}
    named |= {"media": media, "missing_media": missing, "opt_out": opted_out()}
    named |= {"subscription": subscribed(None), "subscription_of_key": subscribed(client)}
    scopes = {"key": "admin", "key_to_read": "messages:read", "key_to_send": "messages:send"}
    keys = {name: ApiKey.objects.make(client, [scope])[1] for name, scope in scopes.items()}
    return {
        f"{{{name}}}": value for name, value in {**{name: str(each.pk) for name, each in named.items()}, **keys}.items()
    }


def opted_out():
    return OptOut.objects.opt_out("sms", "+15551234567", "+15550000009", source="client")


def subscribed(client):
    made = Subscription(url="https://shop.example.com/hook", events=["message.sent"], client=client)
    made.new_secret()
    made.save()
    return made


def rows():
    return [list(noun.objects.order_by("pk").values()) for noun in NOUNS]


def code_of(answer):
    if answer["Content-Type"] != "application/problem+json":
        return None
    problem = answer.json()
    return problem["errors"][0]["code"] if "errors" in problem else problem["code"]


def ask(client, request):
    body = request.get("raw", json.dumps(request["body"]) if "body" in request else "")
    headers = {"Content-Type": "application/json", **request.get("headers", {})}
    kind = headers.pop("Content-Type")
    return client.generic(request["method"], request["path"], body, content_type=kind, headers=headers)


def test_every_bad_request_is_refused_for_its_reason_and_changes_nothing(client, settings, values):
    before, wrong = rows(), []
    assert len(LINES) >= 300
    for is_local in (True, False):
        settings.TRUST_LOCAL_REQUESTS = is_local
        for line in LINES:
            if is_local == ("Bearer {key" in line):
                continue
            for placeholder, value in values.items():
                line = line.replace(placeholder, value)
            request = json.loads(line)
            answer = ask(client, request)
            told = (answer.status_code, code_of(answer))
            if told != (request["status"], request["code"]):
                wrong.append((line[:200], told))
    assert wrong == []
    assert rows() == before


def test_every_operation_is_asked_badly_in_several_ways():
    templates = [
        (name["operationId"], method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)))
        for path, method, name in sorted(operations(generated_schema()), key=lambda each: "{" in each[0])
    ]
    asked = dict.fromkeys((name for name, *_ in templates), 0)
    for request in map(json.loads, LINES):
        path = request["path"].partition("?")[0].rstrip("/")
        fitting = (name for name, method, form in templates if method == request["method"] and form.fullmatch(path))
        if name := next(fitting, None):
            asked[name] += 1
    assert {name: count for name, count in asked.items() if count < FEWEST_LINES_EACH} == {}
