"""Every operation of the schema, asked by two clients for what belongs to the other: in paths, queries and bodies."""

import re
from contextlib import closing
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone

from conversations.models import ApiKey, Client, Conversation, Media, Message, OptOut
from conversations.tests.conftest import accept  # noqa: F401
from messaging_project.openapi.collection import generated_schema, operations
from webhooks.models import Delivery, Subscription

pytestmark = pytest.mark.django_db

NOUNS = (Message, Conversation, OptOut, Media, Subscription, Delivery)
FOUND = {
    operation["operationId"]: (path, method, operation) for path, method, operation in operations(generated_schema())
}
NAMED = [name for name, (path, *_) in FOUND.items() if re.search(r"\{\w+_id\}", path)]

# Queries of lists that could show what is foreign, and the field under which a row names its owner.
LISTS = {
    "listMessages": ["", "conversation_id={conversation_id}", "parent_id={message_id}", "from={sender}", "to={them}"],
    "listConversations": ["", "participant={sender}", "participant={them}"],
    "listOptOuts": ["", "our_address={sender}", "their_address={them}"],
    "listSubscriptions": [""],
    "listConversationMessages": ["conversation_id={conversation_id}", "parent_id={message_id}", "from={sender}"],
    "listDeliveries": ["conversation_id={conversation_id}"],
}
A_TEXT = {"to": "+15559876543", "type": "sms", "body": "Hello"}
# What is foreign in a body, where it is refused, and with which code.
BODIES = [
    *(
        (name, {**A_TEXT, "from": "{ours}", "parent_id": "{message_id}"}, ["body", "parent_id"], "unknown_parent")
        for name in ("sendMessage", "createMessage", "previewMessage")
    ),
    *(
        (name, {**A_TEXT, "from": "{sender}"}, ["body", "from"], "foreign_sender")
        for name in ("sendMessage", "createMessage", "previewMessage")
    ),
    (
        "openConversation",
        {"channel_type": "sms", "participant_from": "{sender}", "participant_to": "{them}"},
        ["body", "participant_from"],
        "foreign_sender",
    ),
    (
        "optOut",
        {"channel_type": "sms", "our_address": "{sender}", "their_address": "{them}"},
        ["body", "our_address"],
        "foreign_sender",
    ),
]
# They have a test of their own below; what a door saw is counted for all together.
ALONE = {"searchConversations", "sendBatch", "subscribe", "replayDeliveries"}
OF_NOBODY = {"getDoorStatus"}


class Party:
    """A client of one address, its key, and one object of each noun that is its own."""

    def __init__(self, sender, accept):  # noqa: F811
        self.sender = sender
        self.client = Client.objects.create(name=sender, senders=[sender])
        self.key = ApiKey.objects.make(self.client, ["admin"])[1]
        self.them = f"{sender[:-1]}0"
        message = accept(sender=sender, recipient=self.them, body=f"The secret of {sender[1:]}")
        accept(sender=sender, recipient=self.them, parent=message)
        media = Media.objects.create(message=message, number=0, status="stored", content_type="image/png")
        media.file.save("a.png", ContentFile(b"picture"))
        opt_out = OptOut.objects.opt_out("sms", sender, self.them, source="client")
        subscription = Subscription(url="https://example.com/", events=["message.sent"], client=self.client)
        subscription.new_secret()
        subscription.save()
        delivery = subscription.deliveries.create(
            conversation=message.conversation,
            event="message.sent",
            sequence=1,
            payload="{}",
            status="failed",
            next_attempt_at=None,
            give_up_at=timezone.now() - timedelta(days=1),
        )
        self.ids = {
            "message_id": message.pk,
            "conversation_id": message.conversation_id,
            "media_id": media.pk,
            "opt_out_id": opt_out.pk,
            "subscription_id": subscription.pk,
            "delivery_id": delivery.pk,
        }

    def names(self):
        """What the names in braces stand for, when it is this one whose objects are meant."""
        return {"sender": self.sender, "them": self.them, **{name: str(pk) for name, pk in self.ids.items()}}


@pytest.fixture(params=["one", "other"])
def parties(request, accept, settings):  # noqa: F811
    """Who asks, and to whom belongs what is asked for."""
    settings.TRUST_LOCAL_REQUESTS = False
    both = [Party(sender, accept) for sender in ("+15551234567", "+15557654321")]
    return both if request.param == "one" else both[::-1]


@pytest.fixture
def ask(client):
    """Ask as somebody for an operation with the ids of somebody; the example's body, if no other is given."""

    def asking(asker, name, ids, query="", body=None):
        path, method, operation = FOUND[name]
        if body is None and "requestBody" in operation:
            [example] = operation["requestBody"]["content"]["application/json"]["examples"].values()
            body = example["value"]
        headers = {"Authorization": f"Bearer {asker.key}"}
        url = path.format(**{name: str(pk) for name, pk in ids.items()})
        return getattr(client, method)(f"{url}?{query}", body or {}, content_type="application/json", headers=headers)

    return asking


