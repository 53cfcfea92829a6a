"""No log of any process holds a body, a number, an address or a key, whatever goes wrong; each names what it is about.

Everything here goes through the processes of `make run`, logging as in production.
"""

import http.client
import json
import re
import socket
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import redis

from messaging_project.local import processes
from messaging_project.tests import test_flower
from messaging_project.tests.log_files import OURS, found_in, lines
from messaging_project.tests.test_flower import flower  # noqa: F401
from messaging_project.tests.test_inbound_journeys import writes
from messaging_project.tests.test_journeys import send, statuses, wait_until

# One word in everything that no log may hold, so that one search finds whatever got out, and from where.
MARK = "xyzzy"
NUMBER, OTHER = "+447700900123", "+447700900456"
SECRETS = rf"(?i){MARK}|447700900"
BREAKS = f"{MARK} breaks"
TROUBLE = """
CREATE FUNCTION trouble() RETURNS trigger AS $$ BEGIN
    RAISE EXCEPTION 'this row: %', NEW.body USING ERRCODE = '23505', DETAIL = NEW.sender, HINT = NEW.recipient;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER refused BEFORE INSERT ON conversations_message FOR EACH ROW
    WHEN (NEW.body LIKE '%breaks%') EXECUTE FUNCTION trouble();
CREATE TRIGGER unwritten BEFORE UPDATE ON conversations_message FOR EACH ROW
    WHEN (NEW.body LIKE '%unwritten%' AND NEW.status = 'sent') EXECUTE FUNCTION trouble();
"""


@contextmanager
def trouble_in_the_database(stack):
    """PostgreSQL refuses some rows, and quotes them while it does."""
    with stack.database() as connection:
        connection.execute(TROUBLE)
    try:
        yield
    finally:
        with stack.database() as connection:
            connection.execute("DROP FUNCTION trouble() CASCADE")


def fault(stack, provider, name):
    assert stack.post(f"{stack.sandbox_url}/faults", {"provider": provider, "fault": name}).status == 200


def line_about(stack, process, **fields):
    """The first line of a process that has these fields, awaited."""

    def found():
        every = (each for each in lines(stack, process) if isinstance(each, dict))
        return next((each for each in every if fields.items() <= each.items()), None)

    return wait_until(found)


def raw(stack, request):
    """What only a broken client sends."""
    with socket.create_connection(("127.0.0.1", urlsplit(stack.url).port), timeout=5) as connection:
        connection.sendall(request.encode())
        return connection.recv(1000)


def test_the_request_id_goes_from_http_through_the_task_to_each_call_of_the_provider(stack):
    fault(stack, "twilio", "429")
    answer = stack.post(
        "/api/v1/messages/send",
        {"from": NUMBER, "to": OTHER, "type": "sms", "body": MARK},
        **{"X-Request-ID": "the-request"},
    )
    message = answer.json
    about = {"request_id": "the-request", "message_id": message["id"], "conversation_id": message["conversation_id"]}
    about |= {"account": "twilio", "queue": "sms", "message": "provider called: NotSent"}
    first = line_about(stack, "sms", **about, attempt=1)
    assert (first["status"], first["error_code"]) == ("pending", "20429")
    second = line_about(stack, "sms", **about | {"message": "provider called: Accepted"}, attempt=2)
    assert second["task_id"]
    web = line_about(stack, "web", request_id="the-request")
    assert (web["endpoint"], web["method"], web["status_code"]) == ("/api/v1/messages/send/", "POST", 201)
    rung = line_about(stack, "sms", request_id="the-request", logger="celery.app.trace")
    assert rung["task_id"]


