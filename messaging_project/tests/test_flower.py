"""Flower as `make run` starts it: who gets in, and what operators see of queues, tasks and retries."""

import base64
import time

import pytest

from messaging_project.tests.test_journeys import delivered, send, wait_until


def ask(stack, path, password=None, method="GET"):
    shown = base64.b64encode(f"admin:{password or stack.env['FLOWER_PASSWORD']}".encode()).decode()
    url = f"http://127.0.0.1:{stack.settings.ports['FLOWER_PORT']}{path}"
    return stack.call(method, url, headers={"Authorization": f"Basic {shown}"})


@pytest.fixture
def flower(stack):
    """The stack, once Flower hears the worker of sms: what it had heard before it lost the broker does not tell."""
    began = time.time()

    def hears_it():
        try:
            workers = ask(stack, "/workers?json=1").json["data"]
        except OSError:
            return False
        heard = [beat for each in workers if each["hostname"].startswith("sms@") for beat in each["heartbeats"]]
        return max(heard, default=0) > began

    wait_until(hears_it)
    return stack


def test_nobody_gets_in_without_the_password(flower):
    for path in ("/", "/tasks", "/broker", "/workers", "/api/tasks", "/api/workers"):
        assert ask(flower, path, password="wrong").status == 401
        assert ask(flower, path).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/worker/shutdown/sms@host",
        "/api/worker/queue/cancel-consumer/sms@host?queue=sms",
        "/api/task/apply/conversations.send_sms",
        "/api/task/async-apply/conversations.send_sms",
        "/api/task/send-task/conversations.send_sms",
        "/api/task/revoke/1?terminate=true",
    ],
)
def test_it_shows_and_changes_nothing(flower, path):
    """The worker is nobody's: who lets it be shut down says 404 instead."""
    refused = ask(flower, path, method="POST")
    assert (refused.status, "Read only" in refused.text) == (403, True)


def test_every_queue_is_shown(flower):
    def all_shown():
        ask(flower, "/api/workers?refresh=1")  # it shows the queues of those who answered when it last asked
        page = ask(flower, "/broker").text
        return all(f"<td>{queue}</td>" in page for queue in ("sms", "mms", "email", "sweep", "events"))

    wait_until(all_shown)


def test_a_task_shows_its_message_by_id_alone_its_retries_and_its_result(flower):
    def retried():
        tasks = (ask(flower, "/api/tasks?limit=50").json or {}).values()
        return [task for task in tasks if message_id in task["args"] and task["retries"] and task["result"]]

    flower.post(f"{flower.sandbox_url}/faults", {"provider": "twilio", "fault": "429"})
    message_id = send(flower, 7310, body="nobody's business")
    delivered(flower, [message_id])
    (task,) = wait_until(retried)
    assert (task["args"], task["kwargs"], task["retries"]) == (f"('{message_id}',)", "{}", 1)
    assert message_id in ask(flower, f"/task/{task['uuid']}").text
    assert "Shut Down" not in ask(flower, f"/worker/{task['worker']}").text
    everything = ask(flower, "/api/tasks?limit=500").text
    assert "nobody's business" not in everything
    assert "+1555987" not in everything
