"""Who may use the API, what they may do, and what they see."""

import re
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import get_resolver
from django.utils import timezone

from conversations.models import ApiKey, Client, Conversation, IdempotencyKey, Message, OptOut
from conversations.models.client import Scope

pytestmark = pytest.mark.django_db

SMS = {"from": "+15551234567", "to": "+15559876543", "type": "sms", "body": "Hello"}
LATER, EARLIER = timedelta(days=1), -timedelta(seconds=1)


@pytest.fixture(autouse=True)
def in_production(settings):
    """Nobody is taken without a key."""
    settings.TRUST_LOCAL_REQUESTS = False


@pytest.fixture
def shop():
    return Client.objects.create(name="shop")


@pytest.fixture
def desk():
    """A client that sends from one number only."""
    return Client.objects.create(name="desk", senders=["+15557654321", "Desk@example.com"])


def key_of(client, *scopes, **times):
    row, key = ApiKey.objects.make(client, scopes or [Scope.ADMIN])
    ApiKey.objects.filter(pk=row.pk).update(**{name: timezone.now() + delta for name, delta in times.items()})
    return key


def by(key, client, method="get", path="/api/v1/messages/", body=None, **headers):
    call = getattr(client, method)
    return call(path, body, content_type="application/json", headers={"Authorization": f"Bearer {key}", **headers})


def test_a_key_opens_the_door_in_either_header(client, shop):
    key = key_of(shop)
    assert by(key, client).status_code == 200
    assert client.get("/api/v1/messages/", headers={"X-API-Key": key}).status_code == 200
    assert client.get("/api/v1/messages/", headers={"Authorization": f"bearer {key}"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "not_authenticated"),
        ({"Authorization": "Bearer sb_nobody"}, "invalid_key"),
        ({"X-API-Key": "sb_nobody"}, "invalid_key"),
        ({"Authorization": "Bearer"}, "not_authenticated"),
        ({"Authorization": "Basic c2hvcDpzaG9w"}, "invalid_authorization"),
        ({"Authorization": "Bearer one", "X-API-Key": "two"}, "two_keys"),
        ({"X-API-Key": "\udcff"}, "invalid_key"),
    ],
)
def test_who_shows_no_good_key_is_told_why(client, headers, code):
    answer = client.get("/api/v1/messages/", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("times", "status"),
    [({"expires_at": LATER}, 200), ({"expires_at": EARLIER}, 401), ({"revoked_at": EARLIER}, 401)],
)
def test_a_key_is_good_until_it_expires_or_is_revoked(client, shop, times, status):
    assert by(key_of(shop, **times), client).status_code == status


def test_a_disabled_clients_keys_are_no_good(client, shop):
    key = key_of(shop)
    Client.objects.update(disabled_at=timezone.now())
    assert by(key, client).json()["code"] == "client_disabled"


def test_a_key_is_remembered_for_a_second_and_no_longer(client, shop, monkeypatch, django_assert_num_queries):
    key = key_of(shop)
    assert by(key, client).status_code == 200
    with django_assert_num_queries(0):
        assert ApiKey.objects.shown(key) is not None
    Client.objects.update(disabled_at=timezone.now())
    a_second_later = time.monotonic() + 1
    monkeypatch.setattr("conversations.models.client.time.monotonic", lambda: a_second_later)
    assert by(key, client).status_code == 401


def test_a_wrong_key_is_wrong_on_a_developers_machine_too(client, settings):
    settings.TRUST_LOCAL_REQUESTS = True
    assert by("sb_nobody", client).status_code == 401
    assert client.get("/api/v1/messages/").status_code == 200


def test_an_example_with_an_unset_key_works_on_a_developers_machine(client, settings):
    settings.TRUST_LOCAL_REQUESTS = True
    assert client.get("/api/v1/messages/", headers={"Authorization": "Bearer "}).status_code == 200