def test_neither_what_goes_out_nor_what_comes_in_nor_what_goes_wrong_is_logged(stack, flower):  # noqa: F811
    before = crashes_of_tasks(stack)
    ids = everything_that_is_sent(stack)
    everything_that_comes_in(stack)
    everything_that_is_refused(stack)
    with trouble_in_the_database(stack):
        ids += everything_that_crashes(stack)
    wait_until(lambda: not set(statuses(stack, ids)) & {"pending", "sending"})
    stack.call("DELETE", f"{stack.sandbox_url}/faults")  # those that nobody met would be the next test's
    assert found_in(stack.logs, SECRETS) == []
    shown = what_flower_shows_of_crashes(stack, since=len(before))
    assert "Crashed('ValueError')" in shown
    assert "in explained" in shown
    assert re.findall(SECRETS, shown) == []


def everything_that_is_sent(stack):
    """Messages of all kinds, to providers that do everything wrong."""
    for name in ("500", "garbage", "reset"):
        fault(stack, "twilio", name)
        fault(stack, "sendgrid", name)
    mail = {"from": f"{MARK}.from@example.com", "to": f"{MARK}.to@example.com", "subject": f"{MARK} subject"}
    mail |= {"type": "email", "html": f"<p>{MARK}</p>", "metadata": {MARK: MARK}}
    text = {"from": NUMBER, "to": OTHER}
    picture = {"type": "mms", "attachments": [f"https://{MARK}.example.com/{MARK}.png?sig={MARK}"]}
    return [send(stack, body=MARK, **each) for each in (text, mail, text | picture, text, mail, text | picture)]


def everything_that_comes_in(stack):
    writes(stack, **{"from": OTHER, "to": NUMBER, "body": f"{MARK} inbound"})
    writes(stack, "email", **{"from": f"{MARK}@example.com", "to": "in@example.com", "body": MARK, "subject": MARK})
    forms = [f"From=%2B447700900456&To=%2B447700900123&Body={MARK}&MessageSid={MARK}1", f"Body={MARK}", f"{MARK}=%zz"]
    for form in forms:
        ask(stack, "POST", f"/api/v1/webhooks/twilio?{MARK}={MARK}", form, "application/x-www-form-urlencoded")
    ask(stack, "POST", f"/api/v1/webhooks/sendgrid?secret={MARK}", f'[{{"email":"{MARK}@example.com"}}]')
    ask(stack, "POST", f"/api/v1/webhooks/sendgrid?secret={MARK}", f"{{{MARK}")
    ask(stack, "POST", "/api/v1/webhooks/twilio", MARK, **{"X-Twilio-Signature": MARK})


def everything_that_is_refused(stack):
    ask(stack, "GET", f"/api/v1/messages/?to=%2B447700900456&from={MARK}@example.com")
    ask(stack, "GET", f"/api/v1/messages/{NUMBER}/{MARK}")
    ask(stack, "GET", f"/unsubscribe/{MARK}")
    ask(stack, "POST", f"/unsubscribe/{MARK}")
    ask(stack, "GET", "/api/v1/messages/", **{"Authorization": f"Bearer sb_{MARK}", "X-API-Key": MARK})
    ask(stack, "GET", "/health", Host=f"{MARK}.example.com")
    ask(stack, "POST", "/api/v1/messages/send", f'{{"body": "{MARK}')
    ask(stack, "POST", "/api/v1/messages/send", json.dumps({"from": MARK, "to": NUMBER, "type": "sms", MARK: MARK}))
    ask(stack, "POST", "/api/v1/subscriptions/", json.dumps({"url": f"https://u:{MARK}@example.com/", "events": ["*"]}))
    told = {"url": f"http://127.0.0.1:9/{MARK}?token={MARK}", "events": ["message.received"]}
    assert stack.post("/api/v1/subscriptions/", told).status == 201
    ask(stack, "POST", "/admin/login/", f"username={MARK}&password={MARK}", "application/x-www-form-urlencoded")
    ask(stack, "GET", f"/admin/conversations/message/?q={MARK}")
    raw(stack, f"GET /?phone={NUMBER} HTTP/9.9\r\nHost: {MARK}\r\n\r\n")
    raw(stack, f"{MARK} {MARK}\r\n\r\n")
    raw(stack, f"GET / HTTP/1.1\r\nHost: localhost\r\n{MARK} {MARK}: {MARK}\r\n\r\n")
    page = f"http://127.0.0.1:{stack.settings.ports['FLOWER_PORT']}/tasks?search={MARK}"
    ask(stack, "GET", page, Authorization=f"Basic {MARK}")


