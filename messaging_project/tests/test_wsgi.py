"""What only the application that gunicorn serves can meet: odd heads, and bodies that break off."""

import io
import json

import pytest

from messaging_project.wsgi import application
from webhooks.models import Receipt


def ask(path, content_type, method="GET", body=b"", length=0):
    """The status and the body of an answer."""
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "a=b", "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(length), "SERVER_NAME": "localhost", "SERVER_PORT": "80", "HTTP_HOST": "localhost",
        "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http", "wsgi.errors": io.StringIO(),
    }  # fmt: skip
    told = []
    answer = application(environ, lambda status, headers: told.append(status))
    return int(told[0].split()[0]), json.loads(b"".join(answer))


@pytest.mark.parametrize(
    "content_type",
    ["a/b; x*=a; x*0*=b", *(f"text/plain; charset={name}" for name in ("base64", "idna", "punycode", "undefined"))],
)
def test_no_content_type_is_a_crash(content_type):
    status, answer = ask("/live", content_type)
    assert (status, answer["status"]) == (200, "alive")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("door", "kind"),
    [("twilio", "application/x-www-form-urlencoded"), ("sendgrid", "multipart/form-data; boundary=x")],
)
def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(door, kind):
    half = b"From=%2B1&To=%2B2&Body=STOPP"
    status, answer = ask(f"/api/v1/webhooks/{door}", kind, "POST", half, len(half) + 60)
    assert (status, answer["code"]) == (503, "body_broke_off")
    assert not Receipt.objects.exists()
