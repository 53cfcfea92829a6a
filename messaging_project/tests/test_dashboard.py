"""The first page of the admin: what it counts, for whom, and how it is read."""

from datetime import timedelta
from itertools import pairwise

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from conversations.models import Message
from messaging_project import dashboard
from messaging_project.audit import record
from messaging_project.charts import LABEL_WIDTH, Chart, Series, round_up
from providers.models import AccountState

pytestmark = pytest.mark.django_db

INDEX, FRAGMENT = reverse("admin:index"), reverse("admin:dashboard")


@pytest.fixture(autouse=True)
def nothing_remembered():
    cache.clear()


@pytest.fixture
def log_in(client):
    def log_in(group):
        user = User.objects.create_user(group, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        client.force_login(user)
        return client

    return log_in


def message(status="delivered", ago=0, seconds=1, **values):
    """A message that was accepted so many minutes ago, and handed over so many seconds later."""
    usual = {"sender": "+15551234567", "recipient": "+15559876543", "type": "sms", "body": "Hello"}
    row = Message(direction="outbound", status="pending", **{"provider": "twilio", **usual, **values})
    row = Message.objects.accept(row, conversation_type="direct")
    at = timezone.now() - timedelta(minutes=ago)
    times = {"settle_at": at, "settle_by": at} if status == "uncertain" else {}
    sent_at = at + timedelta(seconds=seconds) if status in ("sent", "delivered", "undelivered") else None
    next_attempt_at = at if status == "pending" else None
    times |= {"created_at": at, "sent_at": sent_at, "next_attempt_at": next_attempt_at}
    Message.objects.filter(pk=row.pk).update(status=status, **times)
    return row


def test_an_empty_system_says_so_and_shows_no_number_that_is_none(admin_client):
    page = admin_client.get(INDEX).text
    assert "No messages in the last 24 hours." in page
    assert "nothing handed over in the last hour" in page
    for word in ("None", "NaN", '<svg viewBox="0 0 720'):
        assert word not in page


def test_messages_are_counted_by_channel_and_by_outcome_and_charted_with_words(admin_client):
    message("delivered"), message("failed", type="email", provider="sendgrid"), message("pending")
    page = admin_client.get(FRAGMENT).text
    for words in ("SMS <strong>2</strong>", "Email <strong>1</strong>", "not reached <strong>1</strong>"):
        assert words in page
    assert "(1 delivered, 1 waiting, 1 not reached)</title>" in page
    assert "3 in all, at most 3 in an hour" in page


def test_the_delivery_rate_is_of_those_whose_fate_is_known():
    counts = [(None, "sms", status, number) for status, number in [("delivered", 3), ("failed", 1), ("sent", 9)]]
    assert dashboard.delivery_rate(counts).percent == "75.0 %"
    assert dashboard.delivery_rate([]).percent == "–"


def test_what_is_of_a_test_is_not_counted(admin_client):
    for status in ("delivered", "pending", "unresolved", "uncertain"):
        message(status, test=True)
    shown = admin_client.get(FRAGMENT)
    board = shown.context["dashboard"]
    assert (board["total"], board["handed_over"]["count"]) == (0, 0)
    assert board["doubts"] == {"uncertain": "0", "unresolved": "0"}
    assert all(queue["depth"] == "0" for queue in dashboard.queues())


def test_the_time_to_hand_over_is_counted_from_the_time_that_was_asked_for():
    for seconds in (1, 2, 3):
        message(seconds=seconds)
    late = message(ago=50, seconds=50 * 60)
    assert dashboard.handed_over()["p50"] == "2.5 s"
    Message.objects.filter(pk=late.pk).update(send_at=timezone.now() - timedelta(seconds=2))
    assert dashboard.handed_over()["p95"] != "–"
    assert dashboard.handed_over()["p50"] == "2.0 s"


def test_the_week_holds_what_the_day_does_not(admin_client):
    message(ago=3 * 24 * 60), message(ago=10 * 24 * 60), message()
    assert admin_client.get(FRAGMENT).context["dashboard"]["total"] == 1
    assert admin_client.get(FRAGMENT, {"range": "7d"}).context["dashboard"]["total"] == 2
    assert admin_client.get(FRAGMENT, {"range": "nonsense"}).context["dashboard"]["total"] == 1


def test_queues_say_how_much_is_due_since_when_and_that_nobody_works_there(admin_client):
    message("pending", ago=3)
    sms = next(queue for queue in dashboard.queues() if queue["name"] == "sms")
    assert (sms["depth"], sms["oldest"], sms["workers"]) == ("1", "3 min", 0)
    assert ">none<" in admin_client.get(FRAGMENT).text


def test_doubts_lead_to_the_list_of_those_that_need_a_person(admin_client):
    message("unresolved")
    page = admin_client.get(FRAGMENT).text
    link = f"{reverse('admin:conversations_notreached_changelist')}?status=unresolved"
    assert f'<a href="{link}">1 unresolved</a>' in page
    assert "1 not reached" in admin_client.get(link).text


def test_operators_see_why_an_account_is_stopped_and_the_way_to_flower_and_readers_do_not(log_in, settings, client):
    settings.FLOWER_URL = "https://flower.example.com"
    AccountState.objects.pause("twilio", ["sms"], code="20003", sentence="Credentials refused.", probe_at=None)
    page = log_in("operators").get(FRAGMENT).text
    assert "Credentials refused." in page
    assert page.index("twilio for sms") < page.index("tiles")
    assert "https://flower.example.com" in page
    page = log_in("readers").get(FRAGMENT).text
    assert "Queues" in page
    assert "Credentials refused." not in page
    assert "twilio for sms" not in page
    assert "flower.example.com" not in page


def test_who_reads_no_messages_learns_nothing_of_them(client):
    client.force_login(User.objects.create_user("ann", is_staff=True))
    message()
    assert "Delivery rate" not in client.get(INDEX).text
    assert client.get(FRAGMENT).status_code == 403
    client.logout()
    assert client.get(FRAGMENT).status_code == 302


def test_it_asks_no_more_of_many_messages_than_of_one(admin_client, django_assert_max_num_queries):
    for number in range(20):
        message(ago=number * 70)
    with django_assert_max_num_queries(20):
        admin_client.get(FRAGMENT)
    with django_assert_max_num_queries(19):
        admin_client.get(FRAGMENT)


def test_a_bar_is_as_high_as_its_number_says():
    hours = [dashboard.this_hour() - timedelta(hours=back) for back in (1, 0)]
    chart = Chart(
        "Test", hours, [Series("a", "apples"), Series("b", "pears")], {(hours[0], "a"): 3, (hours[0], "b"): 1}
    )
    [bar] = chart.bars
    apples, pears = bar.parts
    assert apples.height == pytest.approx(3 * pears.height, abs=0.05)
    assert pears.y + pears.height == pytest.approx(apples.y, abs=0.05)
    assert bar.words.endswith("4 (3 apples, 1 pears)")


@pytest.mark.parametrize(("count", "ends_at"), [(24, hour) for hour in range(24)] + [(168, hour) for hour in range(24)])
def test_the_newest_label_is_never_left_out_and_none_stands_on_another(count, ends_at):
    end = dashboard.this_hour().replace(hour=ends_at)
    hours = [end - timedelta(hours=back) for back in reversed(range(count))]
    chart = Chart("Test", hours, [Series("a", "apples")], {})
    newest = next(hour for hour in reversed(hours) if hour.hour % (24 if count > 48 else 4) == 0)
    assert chart.labels[-1].text == f"{newest:%d %b}" if count > 48 else f"{newest:%H:%M}"
    begin = [label.at - (LABEL_WIDTH if label.anchor == "end" else 0) for label in chart.labels]
    assert all(one + LABEL_WIDTH <= other for one, other in pairwise([*begin, chart.right]))


@pytest.mark.parametrize(("most", "end"), [(0, 1), (1, 1), (3, 4), (10, 10), (11, 20), (6213, 7000)])
def test_the_scale_ends_at_a_round_number(most, end):
    assert round_up(most) == end


def test_the_audit_trail_names_who_did_what_by_person_and_day(admin_client, admin_user):
    AccountState.objects.create(account="twilio", channel="sms")
    User.objects.create_user("idler", is_staff=True)
    record(User.objects.create_user("bob", is_staff=True), "Logged in.")
    row = AccountState.objects.get()
    page = reverse("admin:providers_accountstate_changelist")
    admin_client.post(page, {"action": "pause", "_selected_action": [row.pk]})
    trail = reverse("admin:admin_logentry_changelist")
    today = timezone.now()
    day = {"action_time__year": today.year, "action_time__month": today.month, "action_time__day": today.day}
    shown = admin_client.get(trail, {"user__id__exact": admin_user.pk, **day}).text
    assert "Paused." in shown
    assert ("bob" in shown, "idler" in shown) == (True, False)
    assert "twilio, sms" in shown
    assert "Paused." not in admin_client.get(trail, {**day, "action_time__year": today.year - 1}).text