def rows():
    return [list(noun.objects.order_by("pk").values()) for noun in NOUNS]


def filled(value, names):
    """A body with the names in its texts replaced."""
    if isinstance(value, dict):
        return {name: filled(each, names) for name, each in value.items()}
    return value.format(**names) if isinstance(value, str) else value


def test_every_operation_of_the_schema_is_asked_for_what_is_foreign():
    asked = {*NAMED, *LISTS, *(name for name, *_ in BODIES), *ALONE}
    assert asked | OF_NOBODY == set(FOUND)


@pytest.mark.parametrize("name", NAMED)
def test_what_belongs_to_others_is_not_found_and_stays_as_it_is(parties, ask, name):
    us, they = parties
    before = rows()
    answer = ask(us, name, they.ids)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert rows() == before
    with closing(ask(us, name, us.ids)) as answer:
        assert answer.status_code != 404


@pytest.mark.parametrize(("name", "query"), [(name, query) for name, queries in LISTS.items() for query in queries])
def test_lists_show_nothing_foreign(parties, ask, name, query):
    us, they = parties
    answers = []
    for whose in (they, us):
        names = {key: quote(value) for key, value in whose.names().items()}
        answer = ask(us, name, us.ids, query.format(**names))
        assert answer.status_code == 200, answer.content
        answers.append(answer)
    assert not [value for value in they.names().values() if value in answers[0].content.decode()]
    assert answers[1].json()["total"] > 0


@pytest.mark.parametrize(("name", "body", "loc", "code"), BODIES)
def test_what_is_foreign_in_a_body_is_refused(parties, ask, name, body, loc, code):
    us, they = parties
    before = rows()
    answer = ask(us, name, {}, body=filled(body, {**they.names(), "ours": us.sender}))
    assert answer.status_code == 422
    assert [(each["loc"], each["code"]) for each in answer.json()["errors"]] == [(loc, code)]
    assert rows() == before


def test_of_a_batch_what_is_foreign_is_refused(parties, ask):
    us, they = parties
    wishes = [{**A_TEXT, "from": us.sender, "parent_id": they.names()["message_id"]}, {**A_TEXT, "from": they.sender}]
    before = rows()
    results = ask(us, "sendBatch", {}, body={"messages": wishes}).json()["results"]
    assert [each["errors"][0]["code"] for each in results] == ["unknown_parent", "foreign_sender"]
    assert rows() == before


@pytest.mark.parametrize("text", ["{sender}", "{them}", "The secret of"])
def test_a_search_finds_nothing_foreign(parties, ask, text):
    us, they = parties
    found = ask(us, "searchConversations", {}, body={"query": text.format(**they.names())}).json()["conversations"]
    assert {each["id"] for each in found} <= {us.names()["conversation_id"]}
    assert ask(us, "searchConversations", {}, body={"query": text.format(**us.names())}).json()["total"] == 1


def test_a_replay_passes_over_deliveries_of_others(parties, ask):
    us, they = parties
    before = rows()
    wish = {"deliveries": [they.names()["delivery_id"]]}
    assert ask(us, "replayDeliveries", us.ids, body=wish).json()["replayed"] == 0
    assert rows() == before
    wish = {"deliveries": [us.names()["delivery_id"]]}
    assert ask(us, "replayDeliveries", us.ids, body=wish).json()["replayed"] == 1


def test_a_subscription_is_told_of_nothing_foreign(parties, ask):
    us, _ = parties
    made = Subscription.objects.get(pk=ask(us, "subscribe", {}).json()["id"])
    for noun, name in ((Message, "message_id"), (Conversation, "conversation_id")):
        assert [made.sees(noun.objects.get(pk=whose.ids[name])) for whose in parties] == [True, False]


@pytest.mark.parametrize("name", ["changeMessage", "setMessageStatus", "retryMessage", "cancelMessage"])
def test_what_somebody_wrote_to_us_is_seen_and_not_changed(parties, ask, accept, name):  # noqa: F811
    us, they = parties
    theirs = accept(sender=they.sender, recipient=us.sender)
    if name == "retryMessage":
        Message.objects.filter(pk=theirs.pk).update(status="failed", next_attempt_at=None)
    assert ask(us, "getMessage", {"message_id": theirs.pk}).status_code == 200
    before = rows()
    answer = ask(us, name, {"message_id": theirs.pk})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_sender")
    assert rows() == before
    assert ask(they, name, {"message_id": theirs.pk}).status_code == 200
