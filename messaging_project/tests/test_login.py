"""Who guesses passwords is stopped, and told for how long."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

pytestmark = pytest.mark.django_db

LOGIN = reverse("admin:login")


@pytest.fixture(autouse=True)
def ann(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # those that are safe are slow
    return User.objects.create_user("ann", password="right-and-long", is_staff=True)


def log_in(client, password="wrong", username="ann", **headers):
    return client.post(LOGIN, {"username": username, "password": password}, **headers)


def fail(client, times=5, **headers):
    return [log_in(client, **headers) for _ in range(times)][-1]


def test_after_five_wrong_passwords_the_right_one_is_not_taken_either_and_the_page_says_until_when(client):
    answer = fail(client)
    assert answer.status_code == 429
    assert "Come again in 15 minutes" in answer.text
    assert int(answer["Retry-After"]) > 14 * 60
    assert log_in(client, "right-and-long").status_code == 429


def test_four_wrong_passwords_are_forgiven_by_the_right_one(client):
    fail(client, 4)
    assert log_in(client, "right-and-long").status_code == 302
    client.logout()
    assert fail(client, 4).status_code == 200


def test_the_lock_ends_by_itself_however_often_somebody_knocks_meanwhile(client):
    fail(client)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=14))
    assert "Come again in 1 minute," in log_in(client).text
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert log_in(client, "right-and-long").status_code == 302


def test_a_forged_address_is_no_way_around(client):
    for number in range(5):
        answer = log_in(client, headers={"X-Forwarded-For": f"203.0.113.{number}", "User-Agent": f"agent {number}"})
    assert answer.status_code == 429


def test_somebody_elses_name_and_somebody_elses_address_are_not_locked(client):
    fail(client)
    User.objects.create_user("bob", password="right-and-long", is_staff=True)
    assert log_in(client, "right-and-long", "bob").status_code == 302
    assert log_in(client, "right-and-long", REMOTE_ADDR="203.0.113.9").status_code == 302


@pytest.mark.parametrize("name", ["x" * 300, "ann\u0000"])
def test_a_name_that_no_user_can_have_is_refused_like_any_other(client, name):
    assert log_in(client, username=name).status_code == 200


def test_neither_password_nor_name_nor_address_is_logged_or_kept_beside_the_count(client, caplog):
    log_in(client, "my-secret-guess")
    assert "my-secret-guess" not in caplog.text
    attempt = AccessAttempt.objects.get()
    assert "my-secret-guess" not in attempt.post_data
    assert "127.0.0.1" not in caplog.text


def test_the_api_and_the_probes_do_not_know_of_it(client, settings):
    settings.TRUST_LOCAL_REQUESTS = True
    fail(client)
    assert client.get("/api/v1/messages/").status_code == 200
    assert client.get("/live").status_code == 200


def trail():
    return list(LogEntry.objects.order_by("id").values_list("user__username", "change_message"))


def test_who_came_and_went_is_in_the_audit_trail(client):
    log_in(client, "right-and-long")
    client.post(reverse("admin:logout"))
    assert trail() == [("ann", "Logged in."), ("ann", "Logged out.")]


def test_wrong_passwords_are_in_the_audit_trail_until_the_lock_and_never_the_name_of_nobody(client):
    fail(client, 9)
    log_in(client, username="nobody-has-this-name")
    log_in(client, username="ann\u0000")
    assert trail() == [("ann", "A login failed.")] * 5
    assert not LogEntry.objects.filter(object_repr__contains="nobody").exists()