def test_two_keys_of_a_client_are_good_at_once(client, shop):
    assert [by(key_of(shop), client).status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [
        (Scope.MESSAGES_SEND, (201, 403, 403)),
        (Scope.MESSAGES_READ, (403, 200, 403)),
        (Scope.CONVERSATIONS_WRITE, (403, 403, 404)),
        (Scope.ADMIN, (201, 200, 404)),
    ],
)
def test_a_key_does_what_its_scopes_say(client, shop, scope, statuses):
    key = key_of(shop, scope)
    sent = by(key, client, "post", "/api/v1/messages/send", SMS)
    lifted = by(key, client, "delete", f"/api/v1/opt-outs/{uuid4()}")
    assert (sent.status_code, by(key, client).status_code, lifted.status_code) == statuses
    for answer in (sent, lifted):
        assert answer.status_code != 403 or answer.json()["code"] == "scope_missing"


def test_a_method_that_is_not_there_is_that_and_no_question_of_scopes(client, shop):
    assert by(key_of(shop, Scope.MESSAGES_READ), client, "put").status_code == 405


def views(patterns):
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from views(pattern.url_patterns)
        elif hasattr(pattern.callback, "view_class"):
            yield pattern.callback.view_class


def test_every_method_of_the_api_names_its_scope():
    open_doors = {"TwilioView", "SendGridView", "SchemaView", "DocsView"}
    for view in views(get_resolver().url_patterns):
        if hasattr(view, "permission_classes") and view.__name__ not in open_doors:
            served = {name.upper() for name in ("get", "post", "put", "patch", "delete") if hasattr(view, name)}
            assert served == set(view.scopes), view.__name__


def test_use_is_noted_once_a_minute(client, shop, monkeypatch):
    monkeypatch.setattr("conversations.models.client.REMEMBERED_SECONDS", 0)
    key = key_of(shop)
    by(key, client)
    noted = ApiKey.objects.get().last_used_at
    by(key, client)
    assert ApiKey.objects.get().last_used_at == noted
    ApiKey.objects.update(last_used_at=noted - timedelta(minutes=2))
    by(key, client)
    assert ApiKey.objects.get().last_used_at >= noted


def dump_of_the_database():
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        cursor.execute(" UNION ALL ".join(f'SELECT row::text FROM "{table}" AS row' for table in tables))
        return "\n".join(row for (row,) in cursor.fetchall())


def test_a_dump_of_the_database_holds_no_key(client, admin_client, shop, settings):
    key = key_of(shop)
    by(key, client, "post", "/api/v1/messages/send", SMS)
    dump = dump_of_the_database()
    assert key[:10] in dump
    assert key[:11] not in dump
    assert admin_client.get("/admin/").status_code == 200
    assert admin_client.cookies[settings.SESSION_COOKIE_NAME].value not in dump


def test_a_client_sends_from_its_own_addresses_only(client, desk):
    key = key_of(desk)
    refused = by(key, client, "post", "/api/v1/messages/send", SMS)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "foreign_sender")
    assert by(key, client, "post", "/api/v1/messages/send", {**SMS, "from": "+1 555 765 4321"}).status_code == 201
    mail = {"from": "desk@EXAMPLE.com", "to": "ann@example.com", "type": "email", "subject": "Hi", "body": "Hello"}
    assert by(key, client, "post", "/api/v1/messages/send", mail).status_code == 201


@pytest.fixture
def two_worlds(client, shop, desk):
    """One message of the shop's number and one of the desk's: (foreign, own) ids."""
    key, paths = key_of(shop), "/api/v1/messages/send"
    made = [by(key, client, "post", paths, {**SMS, "from": sender}) for sender in (SMS["from"], "+15557654321")]
    OptOut.objects.opt_out("sms", SMS["from"], "+15550000001", source="client")
    OptOut.objects.opt_out("sms", "+15557654321", "+15550000001", source="client")
    return [answer.json() for answer in made]


def test_a_client_sees_the_conversations_of_its_addresses_only(client, desk, two_worlds):
    key, (foreign, own) = key_of(desk), two_worlds
    for noun, name, field in [("messages", "id", "messages"), ("conversations", "conversation_id", "conversations")]:
        assert by(key, client, path=f"/api/v1/{noun}/{foreign[name]}").status_code == 404
        assert by(key, client, path=f"/api/v1/{noun}/{own[name]}").status_code == 200
        listed = by(key, client, path=f"/api/v1/{noun}/").json()
        assert ([each["id"] for each in listed[field]], listed["total"]) == ([own[name]], 1)
    assert by(key, client, path=f"/api/v1/conversations/{foreign['conversation_id']}/messages").status_code == 404
    assert [each["our_address"] for each in by(key, client, path="/api/v1/opt-outs/").json()["opt_outs"]] == [
        own["from"]
    ]


