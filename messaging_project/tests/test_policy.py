"""No page of staff loads or runs anything but our own files; each was opened in a browser under that policy."""

from contextlib import closing

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import reverse

from messaging_project.tests.test_roles import ADDS, CHANGES, SEES, path, rows  # noqa: F401


@pytest.fixture
def visit(page, live_server, client):
    """Open a page as a superuser; what it complained of on the console, and what was not found."""
    client.force_login(User.objects.create_superuser("root"))
    complaints, name = [], settings.SESSION_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
    page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def visited(address):
        page.goto(live_server.url + address, wait_until="load")
        return [(address, each) for each in complaints]

    return visited


@pytest.mark.django_db(transaction=True)
def test_every_page_of_the_admin_keeps_the_policy(visit, rows):  # noqa: F811
    addresses = [reverse("admin:index"), reverse("admin:login"), reverse("admin:password_change"), "/api/docs"]
    addresses += [path(label, "changelist") for label in SEES]
    addresses += [path(label, "add") for label in ADDS]
    addresses += [path(label, verb, pk) for label, pk in rows.items() for verb in ("change", "history")]
    assert [complaint for address in addresses for complaint in visit(address)] == []


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/admin/", "/admin/login/", "/admin/nothing/", "/admin/jsi18n/"])
def test_every_answer_of_the_admin_has_the_policy(client, address):
    policy = client.get(address)["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/", "/live", "/api/v1/messages/", "/unsubscribe/x", "/admin/login/", "/nothing"])
def test_every_answer_says_what_it_may_be_used_for(client, address, settings):
    settings.DEBUG = False
    headers = client.get(address).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Referrer-Policy"] == headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "camera=()" in headers["Permissions-Policy"]


@pytest.mark.django_db
def test_no_cache_keeps_what_the_api_answers(client, settings):
    settings.TRUST_LOCAL_REQUESTS = True
    assert client.get("/api/v1/messages/")["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("address", ["/live", "/api/v1/messages/", "/admin/", "/"])
def test_a_host_that_is_none_of_ours_is_told_what_to_set_and_not_quoted(client, address):
    answer = client.get(address, HTTP_HOST="evil.example.org")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["code"] == "unknown_host"
    assert "ALLOWED_HOSTS" in answer.json()["detail"]
    assert "evil" not in answer.text


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header", ["HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP"]
)
def test_what_a_stranger_says_of_hosts_and_addresses_is_believed_nowhere(client, header):
    """Links are made from PUBLIC_URL; logins are counted by the connection (see test_login)."""
    plain, lied = client.get("/"), client.get("/", **{header: "evil.example.org"})
    assert plain.json() == lied.json()
    assert "evil" not in client.get("/admin/", **{header: "evil.example.org"})["Location"]


@pytest.mark.django_db
def test_the_icon_is_where_browsers_look_for_it(client):
    answer = client.get("/favicon.ico")
    with closing(client.get(answer["Location"])) as icon:
        assert icon.status_code == 200
    assert answer["Location"] in client.get("/admin/login/").text
