"""Subscribers and what they are told, over real HTTP on loopback."""

import json
import threading
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from conversations.models import Client, Conversation, Message, MessageEvent
from conversations.tests.conftest import accept, claim, in_threads  # noqa: F401
from webhooks import tasks, telling
from webhooks.models import Delivery, Subscription
from webhooks.models.delivery import Told
from webhooks.models.subscription import EVENT_TYPES
from webhooks.tests.test_inbound import text

pytestmark = pytest.mark.django_db(transaction=True)


class Subscriber:
    """Takes deliveries: `answers` are the status codes for the next ones, then it is 200 for ever."""

    def __init__(self):
        self.told, self.answers, self.headers = [], [], {}
        self.open_door = threading.Event()
        self.open_door.set()
        subscriber = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                subscriber.told.append((dict(self.headers), body))
                subscriber.open_door.wait(10)
                self.send_response(subscriber.answers.pop(0) if subscriber.answers else 200)
                for name, value in {"Content-Length": "2", **subscriber.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def events(self):
        return [json.loads(body) for _, body in self.told]

    @property
    def types(self):
        return [event["type"] for event in self.events]


@contextmanager
def listening():
    subscriber = Subscriber()
    thread = threading.Thread(target=subscriber.server.serve_forever)
    thread.start()
    try:
        yield subscriber
    finally:
        subscriber.open_door.set()
        subscriber.server.shutdown()
        thread.join()
        subscriber.server.server_close()


@pytest.fixture
def subscriber():
    with listening() as somebody:
        yield somebody


@pytest.fixture(autouse=True)
def soon(settings):
    """What was not taken is due again at once."""
    settings.EVENT_RETRY_BASE_SECONDS = settings.EVENT_RETRY_CEILING_SECONDS = 0


def subscribe(url, events=EVENT_TYPES, client=None):
    """A subscription of a client, and its secret."""
    subscription = Subscription(url=url, events=list(events), client=client)
    secret = subscription.new_secret()
    subscription.save()
    return subscription, secret


def claimed(limit, each=4, each_client=16):
    return Delivery.objects.claim(limit=limit, each=each, each_client=each_client)


@contextmanager
def another_connection():
    """To the same database: a transaction that ends when the block does."""
    parameters = connection.get_connection_params()
    known = {name: parameters[name] for name in ("host", "port", "user", "password", "dbname") if name in parameters}
    with psycopg.connect(**known) as other:
        yield other


WRITE = (
    "INSERT INTO conversations_messageevent (message_id, status, evidence, attempt, code, detail)"
    " VALUES (%s, %s, 'observed', 1, '', '')"
)


def verified(secret, headers, body):
    return Webhook(secret).verify(body, headers)


def sent(accept, **values):  # noqa: F811
    """A message with whom everything went well, and its events."""
    message = accept(**values)
    for status in ("sent", "delivered"):
        message.events.create(status=status, evidence="reported", attempt=1)
    return message


def test_everything_that_happens_is_told_once_in_order_and_signed(accept, subscriber):  # noqa: F811
    _, secret = subscribe(subscriber.url)
    message = sent(accept)
    assert [tasks.tell()[:5] for _ in range(2)] == ["new 3", "new 0"]
    assert subscriber.types == ["conversation.created", "message.sent", "message.delivered"]
    told = [verified(secret, *each) for each in subscriber.told]
    assert told[1]["data"]["message"]["id"] == str(message.pk)
    assert told[2]["data"]["event"]["evidence"] == "reported"
    assert [each["sequence"] for each in told] == sorted(each["sequence"] for each in told)


def test_what_somebody_else_signed_is_not_taken_for_ours(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url)
    _, other_secret = subscribe(subscriber.url)
    sent(accept)
    tasks.tell()
    with pytest.raises(WebhookVerificationError):
        [verified(other_secret, *each) for each in subscriber.told]


def test_only_what_was_asked_for_is_told(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url, ["message.delivered"])
    sent(accept)
    tasks.tell()
    assert subscriber.types == ["message.delivered"]


def test_what_was_before_a_subscription_is_not_told(accept, subscriber):  # noqa: F811
    sent(accept)
    subscribe(subscriber.url)
    tasks.tell()
    assert subscriber.types == []


def test_each_is_told_of_its_own_addresses_and_tests_of_tests(accept, subscriber):  # noqa: F811
    desk = Client.objects.create(name="desk", senders=["+15557654321"])
    tester = Client.objects.create(name="tester", test=True)
    for client in (desk, tester, None):
        subscribe(f"{subscriber.url}?{client}", ["message.sent"], client)
    ours, theirs, of_test = sent(accept, sender="+15557654321"), sent(accept), sent(accept, test=True)
    tasks.tell()
    told = {str(each.subscription.client): set() for each in Delivery.objects.all()}
    for delivery in Delivery.objects.all():
        told[str(delivery.subscription.client)].add(json.loads(delivery.payload)["data"]["message"]["id"])
    assert told == {"desk": {str(ours.pk)}, "tester": {str(of_test.pk)}, "None": {str(ours.pk), str(theirs.pk)}}


def test_an_event_whose_transaction_ends_late_is_told_all_the_same(accept, subscriber):  # noqa: F811
    """Though one with a higher number was told before; the product writes both under one lock."""
    subscribe(subscriber.url, ["message.sent", "message.failed"])
    message = accept()
    with another_connection() as late:
        late.execute(WRITE, [message.pk, "sent"])
        message.events.create(status="failed", evidence="observed")
        tasks.tell()
        assert subscriber.types == ["message.failed"]
    tasks.tell()
    assert subscriber.types == ["message.failed", "message.sent"]


def test_what_was_written_first_is_told_first_whichever_transaction_began_first(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url, ["message.sent", "message.delivered"])
    message = accept()
    with another_connection() as early:
        early.execute("SELECT pg_current_xact_id()")
        message.events.create(status="sent", evidence="observed", attempt=1)
        early.execute(WRITE, [message.pk, "delivered"])
    tasks.tell()
    assert subscriber.types == ["message.sent", "message.delivered"]


def test_what_was_written_first_is_told_first_whichever_is_seen_first(accept, subscriber):  # noqa: F811
    """Somebody else's transaction is open all the while, and the one that wrote second began before it."""
    subscribe(subscriber.url, ["message.sent", "message.delivered"])
    message = accept()
    with another_connection() as early, another_connection() as open_all_the_while:
        early.execute("SELECT pg_current_xact_id()")
        open_all_the_while.execute("SELECT pg_current_xact_id()")
        message.events.create(status="sent", evidence="observed", attempt=1)
        early.execute(WRITE, [message.pk, "delivered"])
        early.commit()
        tasks.tell()
    tasks.tell()
    assert subscriber.types == ["message.sent", "message.delivered"]


def test_events_of_a_conversation_and_of_its_messages_are_in_one_order(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url)
    message = sent(accept)
    message.conversation.change(status="closed")
    tasks.tell()
    assert subscriber.types == ["conversation.created", "message.sent", "message.delivered", "conversation.closed"]


def test_what_comes_in_is_told_after_the_conversation_that_it_opens(client, subscriber):
    subscribe(subscriber.url)
    text(client)
    tasks.tell()
    assert subscriber.types == ["conversation.created", "message.received"]


def test_what_the_provider_reports_too_is_told_once(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url, ["message.sent"])
    message = accept()
    for attempt, evidence in ((1, "observed"), (1, "reported"), (2, "observed")):
        message.events.create(status="sent", evidence=evidence, attempt=attempt)
    tasks.tell()
    assert [each["data"]["event"]["attempt"] for each in subscriber.events] == [1, 2]


def test_a_conversation_that_a_message_wakes_is_told_as_updated(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url)
    accept().conversation.change(status="archived")
    accept()
    tasks.tell()
    assert subscriber.types == ["conversation.created", "conversation.updated", "conversation.updated"]


def test_a_page_is_not_the_end(accept, subscriber, monkeypatch):  # noqa: F811
    monkeypatch.setattr(telling, "EVENTS_AT_ONCE", 2)
    monkeypatch.setattr(telling, "CHARACTERS_AT_ONCE", 1)
    subscribe(subscriber.url)
    for number in range(3):
        sent(accept, recipient=f"+1555000000{number}")
    assert telling.note_events() == 9
    assert telling.note_events() == 0


def test_many_who_read_on_at_once_tell_nothing_twice(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url)
    for number in range(20):
        sent(accept, recipient=f"+1555000{number:04}")
    in_threads(4, lambda number: telling.note_events())
    in_threads(4, lambda number: telling.tell_due())
    assert len(subscriber.told) == len({headers["webhook-id"] for headers, _ in subscriber.told}) == 60


def test_a_delivery_that_is_not_taken_holds_up_its_conversation_and_no_other(accept, subscriber, settings):  # noqa: F811
    settings.EVENT_RETRY_BASE_SECONDS = settings.EVENT_RETRY_CEILING_SECONDS = 3600
    subscribe(subscriber.url, ["message.sent", "message.delivered"])
    held = sent(accept)
    telling.note_events()
    subscriber.answers = [500]
    telling.tell_due()
    sent(accept, recipient="+15550000001")
    tasks.tell()
    assert [each["data"]["message"]["id"] == str(held.pk) for each in subscriber.events] == [True, False, False]
    Delivery.objects.filter(status="waiting").update(next_attempt_at=timezone.now())
    tasks.tell()
    assert subscriber.types == [
        "message.sent",
        "message.sent",
        "message.delivered",
        "message.sent",
        "message.delivered",
    ]
    ids = [headers["webhook-id"] for headers, _ in subscriber.told]
    assert ids[0] == ids[3]


def test_who_was_away_is_told_everything_in_order_once_back(accept, subscriber, settings):  # noqa: F811
    settings.EVENT_RETRY_BASE_SECONDS, settings.EVENT_RETRY_CEILING_SECONDS = 60, 3600
    _, secret = subscribe(subscriber.url)
    subscriber.answers = [503] * 9
    messages = [sent(accept, recipient=f"+1555000000{number}") for number in range(9)]
    tasks.tell()
    assert 5 <= len(subscriber.told) <= 12
    subscriber.answers.clear()
    subscriber.told.clear()
    Subscription.objects.update(retry_at=timezone.now())
    Delivery.objects.filter(attempts__gt=0).update(next_attempt_at=timezone.now())
    for _ in range(2):
        tasks.tell()
    told = [verified(secret, *each) for each in subscriber.told]
    for message in messages:
        of_one = [each for each in told if str(message.conversation_id) in json.dumps(each)]
        assert [each["type"] for each in of_one] == ["conversation.created", "message.sent", "message.delivered"]
    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered"}


def test_who_keeps_failing_is_tried_by_one_delivery_at_a_time(accept, subscriber, settings):  # noqa: F811
    settings.EVENT_RETRY_BASE_SECONDS, settings.EVENT_RETRY_CEILING_SECONDS = 60, 3600
    subscription, _ = subscribe(subscriber.url, ["message.sent"])
    for number in range(30):
        sent(accept, recipient=f"+1555000{number:04}")
    subscriber.answers = [500] * 30
    tasks.tell()
    assert len(subscriber.told) < 12
    asked = len(subscriber.told)
    Subscription.objects.update(retry_at=timezone.now())
    tasks.tell()
    assert len(subscriber.told) == asked + 1
    subscription.refresh_from_db()
    assert (subscription.status, subscription.retry_at > timezone.now()) == ("failing", True)


def until(condition):
    for _ in range(200):
        if condition():
            return
        threading.Event().wait(0.05)
    raise AssertionError("It never came.")


def test_a_slow_subscriber_keeps_no_other_waiting_not_even_with_what_happens_meanwhile(accept, subscriber):  # noqa: F811
    with listening() as slow:
        slow.open_door.clear()
        subscribe(slow.url, ["message.sent"]), subscribe(subscriber.url, ["message.sent"])
        for number in range(12):
            sent(accept, recipient=f"+1555000{number:04}")
        teller = threading.Thread(target=in_threads, args=(1, lambda number: tasks.tell()))
        teller.start()
        until(lambda: len(subscriber.told) == 12)
        sent(accept, recipient="+15550009999")
        assert tasks.tell().endswith("busy")
        until(lambda: len(subscriber.told) == 13)
        assert len(slow.told) == telling.TOLD_AT_ONCE_TO_ONE
        slow.open_door.set()
        teller.join()
    assert len(slow.told) == 13


def test_of_a_subscriber_and_of_a_client_only_so_many_are_under_way_and_the_others_come_first(accept):  # noqa: F811
    shop = Client.objects.create(name="shop")
    many = [subscribe("http://127.0.0.1:9/", ["message.sent"], shop)[0] for _ in range(3)]
    for number in range(5):
        sent(accept, recipient=f"+1555000000{number}")
    telling.note_events()
    under_way = Counter(each.subscription_id for each in claimed(99, each=2, each_client=5))
    assert sorted(under_way.values()) == [1, 2, 2]
    assert claimed(99, each=2, each_client=5) == []
    subscribe("http://127.0.0.1:9/", ["message.sent"])
    sent(accept)
    telling.note_events()
    [other] = claimed(1, each=3, each_client=9)
    assert other.subscription_id not in {each.pk for each in many}


def test_what_is_under_way_is_not_told_a_second_time_when_its_subscriber_is_enabled(accept):  # noqa: F811
    subscription, _ = subscribe("http://127.0.0.1:9/", ["message.sent"])
    sent(accept)
    telling.note_events()
    Subscription.objects.update(failures=9)
    assert len(claimed(9)) == 1
    subscription.refresh_from_db()
    subscription.enable()
    subscription.save()
    assert claimed(9) == []


def test_who_is_gone_for_good_is_told_nothing_more_and_it_shows(accept, subscriber):  # noqa: F811
    subscription, _ = subscribe(subscriber.url, ["message.sent"])
    subscriber.answers = [410]
    sent(accept)
    tasks.tell()
    subscription.refresh_from_db()
    assert (subscription.status, subscription.disabled_because) == ("disabled", "It answered 410 Gone.")
    tasks.tell()
    assert len(subscriber.told) == 1


def test_who_takes_nothing_for_days_is_disabled_and_enabled_again_gets_all_of_it(accept, subscriber):  # noqa: F811
    subscription, _ = subscribe(subscriber.url, ["message.sent"])
    Subscription.objects.update(failing_since=timezone.now() - timedelta(days=6), failures=9)
    sent(accept)
    subscriber.answers = [500]
    tasks.tell()
    subscription.refresh_from_db()
    assert subscription.disabled_because.startswith("Nothing was taken since ")
    sent(accept)
    tasks.tell()
    assert len(subscriber.told) == 1
    subscription.enable()
    subscription.save()
    tasks.tell()
    assert len(subscriber.told) == 3


def test_what_is_given_up_lets_the_next_go_and_can_be_replayed(accept, subscriber, settings):  # noqa: F811
    settings.EVENT_GIVE_UP_SECONDS = 0
    subscribe(subscriber.url, ["message.sent", "message.delivered"])
    sent(accept)
    subscriber.answers = [500]
    tasks.tell()
    assert list(Delivery.objects.order_by("sequence").values_list("status", flat=True)) == ["failed", "delivered"]
    assert len(Delivery.objects.filter(status="failed").replay(limit=9)) == 1
    tasks.tell()
    assert subscriber.types[-1] == "message.sent"
    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered"}


def test_the_log_says_what_was_answered_and_how_long_it_took(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url, ["message.sent"])
    subscriber.answers = [503]
    sent(accept)
    telling.note_events()
    delivery = Delivery.objects.get()
    delivery.write_down(telling.post(delivery))
    assert (delivery.response_status, delivery.response_text, delivery.error) == (503, "ok", "It answered 503.")
    assert delivery.duration_ms is not None


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://192.0.2.1/"])
def test_who_can_not_or_must_not_be_reached_has_the_reason_in_the_log(accept, url):  # noqa: F811
    subscribe(url, ["message.sent"])
    sent(accept)
    telling.note_events()
    told = telling.post(Delivery.objects.get())
    assert not told.is_taken
    assert told.error in ("The connection to the server failed.", "Only https can be fetched.")


def test_a_redirect_is_no_way_to_somewhere_else(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url, ["message.sent"])
    subscriber.answers, subscriber.headers = [307], {"Location": f"{subscriber.url}/elsewhere"}
    sent(accept)
    telling.note_events()
    assert telling.post(Delivery.objects.get()).error == "It answered 307."
    assert len(subscriber.told) == 1


def test_who_asks_for_patience_gets_it(accept, subscriber, settings):  # noqa: F811
    settings.EVENT_RETRY_CEILING_SECONDS = 3600
    subscribe(subscriber.url, ["message.sent"])
    subscriber.answers, subscriber.headers = [429], {"Retry-After": "600"}
    sent(accept)
    tasks.tell()
    assert Delivery.objects.get().next_attempt_at > timezone.now() + timedelta(minutes=9)


def test_for_a_day_both_secrets_are_good(accept, subscriber):  # noqa: F811
    subscription, old = subscribe(subscriber.url, ["message.sent"])
    new = subscription.new_secret()
    subscription.save()
    sent(accept)
    tasks.tell()
    assert all(verified(secret, *subscriber.told[0]) for secret in (old, new))
    assert len(subscription.signing_secrets()) == 2


def test_secrets_outlive_a_change_of_the_secret_key_and_are_useless_without_one(subscriber, settings):
    subscription, secret = subscribe(subscriber.url)
    assert secret.removeprefix("whsec_") not in subscription.encrypted_secrets
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a-new-key-only-for-tests"
    assert list(subscription.signing_secrets()) == [secret]
    settings.SECRET_KEY_FALLBACKS = []
    assert list(subscription.signing_secrets()) == []


def test_what_is_erased_is_gone_from_the_log_too(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url)
    message = accept()
    Message.objects.update(status="canceled", next_attempt_at=None)
    telling.note_events()
    assert message.conversation.erase()
    assert not Delivery.objects.exists()


def test_changes_of_a_conversation_are_told(client, subscriber):
    subscribe(subscriber.url)
    body = {"participant_from": "ann@example.com", "participant_to": "bob@example.com"}
    made = client.post("/api/v1/conversations/", body, content_type="application/json").json()
    client.post("/api/v1/conversations/", body, content_type="application/json")
    path = f"/api/v1/conversations/{made['id']}"
    for change in ({"title": "Hello"}, {"title": "Hello"}, {"status": "closed"}):
        client.patch(path, change, content_type="application/json")
    client.delete(path)
    tasks.tell()
    assert subscriber.types == ["conversation.created", "conversation.updated", "conversation.closed"]
    assert Conversation.objects.get().status == "closed"


def test_old_deliveries_are_forgotten(accept, subscriber, settings):  # noqa: F811
    subscribe(subscriber.url)
    sent(accept)
    tasks.tell()
    Delivery.objects.update(created_at=timezone.now() - timedelta(days=settings.RECEIPT_RETENTION_DAYS + 1))
    tasks.tell()
    assert not Delivery.objects.exists()
    assert MessageEvent.objects.exists()


@pytest.mark.parametrize("gone", [Subscription, Conversation])
def test_what_is_deleted_while_it_is_told_stays_deleted_and_breaks_nothing(accept, subscriber, gone):  # noqa: F811
    subscribe(subscriber.url)
    accept()
    telling.note_events()
    [delivery] = claimed(1)
    gone.objects.all().delete()
    delivery.write_down(Told(duration_ms=1, status=200))
    assert not Delivery.objects.exists()


def test_the_end_of_a_try_that_somebody_has_repeated_changes_nothing(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url)
    accept()
    telling.note_events()
    [first] = claimed(1)
    Delivery.objects.filter(pk=first.pk).update(leased_until=timezone.now())
    [second] = claimed(1)
    second.write_down(Told(duration_ms=1, status=200))
    first.write_down(Told(duration_ms=9, status=500))
    assert Delivery.objects.get(pk=first.pk).status == "delivered"


def test_a_disabled_client_is_told_nothing_until_it_is_one_again(accept, subscriber):  # noqa: F811
    shop = Client.objects.create(name="shop", disabled_at=timezone.now())
    subscribe(subscriber.url, client=shop)
    accept()
    tasks.tell()
    assert subscriber.told == []
    Client.objects.update(disabled_at=None)
    tasks.tell()
    assert subscriber.types[:1] == ["conversation.created"]


def test_a_lost_secret_is_mended_by_a_new_one(subscriber, settings):
    subscription, _ = subscribe(subscriber.url)
    settings.SECRET_KEY = "another-key-another-key-another-key-anot"
    secret = subscription.new_secret()
    assert list(subscription.signing_secrets()) == [secret]


def test_what_media_may_come_from_is_no_place_to_be_told(settings):
    settings.TRUST_LOCAL_REQUESTS, settings.FETCH_ALLOW = False, ["127.0.0.1:9"]
    assert telling.allowed("http://127.0.0.1:9/") == frozenset()


def test_who_is_enabled_again_late_has_what_waited_tried_as_long_as_if_it_were_new(accept, subscriber):  # noqa: F811
    subscription, _ = subscribe(subscriber.url)
    accept()
    telling.note_events()
    Delivery.objects.update(give_up_at=timezone.now() - timedelta(days=1))
    subscription.enable()
    subscription.save()
    subscriber.answers = [500]
    [delivery] = claimed(1)
    delivery.write_down(telling.post(delivery))
    assert Delivery.objects.get(pk=delivery.pk).status == "waiting"


def test_what_happens_again_is_told_again(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url, ["message.expired", "message.delivered", "message.undelivered"])
    message = accept()
    for status in ("expired", "expired", "delivered", "undelivered", "delivered"):
        message.events.create(status=status, evidence="reported", attempt=1)
    tasks.tell()
    assert [each.removeprefix("message.") for each in subscriber.types] == [
        *("expired", "expired", "delivered", "undelivered", "delivered")
    ]


def test_what_was_under_way_when_somebody_subscribed_is_told(accept, subscriber):  # noqa: F811
    """It had its number before, and whoever lists the messages after subscribing does not see it yet."""
    message = accept()
    with another_connection() as under_way:
        under_way.execute(WRITE, [message.pk, "sent"])
        subscribe(subscriber.url, ["message.sent"])
    tasks.tell()
    assert subscriber.types == ["message.sent"]


def test_a_lost_connection_loses_no_result(accept, subscriber, monkeypatch):  # noqa: F811
    subscribe(subscriber.url, ["message.sent"])
    for number in range(3):
        sent(accept, recipient=f"+1555000000{number}")
    telling.note_events()
    take, claims = telling.claim, []

    def claim_once(room):
        claims.append(room)
        if len(claims) == 2:
            raise OperationalError("the connection is lost")
        return take(room)

    monkeypatch.setattr(telling, "claim", claim_once)
    with pytest.raises(OperationalError):
        telling.tell_due()
    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered"}


def test_what_can_not_be_noted_keeps_nobody_from_being_told(accept, subscriber, monkeypatch):  # noqa: F811
    subscribe(subscriber.url, ["message.sent"])
    sent(accept)
    telling.note_events()
    monkeypatch.setattr(telling, "note_some", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tasks.tell()
    assert subscriber.types == ["message.sent"]


def test_the_end_of_a_try_from_before_a_replay_changes_nothing(accept, subscriber):  # noqa: F811
    subscribe(subscriber.url, ["message.sent"])
    sent(accept)
    telling.note_events()
    [first] = claimed(1)
    Delivery.objects.update(status="delivered", leased_until=None)
    Delivery.objects.all().replay(9)
    [second] = claimed(1)
    assert first.attempts == second.attempts
    first.write_down(Told(duration_ms=9, status=200))
    assert Delivery.objects.get().status == "waiting"


def test_a_client_with_many_slow_subscribers_is_behind_one_that_waits(accept):  # noqa: F811
    slow = Client.objects.create(name="slow")
    for _ in range(5):
        subscribe("http://127.0.0.1:9/", ["message.sent"], slow)
    sent(accept)
    telling.note_events()
    assert len(claimed(3)) == 3
    quick, _ = subscribe("http://127.0.0.1:9/", ["message.sent"])
    sent(accept)
    telling.note_events()
    assert [each.subscription_id for each in claimed(1)] == [quick.pk]
