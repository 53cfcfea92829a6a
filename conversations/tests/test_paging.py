"""Lists of the admin that are not counted to their end."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from conversations.admin import paging
from conversations.admin.paging import CappedPaginator

pytestmark = pytest.mark.django_db


@pytest.fixture
def users(monkeypatch):
    monkeypatch.setattr(paging, "COUNTED_AT_MOST", 3)

    def made(count):
        User.objects.bulk_create(User(username=f"user {number}") for number in range(count))
        return User.objects.order_by("username")

    return made


def test_a_short_list_is_counted(users):
    assert str(CappedPaginator(users(3), 2).count) == "3"


def test_a_long_list_is_counted_up_to_a_limit_and_says_so(users, django_assert_num_queries):
    paginator = CappedPaginator(users(5), 2)
    with django_assert_num_queries(1) as asked:
        assert (str(paginator.count), paginator.num_pages) == ("3+", 2)
    assert "LIMIT 4" in asked[0]["sql"]
    assert "ORDER BY" not in asked[0]["sql"]


def test_the_admin_shows_that_there_are_more(users, admin_client, monkeypatch):
    users(5)
    monkeypatch.setattr("django.contrib.auth.admin.UserAdmin.paginator", CappedPaginator)
    monkeypatch.setattr("django.contrib.auth.admin.UserAdmin.list_per_page", 2)
    page = admin_client.get(reverse("admin:auth_user_changelist")).text
    assert "3+ users" in page
    assert "Select all 3+ users" in page
