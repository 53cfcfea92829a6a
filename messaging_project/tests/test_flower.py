"""Flower as `make run` starts it: who gets in, and what operators see of queues, tasks and retries."""

import base64

from messaging_project.tests.test_journeys import delivered, send, wait_until


def flower(stack, path, password=None):
    shown = base64.b64encode(f"admin:{password or stack.env['FLOWER_PASSWORD']}".encode()).decode()
    url = f"http://127.0.0.1:{stack.settings.ports['FLOWER_PORT']}{path}"
    return stack.call("GET", url, headers={"Authorization": f"Basic {shown}"})


def tasks_of(stack, message_id):
    found = flower(stack, "/api/tasks?limit=50").json or {}
    return [task for task in found.values() if message_id in task["args"]]


def test_nobody_gets_in_without_the_password(stack):
    for path in ("/", "/tasks", "/broker", "/workers", "/api/tasks", "/api/workers"):
        assert flower(stack, path, password="wrong").status == 401
        assert flower(stack, path).status == 200


def test_every_queue_is_shown(stack):
    page = flower(stack, "/broker").text
    assert all(queue in page for queue in ("sms", "mms", "email", "sweep", "events"))


def test_a_task_shows_its_message_by_id_alone_its_retries_and_its_result(stack):
    stack.post(f"{stack.sandbox_url}/faults", {"provider": "twilio", "fault": "429"})
    message_id = send(stack, 7310, body="nobody's business")
    delivered(stack, [message_id])
    (task,) = wait_until(lambda: [task for task in tasks_of(stack, message_id) if task["result"]])
    assert (task["args"], task["kwargs"]) == (f"('{message_id}',)", "{}")
    assert (task["retries"], task["result"]) == (1, "'sent 1'")
    assert "WaitsForRetry" in task["exception"]
    everything = flower(stack, "/api/tasks?limit=500").text
    assert "nobody's business" not in everything
    assert "+1555987" not in everything
