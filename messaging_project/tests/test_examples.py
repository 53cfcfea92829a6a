"""The example of every operation, as the schema shows it, does what it says: run by curl against the whole stack."""

import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import schemathesis

from messaging_project.local.servers import free_port
from messaging_project.openapi.collection import generated_schema, operations
from messaging_project.openapi.schema import EXAMPLE_ID
from messaging_project.tests.test_inbound_journeys import download, manage, received, writes
from messaging_project.tests.test_journeys import delivered, message, send, wait_until

pytestmark = pytest.mark.timeout(300)

EXAMPLE = re.compile(r"```bash\n(.*?)\n```", re.DOTALL)
THEM = "+15559876543"
NAMES = [(operation["operationId"], path, method) for path, method, operation in operations(generated_schema())]


def pending(world):
    return send(world.stack, 8001, send_at=(datetime.now(UTC) + timedelta(days=30)).isoformat())


def failed(world):
    message_id = pending(world)
    world.ask("PATCH", f"messages/{message_id}/status", {"status": "failed"})
    return message_id


def conversation(world):
    return message(world.stack, pending(world))["conversation_id"]


def media(world):
    writes(world.stack, "mms", **{"from": THEM})
    url = received(world.stack, THEM)[0]["attachments"][0]
    wait_until(lambda: download(url))
    return url.rpartition("/")[2]


def opt_out(world):
    pair = {"our_address": "+15551234567", "their_address": "+15559878002"}
    return world.ask("POST", "opt-outs", {"channel_type": "sms", **pair})["id"]


def subscription(world):
    """A subscription of a subscriber who is away."""
    hook = {"url": f"http://127.0.0.1:{free_port()}/", "events": ["message.sent"]}
    return world.ask("POST", "subscriptions", hook)["id"]


def subscription_with_a_failed_delivery(world):
    made = subscription(world)
    send(world.stack, 8000)
    wait_until(lambda: world.ask("GET", f"subscriptions/{made}/deliveries")["total"])
    with world.stack.database() as connection:
        given_up = "UPDATE webhooks_delivery SET status = 'failed', next_attempt_at = NULL WHERE subscription_id = %s"
        connection.execute(given_up, [made])
    return made


# What an example needs for its id, by the name of the operation, else by that of the id.
MADE = {
    "message_id": pending,
    "retryMessage": failed,
    "conversation_id": conversation,
    "media_id": media,
    "opt_out_id": opt_out,
    "subscription_id": subscription,
    "listDeliveries": subscription_with_a_failed_delivery,
    "replayDeliveries": subscription_with_a_failed_delivery,
}


class World:
    """A stack in which something of everything is there to be listed, and a key to it."""

    def __init__(self, stack):
        self.stack = stack
        self.key = manage(stack, "create_api_key", "examples", "--scope", "admin").strip()
        delivered(stack, [send(stack, to=THEM, body="Your table is ready.")])
        opt_out(self)
        subscription(self)

    def ask(self, method, path, body=None):
        answer = self.stack.call(method, f"/api/v1/{path}", body, {"Authorization": f"Bearer {self.key}"})
        assert answer.status < 300, answer.text
        return answer.json

    def leave(self):
        """So that others who use the stack may write to the same people, and nobody is told of it."""
        for noun, name in (("opt-outs", "opt_outs"), ("subscriptions", "subscriptions")):
            for each in self.ask("GET", f"{noun}?limit=100")[name]:
                self.ask("DELETE", f"{noun}/{each['id']}")


@pytest.fixture(scope="module")
def world(stack):
    found = World(stack)
    yield found
    found.leave()


@pytest.fixture(scope="module")
def api(stack):
    """The schema that the stack serves."""
    return schemathesis.openapi.from_dict(stack.get("/api/schema?format=json").json)


@pytest.fixture
def run(world, tmp_path):
    """Run a curl command as it stands; its answer."""

    def ran(command):
        body, head = tmp_path / "body", tmp_path / "head"
        body.touch()
        environment = {**world.stack.env, "SWITCHBOARD_KEY": world.key}
        command = f"{command} --silent --show-error --output {body} --dump-header {head}"
        subprocess.run(["bash", "-c", command], env=environment, check=True, timeout=30)
        status, *lines = head.read_text().strip().splitlines()
        headers = {name: [value.strip()] for name, _, value in (line.partition(":") for line in lines)}
        more = {"request": None, "elapsed": 0, "verify": False}
        return schemathesis.Response(int(status.split()[1]), headers, body.read_bytes(), **more)

    return ran


@pytest.mark.parametrize(("name", "path", "method"), NAMES, ids=[name for name, *_ in NAMES])
def test_an_example_does_what_it_says(world, api, run, name, path, method):
    operation = api[path][method]
    [command] = EXAMPLE.findall(operation.definition.raw["description"])
    if EXAMPLE_ID in command:
        [noun] = re.findall(r"\{(\w+)\}", path)
        command = command.replace(EXAMPLE_ID, (MADE.get(name) or MADE[noun])(world))
    answer = run(command)
    assert answer.status_code < 300, answer.text
    operation.validate_response(answer)
    assert answer.status_code == 204 or answer.content
    if answer.headers.get("content-type") == ["application/json"]:
        assert 0 not in (answer.json().get("total"), answer.json().get("replayed")), "The example shows nothing."