def test_a_client_answers_no_foreign_message_and_opts_nobody_out_for_others(client, desk, two_worlds):
    key, (foreign, own) = key_of(desk), two_worlds
    answer = {**SMS, "from": own["from"], "parent_id": foreign["id"]}
    assert by(key, client, "post", "/api/v1/messages/send", answer).json()["errors"][0]["code"] == "unknown_parent"
    wish = {"channel_type": "sms", "our_address": SMS["from"], "their_address": "+15550000009"}
    assert by(key, client, "post", "/api/v1/opt-outs/", wish).json()["errors"][0]["code"] == "foreign_sender"
    foreign_opt_out = OptOut.objects.get(our_address=SMS["from"])
    assert by(key, client, "delete", f"/api/v1/opt-outs/{foreign_opt_out.pk}").status_code == 404


def test_the_same_idempotency_key_of_two_clients_makes_two_messages(client, shop):
    keys = [key_of(shop), key_of(Client.objects.create(name="office"))]
    answers = [by(key, client, "post", "/api/v1/messages/send", SMS, **{"Idempotency-Key": "1"}) for key in keys * 2]
    assert [answer.status_code for answer in answers] == [201, 201, 200, 200]
    assert Message.objects.count() == IdempotencyKey.objects.count() == 2


def test_senders_are_kept_as_messages_keep_them():
    client = Client(name="x", senders=["+1 (555) 765-4321", "+15557654321", "Ann@EXAMPLE.com", "Shop"])
    client.full_clean()
    assert client.senders == ["+15557654321", "Ann@example.com", "Shop"]
    client.senders = ["nobody@"]
    with pytest.raises(ValidationError):
        client.full_clean()


def test_one_command_makes_a_client_and_shows_its_key_once(client, capsys):
    call_command("create_api_key", "shop", "--scope", "messages:read", "--sender", "+1 555 765 4321")
    key = capsys.readouterr().out.strip()
    assert re.fullmatch(r"sb_[A-Za-z0-9_-]{43}", key)
    assert by(key, client).status_code == 200
    assert Client.objects.get().senders == ["+15557654321"]
    call_command("create_api_key", "shop", "--expires-in-days", "30")
    assert ApiKey.objects.latest("pk").scopes == sorted(set(Scope.values) - {"admin"})


@pytest.mark.parametrize(
    "arguments", [["--sender", "nobody@"], ["--requests-per-minute", "0"], ["--expires-in-days", "0"]]
)
def test_the_command_makes_nothing_of_what_can_not_be(arguments):
    with pytest.raises(CommandError):
        call_command("create_api_key", "shop", *arguments)
    assert not Client.objects.exists()


def test_staff_make_a_key_see_it_once_and_revoke_it(admin_client, client, shop, monkeypatch):
    monkeypatch.setattr("conversations.models.client.REMEMBERED_SECONDS", 0)
    empty = admin_client.get("/admin/conversations/apikey/add/").text
    assert ('aria-label="Expires at: date"' in empty, 'aria-label="Expires at: time"' in empty) == (True, True)
    form = {"client": shop.pk, "scopes": ["messages:read"], "expires_at_0": "", "expires_at_1": ""}
    page = admin_client.post("/admin/conversations/apikey/add/", form, follow=True).content.decode()
    key = re.search(r"sb_[A-Za-z0-9_-]{43}", page)[0]
    assert by(key, client).status_code == 200
    assert key not in admin_client.get("/admin/conversations/apikey/").content.decode()
    row = ApiKey.objects.get()
    revoke = {"action": "revoke", "_selected_action": [row.pk]}
    assert "answered 401 within a second" in admin_client.post("/admin/conversations/apikey/", revoke).content.decode()
    assert by(key, client).status_code == 200
    admin_client.post("/admin/conversations/apikey/", {**revoke, "confirmed": "yes"})
    assert by(key, client).json()["code"] == "key_revoked"


def test_staff_without_the_permission_make_no_keys(client, shop):
    client.force_login(User.objects.create_user("ann", is_staff=True))
    assert client.get("/admin/conversations/apikey/add/").status_code == 403
    assert Conversation.objects.count() == 0
