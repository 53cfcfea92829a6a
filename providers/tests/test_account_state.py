"""The state of an account, and what staff can do about it."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError
from django.urls import reverse
from django.utils import timezone

from providers.models import AccountState, account_resumed

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:providers_accountstate_changelist")


@pytest.fixture
def staff(client):
    """A browser in which somebody is logged in who may see accounts, and a way to let them change some."""
    user = User.objects.create_user("ann", is_staff=True)

    def may(*permissions):
        user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return may


def act(client, action, *rows):
    return client.post(PAGE, {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True)


def pause(*channels, probe_at=None, code="20003"):
    AccountState.objects.pause("twilio", channels, code=code, sentence="Credentials refused.", probe_at=probe_at)
    return list(AccountState.objects.order_by("channel"))


def open_breaker():
    now = timezone.now()
    AccountState.objects.open_breaker("twilio", "sms", failures=10, failing_since=now, last="No way.", probe_at=now)
    return AccountState.objects.get(channel="sms")


def test_staff_see_every_account_also_those_that_never_stopped_and_why_one_is(staff):
    pause("sms")
    page = staff("view_accountstate").get(PAGE).content.decode()
    assert AccountState.objects.count() == 3
    for word in ("sendgrid", "email", "paused", "Credentials refused."):
        assert word in page


def test_only_what_was_ever_stopped_has_a_time_since_when_it_is_as_it_is(staff, settings):
    settings.SANDBOX_URL = "http://127.0.0.1:9"
    pause("sms"), AccountState.objects.resume()
    rows = re.findall("<tr>.*?</tr>", staff("view_accountstate").get(PAGE).text.partition("<tbody>")[2])
    [timed] = [row for row in rows if 'field-since nowrap">–<' not in row]
    assert (len(rows), ">twilio<" in timed, ">sms<" in timed) == (6, True, True)
    assert sum("sandbox (tests)" in row for row in rows) == 3


def test_staff_pause_and_resume_and_it_is_written_down_who_did(staff):
    client = staff("view_accountstate", "change_accountstate")
    client.get(PAGE)
    email, sms = AccountState.objects.filter(channel__in=["email", "sms"]).order_by("channel")
    act(client, "pause", email, sms)
    assert set(AccountState.objects.values_list("channel", "state")) == {
        ("email", "paused"),
        ("sms", "paused"),
        ("mms", "running"),
    }
    act(client, "resume", email)
    assert AccountState.objects.get(channel="email").state == "running"
    assert AccountState.objects.get(channel="sms").state == "paused"
    logged = (
        LogEntry.objects.exclude(content_type__model="user")
        .order_by("pk")
        .values_list("change_message", "user__username")
    )
    assert list(logged) == [("Paused.", "ann"), ("Paused.", "ann"), ("Resumed.", "ann")]


@pytest.mark.parametrize("action", ["pause", "rehearse", "resume"])
def test_who_may_only_look_changes_nothing(staff, action):
    client = staff("view_accountstate")
    [sms] = pause("sms") if action == "resume" else [AccountState.objects.create(account="twilio", channel="sms")]
    assert act(client, action, sms).status_code == 403
    assert AccountState.objects.get(channel="sms").state == sms.state
    assert not LogEntry.objects.exclude(content_type__model="user").exists()


def test_a_second_reason_to_pause_changes_neither_the_first_nor_its_time():
    [first] = pause("sms", probe_at=timezone.now())
    [second] = pause("sms", probe_at=timezone.now(), code="20005")
    assert (second.code, second.since, second.probe_at) == (first.code, first.since, first.probe_at)


def test_a_persons_pause_takes_the_probe_away_and_lets_the_clock_stand_where_it_stood():
    [first] = pause("sms", probe_at=timezone.now())
    [second] = pause("sms", code="paused_by_staff")
    assert (second.code, second.probe_at, second.since) == ("paused_by_staff", None, first.since)


def test_a_pause_is_stronger_than_a_breaker_and_no_breaker_opens_in_a_pause():
    open_breaker()
    [paused] = pause("sms", probe_at=timezone.now())
    assert (paused.state, paused.failures, paused.failing_since) == ("paused", 0, None)
    assert open_breaker().state == "paused"


def test_a_probe_of_a_breaker_decides_nothing_about_a_pause_that_came_meanwhile():
    row = open_breaker()
    pause("sms", probe_at=timezone.now())
    assert AccountState.objects.decided_by_probe(row).resume() == []
    assert not AccountState.objects.take_probe(row, timedelta(seconds=1))


def test_resuming_tells_once_since_when_the_clock_stood_still():
    heard = []

    def hear(channel, stopped_at, **_):
        heard.append((channel, stopped_at))

    account_resumed.connect(hear)
    [mms] = pause("mms")
    open_breaker()
    AccountState.objects.all().resume()
    AccountState.objects.all().resume()
    assert heard == [("mms", mms.since), ("sms", None)]


def test_an_account_has_one_state_on_a_channel():
    AccountState.objects.create(account="twilio", channel="sms")
    with pytest.raises(IntegrityError):
        AccountState.objects.create(account="twilio", channel="sms")


def rehearse():
    sms = AccountState.objects.create(account="twilio", channel="sms")
    assert AccountState.objects.rehearse(sms, timedelta(minutes=10))
    return AccountState.objects.get()


def test_an_account_that_is_pretended_to_be_down_runs_again_when_the_time_is_over_and_not_before():
    row = rehearse()
    assert (row.state, row.code) == ("paused", "pretended_down")
    assert AccountState.objects.end_rehearsals() == []
    AccountState.objects.update(probe_at=timezone.now())
    assert [each.state for each in AccountState.objects.end_rehearsals()] == ["running"]


def test_a_pause_of_another_kind_does_not_end_with_a_rehearsal():
    pause("sms", probe_at=timezone.now())
    assert AccountState.objects.end_rehearsals() == []


def test_what_is_stopped_already_is_not_pretended_to_be_down():
    [row] = pause("sms")
    assert not AccountState.objects.rehearse(row, timedelta(minutes=10))
    assert AccountState.objects.get().code == "20003"


def test_staff_pretend_that_an_account_is_down_and_it_is_written_down_who_did(staff):
    client = staff("view_accountstate", "change_accountstate")
    [sms] = pause("sms")
    mms = AccountState.objects.create(account="twilio", channel="mms")
    page = act(client, "rehearse", sms, mms).content.decode()
    assert "Left as they are: 1, stopped already." in page
    assert list(LogEntry.objects.exclude(content_type__model="user").values_list("user__username", "object_id")) == [
        ("ann", str(mms.pk))
    ]
