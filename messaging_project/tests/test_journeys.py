"""Whole journeys, API → queue → worker → provider → callback, on the processes of `make run`."""

import base64
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

EMAIL = {"from": "ann@example.com", "to": "bob@example.com", "type": "email", "body": "Hello", "subject": "Hi"}


def wait_until(condition, seconds=30):
    """Return what `condition` returns as soon as that is true; fail if it never is."""
    give_up_at = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up_at, f"{condition.__name__} did not come true in {seconds} s"
        time.sleep(0.05)
    return found


def send(stack, number=0, **values):
    body = {"from": "+15551234567", "to": f"+1555987{number:04}", "type": "sms", "body": f"Hello {number}", **values}
    answer = stack.post("/api/v1/messages/send", body)
    assert answer.status == 201, answer.text
    return answer.json["id"]


def send_many(stack, count, first):
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda number: send(stack, number), range(first, first + count)))


def message(stack, message_id):
    return stack.get(f"/api/v1/messages/{message_id}").json


def statuses(stack, ids):
    with stack.database() as connection:
        rows = connection.execute("SELECT status FROM conversations_message WHERE id = ANY(%s)", [ids]).fetchall()
    return Counter(status for (status,) in rows)


def ends(stack, ids):
    """How many of these messages stand with which status and error code."""
    with stack.database() as connection:
        query = "SELECT status, error_code FROM conversations_message WHERE id = ANY(%s)"
        return Counter(connection.execute(query, [ids]).fetchall())


def delivered(stack, ids, seconds=30):
    wait_until(lambda: statuses(stack, ids)["delivered"] == len(ids), seconds)


def times_in_ledger(stack, ids):
    rows = stack.get(f"{stack.sandbox_url}/ledger").json["requests"]
    return Counter(row["message_id"] for row in rows if row["message_id"] in set(ids))


@pytest.fixture
def latency(stack):
    """Sets the sandbox's latency in milliseconds; afterwards it is as it was."""

    def set_to(milliseconds):
        assert stack.post(f"{stack.sandbox_url}/settings", {"latency_ms": milliseconds}).status == 200

    yield set_to
    set_to(10)


@pytest.fixture
def broker(stack):
    with redis.Redis.from_url(stack.env["REDIS_URL"]) as client:
        yield client


@pytest.mark.parametrize(
    "values",
    [{"type": "sms"}, {"type": "mms", "attachments": ["https://example.com/image.jpg"]}, EMAIL],
    ids=["sms", "mms", "email"],
)
def test_a_message_of_each_type_is_delivered(stack, values):
    message_id = send(stack, **values)
    delivered(stack, [message_id])
    found = message(stack, message_id)
    assert (found["attempts"], found["type"]) == (1, values["type"])
    assert found["provider_message_id"]
    assert times_in_ledger(stack, [message_id]) == {message_id: 1}


def test_the_conversation_holds_what_was_sent(stack):
    ids = [send(stack, 1000), send(stack, 1000)]
    conversation_id = message(stack, ids[0])["conversation_id"]
    conversation = stack.get(f"/api/v1/conversations/{conversation_id}?include_messages=true").json
    assert [each["id"] for each in conversation["messages"]] == ids
    assert conversation["message_count"] == 2


def test_a_message_that_was_queued_before_its_worker_started_is_delivered(stack, broker):
    stack.stop_workers()
    try:
        message_id = send(stack, 1100)
        assert broker.llen("sms") == 1
        assert message(stack, message_id)["status"] == "pending"
    finally:
        stack.start_workers()
    delivered(stack, [message_id], 60)
    assert broker.llen("sms") == 0


def test_a_worker_that_is_told_to_go_leaves_no_doubt_behind(stack, latency):
    latency(2000)
    ids = send_many(stack, 30, 1200)
    wait_until(lambda: statuses(stack, ids)["sending"])
    stack.stop_workers()
    assert set(statuses(stack, ids)) <= {"pending", "sent", "delivered"}
    stack.start_workers()
    delivered(stack, ids, 60)
    assert set(times_in_ledger(stack, ids).values()) == {1}


