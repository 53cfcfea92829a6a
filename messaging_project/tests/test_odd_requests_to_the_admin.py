"""Whatever is written into an address or posted by hand, the admin's pages answer with a sentence, never with a 500."""

from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import NoReverseMatch, reverse

from messaging_project.tests.test_roles import DOES, path

pytestmark = pytest.mark.django_db
NO_IDS = ("nonsense", "\0", "")


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


def test_a_page_of_what_is_no_id_is_not_there(client):
    for model in admin.site._registry:
        for bad in ("nonsense", "\0", "9" * 30):
            address = path(model._meta.label_lower, "change", "ID").replace("ID", quote(bad))
            assert client.get(address).status_code in (302, 404), (model, bad)


def test_there_is_no_way_to_pages_of_rows_outside_the_admin():
    with pytest.raises(NoReverseMatch):
        reverse("admin:view_on_site", args=[1, 1])
