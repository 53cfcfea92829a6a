"""Sessions of staff: what stands of them in the database opens nothing, and they end."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from messaging_project.sessions import SessionStore

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(client, settings):
    """Somebody of staff who has logged in."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # those that are safe are slow
    User.objects.create_user("ann", password="right-and-long", is_staff=True)
    assert client.post(reverse("admin:login"), {"username": "ann", "password": "right-and-long"}).status_code == 302
    return client


def opens(session_key):
    stranger = Client()
    stranger.cookies[django_settings.SESSION_COOKIE_NAME] = session_key
    return stranger.get("/admin/").status_code == 200


def test_the_cookie_opens_the_admin_and_what_stands_in_the_database_does_not(ann):
    assert opens(ann.cookies[django_settings.SESSION_COOKIE_NAME].value)
    assert not opens(Session.objects.get().session_key)


def test_a_session_goes_on_by_a_new_key_alone_and_ends_with_the_logout(ann):
    first = ann.cookies[django_settings.SESSION_COOKIE_NAME].value
    ann.post(reverse("admin:password_change"), {
        "old_password": "right-and-long", "new_password1": "longer-and-right", "new_password2": "longer-and-right",
    })  # fmt: skip
    second = ann.cookies[django_settings.SESSION_COOKIE_NAME].value
    assert (first != second, opens(first), opens(second), Session.objects.count()) == (True, False, True, 1)
    ann.post(reverse("admin:logout"))
    assert (opens(second), Session.objects.count()) == (False, 0)


def test_one_that_is_over_opens_nothing_and_is_forgotten_when_somebody_logs_in(ann, admin_user):
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not opens(ann.cookies[django_settings.SESSION_COOKIE_NAME].value)
    Client().force_login(admin_user)
    assert Session.objects.get().expire_date > timezone.now()


def test_asynchronous_code_meets_the_same_sessions():
    async def used():
        session = SessionStore()
        await session.aset("name", "ann")
        await session.acycle_key()
        found = await SessionStore(session.session_key).aget("name")
        rows = [each.session_key async for each in Session.objects.all()]
        in_clear = session.session_key in rows
        await session.aflush()
        return found, len(rows), in_clear, await Session.objects.acount()

    assert async_to_sync(used)() == ("ann", 1, False, 0)