def test_what_a_killed_worker_held_is_settled_and_sent_once(stack, latency):
    latency(1000)
    ids = send_many(stack, 50, 1300)
    wait_until(lambda: len(times_in_ledger(stack, ids)) > 20)
    leader = stack.pids("sms")[0]
    os.kill(leader, signal.SIGKILL)
    meanwhile = send(stack, 1399)
    wait_until(lambda: [pid for pid in stack.pids("sms")[:1] if pid != leader])
    delivered(stack, [*ids, meanwhile], 90)
    assert set(times_in_ledger(stack, ids).values()) == {1}


def test_sends_are_accepted_while_redis_is_dead_and_delivered_when_it_is_back(stack):
    os.kill(stack.pids("valkey")[0], signal.SIGKILL)
    ids = send_many(stack, 20, 1500)
    delivered(stack, ids, 60)
    assert set(times_in_ledger(stack, ids).values()) == {1}


def test_sends_are_accepted_while_redis_is_frozen_and_delivered_when_it_thaws(stack):
    frozen = stack.pids("valkey")[0]
    os.kill(frozen, signal.SIGSTOP)
    try:
        ids = send_many(stack, 20, 1600)
    finally:
        os.kill(frozen, signal.SIGCONT)
    delivered(stack, ids, 60)
    assert set(times_in_ledger(stack, ids).values()) == {1}


def test_a_lost_ring_is_made_good(stack, broker):
    stack.stop_workers()
    try:
        message_id = send(stack, 1700)
        broker.delete("sms")
    finally:
        stack.start_workers()
    delivered(stack, [message_id], 60)


def test_a_refused_connection_is_tried_again_by_celery(stack, broker):
    stack.post(f"{stack.sandbox_url}/faults", {"provider": "twilio", "fault": "429", "count": 1})
    message_id = send(stack, 1800)
    delivered(stack, [message_id])
    assert message(stack, message_id)["attempts"] == 2


def test_poison_in_a_queue_stops_nobody_for_good(stack, broker):
    broker.lpush("sms", "{", '{"headers": {"task": "conversations.no_such_task", "id": "1"}}')
    message_id = send(stack, 1900)
    delivered(stack, [message_id], 60)


def flower_tasks(stack):
    password = base64.b64encode(f"admin:{stack.env['FLOWER_PASSWORD']}".encode()).decode()
    url = f"http://127.0.0.1:{stack.env['FLOWER_PORT']}/api/tasks?limit=1000"
    return stack.call("GET", url, headers={"Authorization": f"Basic {password}"}).json


@pytest.mark.parametrize(
    "values",
    [{"type": "sms"}, {"type": "mms", "attachments": ["https://example.com/image.jpg"]}, EMAIL],
    ids=["sms", "mms", "email"],
)
def test_flower_shows_one_task_for_each_message_at_rest(stack, values):
    """Whoever answers sends what is due, so a ring of an earlier message may have taken this one along."""
    ids = []
    for _ in range(2):
        ids.append(send(stack, 2000, **values))
        delivered(stack, ids)

    def ended():
        tasks = [task for task in flower_tasks(stack).values() if any(each in str(task["args"]) for each in ids)]
        return len(tasks) >= len(ids) and all(task["result"] for task in tasks) and tasks

    tasks = wait_until(ended)
    assert [task["name"] for task in tasks] == [f"conversations.send_{values['type']}"] * len(ids)
    assert {task["result"] for task in tasks} <= {"'sent 1'", "'nothing due'"}


def test_the_sweeps_do_not_bury_the_messages_in_flower(stack):
    assert not [task["name"] for task in flower_tasks(stack).values() if task["name"].endswith(".sweep")]


def test_flower_is_closed_without_its_password(stack):
    assert stack.get(f"http://127.0.0.1:{stack.env['FLOWER_PORT']}/api/tasks").status == 401
