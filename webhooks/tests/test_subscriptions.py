"""Subscriptions over the API."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from conversations.models import ApiKey, Client
from conversations.tests.conftest import accept  # noqa: F401
from webhooks import subscriptions
from webhooks.models import Delivery, Subscription
from webhooks.models.subscription import EVENT_TYPES

pytestmark = pytest.mark.django_db

PATH = "/api/v1/subscriptions/"
REPLAYED = {"replayed": 1, "next_since": None}
URL = "https://shop.example.com/hook"


@pytest.fixture
def call(client):
    """Ask as a developer on the own machine, or with a key."""

    def ask(method, path="", body=None, key=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return getattr(client, method)(f"{PATH}{path}", body, content_type="application/json", headers=headers)

    return ask


@pytest.fixture
def made(call):
    return call("post", body={"url": URL, "events": ["message.delivered", "message.received"]}).json()


def key_of(name, *scopes):
    return ApiKey.objects.make(Client.objects.create(name=name), scopes or ["webhooks:manage"])[1]


def told(made, accept, **values):  # noqa: F811
    """A delivery of a subscription."""
    fixed = {"event": "message.delivered", "sequence": Delivery.objects.count(), "payload": "{}"}
    fixed |= {"give_up_at": timezone.now(), "status": "failed", "next_attempt_at": None, "attempts": 3}
    return Delivery.objects.create(
        subscription_id=made["id"], conversation=accept().conversation, **{**fixed, **values}
    )


def test_a_secret_is_shown_when_it_is_made_and_never_again(call, made):
    assert made["secret"].startswith("whsec_")
    assert (made["status"], made["events"]) == ("enabled", ["message.received", "message.delivered"])
    shown = call("get", made["id"])
    assert shown.json() == {name: value for name, value in made.items() if name != "secret"}
    renewed = call("post", f"{made['id']}/secret").json()["secret"]
    assert renewed != made["secret"]
    assert list(Subscription.objects.get().signing_secrets()) == [renewed, made["secret"]]


def test_a_star_is_every_event(call):
    assert call("post", body={"url": URL, "events": ["*"]}).json()["events"] == EVENT_TYPES


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"events": ["*"]}, "url", "required"),
        ({"url": URL}, "events", "required"),
        ({"url": URL, "events": []}, "events", "empty"),
        ({"url": URL, "events": "message.sent"}, "events", "not_a_list"),
        ({"url": URL, "events": ["message.read"]}, "events", "invalid_choice"),
        ({"url": "http://shop.example.com/hook", "events": ["*"]}, "url", "invalid_url"),
        ({"url": "https://10.0.0.1/hook", "events": ["*"]}, "url", "invalid_url"),
        ({"url": "https://localhost/hook", "events": ["*"]}, "url", "invalid_url"),
        ({"url": "https://user:secret@shop.example.com/", "events": ["*"]}, "url", "invalid_url"),
        ({"url": URL, "events": ["*"], "secret": "mine"}, "secret", "unknown_field"),
    ],
)
def test_what_can_not_be_told_is_refused(call, settings, body, field, code):
    settings.TRUST_LOCAL_REQUESTS = False
    answer = call("post", body=body, key=key_of("shop"))
    assert answer.status_code == 422
    assert {(error["loc"][1], error["code"]) for error in answer.json()["errors"]} == {(field, code)}


def test_on_a_developers_machine_its_own_ports_may_be_told(call):
    assert call("post", body={"url": "http://127.0.0.1:9000/hook", "events": ["*"]}).status_code == 201


def test_it_can_be_changed_disabled_and_enabled(call, made):
    changed = call("patch", made["id"], {"events": ["*"], "enabled": False}).json()
    assert (changed["status"], changed["disabled_because"]) == ("disabled", "The client disabled it.")
    assert changed["events"] == EVENT_TYPES
    assert call("patch", made["id"], {"enabled": True}).json()["status"] == "enabled"
    assert call("delete", made["id"]).status_code == 204
    assert call("get", made["id"]).status_code == 404


def test_nobody_sees_or_touches_anothers(call, made, settings):
    settings.TRUST_LOCAL_REQUESTS = False
    key = key_of("shop")
    assert call("get", key=key).json()["total"] == 0
    asked = [
        ("get", ""),
        ("patch", ""),
        ("delete", ""),
        ("post", "/secret"),
        ("get", "/deliveries"),
        ("post", "/replay"),
    ]
    assert {call(method, f"{made['id']}{path}", {}, key).status_code for method, path in asked} == {404}
    assert call("get", key=key_of("reader", "messages:read")).status_code == 403


def test_a_client_has_so_many_and_no_more(call, made):
    template = Subscription.objects.get()
    Subscription.objects.bulk_create(
        Subscription(url=URL, events=["message.sent"], encrypted_secrets=template.encrypted_secrets) for _ in range(49)
    )
    assert call("post", body={"url": URL, "events": ["*"]}).json()["errors"][0]["code"] == "too_many"


def test_the_log_of_deliveries_can_be_read_and_filtered(call, made, accept):  # noqa: F811
    failed = told(made, accept, response_status=503, error="It answered 503.", duration_ms=12)
    told(made, accept, status="delivered", event="message.received")
    path = f"{made['id']}/deliveries"
    assert call("get", path).json()["total"] == 2
    [row] = call("get", f"{path}?status=failed").json()["deliveries"]
    assert (row["id"], row["response_status"], row["duration_ms"]) == (str(failed.pk), 503, 12)
    assert call("get", f"{path}?event=message.received").json()["total"] == 1
    assert call("get", f"{path}?status=lost").status_code == 422


def test_deliveries_are_replayed_by_name_or_by_time(call, made, accept):  # noqa: F811
    failed, delivered = told(made, accept), told(made, accept, status="delivered")
    long_ago = told(made, accept, created_at=timezone.now() - timedelta(days=2))
    path, yesterday = f"{made['id']}/replay", (timezone.now() - timedelta(days=1)).isoformat()
    assert call("post", path, {"deliveries": [str(long_ago.pk)]}).json() == REPLAYED
    assert call("post", path, {"since": yesterday, "status": "failed"}).json() == REPLAYED
    assert call("post", path, {"since": yesterday}).json() == REPLAYED
    assert {each.status for each in Delivery.objects.filter(pk__in=[failed.pk, delivered.pk])} == {"waiting"}
    assert call("post", path, {}).json()["errors"][0]["code"] == "one_of_two"


def test_what_is_too_much_to_be_replayed_at_once_is_replayed_by_and_by(call, made, accept, monkeypatch):  # noqa: F811
    monkeypatch.setattr(subscriptions, "MOST_REPLAYED", 2)
    now = timezone.now()
    for hours in (3, 1, 2):
        told(made, accept, created_at=now - timedelta(hours=hours))
    path, since, replayed = f"{made['id']}/replay", (now - timedelta(days=1)).isoformat(), []
    while since:
        answer = call("post", path, {"since": since}).json()
        since = answer["next_since"]
        replayed.append(answer["replayed"])
    assert replayed == [2, 1]
    assert not Delivery.objects.exclude(status="waiting").exists()


def test_staff_see_who_is_told_what_stop_it_and_tell_it_again(admin_client, made, accept):  # noqa: F811
    failed = told(made, accept, error="It answered 503.")
    page = admin_client.get(reverse("admin:webhooks_subscription_change", args=[made["id"]])).text
    assert URL in page
    assert "whsec_" not in page
    changelist, chosen = reverse("admin:webhooks_subscription_changelist"), {"_selected_action": made["id"]}
    for action, status in (("disable", "disabled"), ("enable", "enabled"), ("replay_failed", "enabled")):
        admin_client.post(changelist, {"action": action, **chosen})
        assert Subscription.objects.get().status == status
    failed.refresh_from_db()
    assert failed.status == "waiting"
    assert "It answered 503." in admin_client.get(reverse("admin:webhooks_delivery_changelist")).text


def test_prometheus_sees_who_is_told_nothing(client, made, accept):  # noqa: F811
    told(made, accept, status="waiting", next_attempt_at=timezone.now())
    read = client.get("/metrics").text
    assert 'subscriptions{status="enabled"} 1.0' in read
    assert "deliveries_waiting 1.0" in read
    Subscription.objects.update(disabled_at=timezone.now())
    read = client.get("/metrics").text
    assert 'subscriptions{status="disabled"} 1.0' in read
    assert "deliveries_waiting 0.0" in read
