"""Whatever is written into an address or posted by hand, the admin's pages answer with a sentence, never with a 500."""

from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import DateTimeField
from django.urls import NoReverseMatch, reverse

from messaging_project.tests.test_roles import DOES, path

pytestmark = pytest.mark.django_db
NO_IDS = ("nonsense", "\0", "")
HUGE = "9" * 30
ABSURD = [("p", "-1"), ("p", HUGE), ("o", f"99.-99.x.--1.{HUGE}"), ("q", f"%+{HUGE}"), ("id", HUGE), ("a__b", "x")]
ON_TIMES = {"year": "99999", "gte": "99999-01-01", "regex": "("}
IN_FILTERS = {"__exact": HUGE, "__id__exact": HUGE, "__isempty": "x"}


@pytest.fixture(autouse=True)
def root(client):
    client.force_login(User.objects.create_superuser("root"))


@pytest.mark.parametrize(("label", "action"), DOES)
def test_an_action_on_what_is_no_id_does_nothing_and_says_so(client, label, action):
    for bad in NO_IDS:
        answer = client.post(path(label, "changelist"), {"action": action, "_selected_action": [bad]}, follow=True)
        assert (answer.status_code, len(answer.context["messages"])) == (200, 1), bad


def test_a_nul_in_a_query_is_a_bad_request_on_every_list(client):
    for model in admin.site._registry:
        for name in ("status__exact", "provider", "q"):
            answer = client.get(path(model._meta.label_lower, "changelist"), {name: "\0"})
            assert answer.status_code == 400, model


def absurd_queries(model, page):
    """Queries that no link of a list asks."""
    yield from ABSURD
    for each in model._meta.get_fields():
        if isinstance(each, DateTimeField):
            yield from ((f"{each.name}__{lookup}", value) for lookup, value in ON_TIMES.items())
    for each in page.list_filter:
        if isinstance(each, type):
            yield each.parameter_name, HUGE
        else:
            name = each[0] if isinstance(each, tuple) else each
            yield from ((name + lookup, value) for lookup, value in IN_FILTERS.items())


def test_whatever_is_asked_of_a_list_it_answers(client):
    for model, page in admin.site._registry.items():
        address = path(model._meta.label_lower, "changelist")
        for name, value in absurd_queries(model, page):
            answer = client.get(address, {name: value})
            assert answer.status_code == 200 or answer.get("Location") == address, (model, name, value)


@pytest.mark.parametrize("year", ["0", "9999", "99999"])
def test_what_lies_beyond_the_calendar_is_said_to_be_none_of_the_lists(client, year):
    months = {"action_time__year": year, "action_time__month": "12"}
    answer = client.get(path("admin.logentry", "changelist"), months, follow=True)
    assert "does not offer: this is all of it" in answer.text


@pytest.mark.parametrize("label", ["auth.user", "auth.group"])
def test_what_is_no_id_is_not_deleted(client, label):
    forged = {"action": "delete_selected", "_selected_action": ["nonsense"], "post": "yes"}
    assert "is nothing of this list" in client.post(path(label, "changelist"), forged, follow=True).text


def test_a_page_of_what_is_no_id_is_not_there(client):
    for model in admin.site._registry:
        for bad in ("nonsense", "\0", "9" * 30):
            address = path(model._meta.label_lower, "change", "ID").replace("ID", quote(bad))
            assert client.get(address).status_code in (302, 404), (model, bad)


def test_there_is_no_way_to_pages_of_rows_outside_the_admin():
    with pytest.raises(NoReverseMatch):
        reverse("admin:view_on_site", args=[1, 1])