def everything_that_crashes(stack):
    """In the web process, in a worker, and in what is rung for."""
    body = {"from": NUMBER, "to": OTHER, "type": "sms", "body": BREAKS}
    crashed = stack.post("/api/v1/messages/send", body, **{"X-Request-ID": "the-crash"})
    assert (crashed.status, crashed.json["code"]) == (500, "internal_error")
    logged = line_about(stack, "web", request_id="the-crash", level="error")
    assert "UniqueViolation: 23505" in logged["exception"]
    form = f"From=%2B447700900456&To=%2B447700900123&Body={BREAKS}&MessageSid={MARK}2"
    ask(stack, "POST", "/api/v1/webhooks/twilio", form, "application/x-www-form-urlencoded")
    line_about(stack, "web", message="the receipt could not be applied")
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as broker:
        broker.lpush("sms", task("conversations.send_sms", f"{MARK} is no id"))
    return list(outcomes_that_can_not_be_written(stack))


def outcomes_that_can_not_be_written(stack):
    """One of a message, and of more while Flower knows of none: what is told while it connects anew it never hears."""
    for _ in range(4):
        unwritten = send(stack, body=f"{MARK} unwritten", **{"from": NUMBER, "to": OTHER})
        about = line_about(stack, "sms", message_id=unwritten, message="the outcome could not be written")
        yield unwritten
        wait_until(lambda task=about["task_id"]: task in {each["task_id"] for each in crashes_of_tasks(stack)})
        if processes.wait_until(lambda task=about["task_id"]: task in failures_in_flower(stack), seconds=10):
            return


def crashes_of_tasks(stack):
    """What the log of the worker of texts tells of tasks that ended by an exception."""
    every = (each for each in lines(stack, "sms") if isinstance(each, dict))
    return [each for each in every if each["message"] == "the task crashed"]


def what_flower_shows_of_crashes(stack, since):
    """All that it has of the tasks that crashed, but for what they were called with: one of them is none of ours."""
    listed = failures_in_flower(stack)
    known = {each["task_id"] for each in crashes_of_tasks(stack)[since:]} & set(listed)
    tasks = [*listed.values(), *(test_flower.ask(stack, f"/api/task/info/{each}").json for each in known)]
    return json.dumps([{**each, "args": None, "kwargs": None} for each in tasks])


def failures_in_flower(stack):
    """The tasks that ended by an exception as Flower lists them, by their ids."""
    return test_flower.ask(stack, "/api/tasks?state=FAILURE").json or {}


def task(name, argument):
    """A ring as Celery writes it, about something that is none of ours."""
    headers = {"task": name, "id": "a-task", "argsrepr": argument, "kwargsrepr": MARK, "lang": "py"}
    properties = {"delivery_info": {"exchange": "", "routing_key": "sms"}, "delivery_tag": "a-tag"}
    content = {"content-type": "application/json", "content-encoding": "utf-8", "headers": headers}
    return json.dumps({"body": json.dumps([[argument], {}, {}]), **content, "properties": properties})


def ask(stack, method, path, body=None, kind="application/json", **headers):
    """Ask whatever a client may ask; any answer will do."""
    url = urlsplit(path if path.startswith("http") else f"{stack.url}{path}")
    connection = http.client.HTTPConnection(url.netloc, timeout=15)
    try:
        headers = {"Content-Type": kind, **headers}
        connection.request(method, f"{url.path}?{url.query}", body, headers)
        connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.parametrize("process", OURS)
def test_every_line_of_ours_is_one_object_with_a_time_a_level_and_a_message(stack, process):
    for line in lines(stack, process):
        assert isinstance(line, dict), line
        assert {"timestamp", "level", "logger", "message"} <= set(line)
