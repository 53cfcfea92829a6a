"""Every path of the API that names an object, asked by a client to whom it does not belong."""

import re
from contextlib import closing

import pytest
from django.core.files.base import ContentFile
from django.urls import get_resolver

from conversations.models import ApiKey, Client, Conversation, Media, Message, OptOut
from conversations.tests.conftest import accept  # noqa: F401
from webhooks.models import Subscription

pytestmark = pytest.mark.django_db

OURS, THEIRS = "+15551234567", "+15557654321"
METHODS = ("get", "post", "put", "patch", "delete")
# Where an empty body would be refused before anybody looks for the object.
BODIES = {"MessageStatusView": {"status": "failed"}, "ReplayView": {"since": "2026-01-01T00:00:00Z"}}
NOUNS = (Message, Conversation, OptOut, Subscription)


def named_paths(patterns, before=""):
    """(path with {noun} for an id, view class) of each path that names an object."""
    for pattern in patterns:
        path = before + str(pattern.pattern).lstrip("^")
        if hasattr(pattern, "url_patterns"):
            yield from named_paths(pattern.url_patterns, path)
        elif hasattr(pattern.callback, "view_class") and (noun := re.search(r"\(\?P<(\w+)_id>", path)):
            plain = re.sub(r"\(\?P<\w+_id>.*?\{12\}\)", f"{{{noun[1]}}}", path)
            yield f"/{plain.replace('/?$', '')}", pattern.callback.view_class


CASES = [
    (path, view, method)
    for path, view in named_paths(get_resolver().url_patterns)
    for method in METHODS
    if hasattr(view, method)
]


def world(accept, sender, client):  # noqa: F811
    """One object of each noun that belongs to an address or a client, by its name in a path."""
    message = accept(sender=sender, recipient=f"{sender[:-1]}0")
    media = Media.objects.create(message=message, number=0, status="stored", content_type="image/png")
    media.file.save("a.png", ContentFile(b"picture"))
    opt_out = OptOut.objects.opt_out("sms", sender, "+15550000009", source="client")
    conversation = accept("thread", sender=sender, recipient=f"{sender[:-1]}1").conversation
    subscription = Subscription(url="https://example.com/", events=["message.sent"], client=client)
    subscription.new_secret()
    subscription.save()
    named = {"message": message, "media": media, "opt_out": opt_out, "conversation": conversation}
    named["subscription"] = subscription
    return {name: str(each.pk) for name, each in named.items()}


@pytest.fixture
def ask(client, accept, settings):  # noqa: F811
    """Ask as the client of our address for an object of one; the answer."""
    settings.TRUST_LOCAL_REQUESTS = False
    us, they = (Client.objects.create(name=address, senders=[address]) for address in (OURS, THEIRS))
    _, key = ApiKey.objects.make(us, ["admin"])
    ids = {OURS: world(accept, OURS, us), THEIRS: world(accept, THEIRS, they)}

    def asking(path, view, method, address):
        headers = {"Authorization": f"Bearer {key}"}
        body = BODIES.get(view.__name__, {})
        path = path.format(**ids[address])
        return getattr(client, method)(path, body, content_type="application/json", headers=headers)

    return asking


def test_there_are_paths_of_every_noun():
    named = {re.search(r"\{(\w+)\}", path)[1] for path, *_ in CASES}
    assert named == {"message", "conversation", "opt_out", "media", "subscription"}


@pytest.mark.parametrize(("path", "view", "method"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_what_belongs_to_others_is_not_found_and_stays_as_it_is(ask, path, view, method):
    before = [list(noun.objects.order_by("pk").values()) for noun in NOUNS]
    answer = ask(path, view, method, THEIRS)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert [list(noun.objects.order_by("pk").values()) for noun in NOUNS] == before
    with closing(ask(path, view, method, OURS)) as answer:
        assert answer.status_code != 404
