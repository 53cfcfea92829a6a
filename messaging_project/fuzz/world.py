"""What there is to ask about: a whole stack, a key for each client, and objects whose ids the questions name."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from messaging_project.local import LocalError, control
from messaging_project.local.binaries import CHECKOUT
from messaging_project.local.processes import wait_until
from messaging_project.local.running import RunningStack, stack_environment
from messaging_project.local.settings_file import look

OURS, THEIRS = "+15551234567", "+15559876543"
OUR_MAILBOX, THEIR_MAILBOX = "shop@example.com", "ann@example.com"
# Without DEBUG keys are needed, and pages are as in production.
SETTINGS = {"DEBUG": "false", "LOG_LEVEL": "WARNING"}
METHODS = frozenset({"get", "post", "put", "patch", "delete"})
# A limit that nobody reaches is still counted.
REQUESTS_PER_MINUTE = "1000000"
# How often a question takes a word that is known to lead somewhere; otherwise it takes whatever the schema allows.
OFTEN = 0.8


def in_days(count: int) -> str:
    """A time in the future."""
    return (datetime.now(UTC) + timedelta(days=count)).isoformat()


SMS = {"from": OURS, "to": THEIRS, "type": "sms", "body": "Your table is ready."}
MAIL = {"from": OUR_MAILBOX, "to": THEIR_MAILBOX, "type": "email", "subject": "Order 7", "body": "It is on its way."}
SENDS: list[dict[str, Any]] = [
    SMS,
    MAIL,
    {**SMS, "send_at": in_days(1)},
    {**SMS, "conversation_type": "thread"},
    {**SMS, "from": "+15557654321"},
    {**SMS, "attachments": ["https://example.com/a.png"]},
    {**SMS, "to": "+15550000007"},
]
HOOK = {"url": "https://shop.example.com/switchboard", "events": ["*"]}
# A client of everything, who asks about mails, and one of two addresses, who asks about texts.
CLIENTS: dict[str, dict[str, Any]] = {
    "all": {"senders": [], "asks_about": MAIL},
    "desk": {"senders": [OURS, OUR_MAILBOX], "asks_about": SMS},
}
OPT_OUT = {"channel_type": "sms", "our_address": OURS, "their_address": "+15550000009"}


@dataclass
class World:
    """A running stack in a directory of its own, the clients' keys, and ids by their names in paths and bodies."""

    stack: RunningStack
    place: Path
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)

    def ask(self, client: str, method: str, path: str, body: Any = None) -> Any:
        """Ask as a client; the answer's body. Raises `LocalError` where it is none of 2xx."""
        headers = {"Authorization": f"Bearer {self.keys[client]}"}
        answer = self.stack.call(method, f"/api/v1/{path}", body, headers)
        if answer.status >= 300:
            raise LocalError(f"{method} {path} was answered {answer.status}: {answer.text}")
        return answer.json

    def fill(self) -> None:
        """Make the keys, and some of everything."""
        self.keys = {client: make_key(self.stack, client) for client in CLIENTS}
        self.simulate_inbound()
        sent = [self.ask("all", "POST", "messages/send", each) for each in SENDS]
        incoming = self.ask("all", "GET", "messages?direction=inbound")["messages"]
        self.ids = {
            "message_id": [each["id"] for each in [*sent, *incoming]],
            "conversation_id": sorted({each["conversation_id"] for each in [*sent, *incoming]}),
            "media_id": [path.rsplit("/", 1)[1] for path in self.pictures()],
            "opt_out_id": [self.ask("all", "POST", "opt-outs", OPT_OUT)["id"]],
            "subscription_id": [self.ask(client, "POST", "subscriptions", HOOK)["id"] for client in CLIENTS],
        }

    def simulate_inbound(self) -> None:
        """Let somebody write to us, with a picture; return once that is here. Raises `LocalError` if it never is."""
        command = [
            *("manage.py", "simulate_inbound", "--type", "mms", "--from", THEIRS, "--to", OURS, "--body", "Look")
        ]
        subprocess.run([sys.executable, *command], cwd=CHECKOUT, env=self.stack.env, capture_output=True, check=True)
        if not wait_until(lambda: bool(self.pictures()), seconds=20):
            raise LocalError("The picture that was sent to us did not come in.")

    def pictures(self) -> list[str]:
        """The paths of the pictures that came in."""
        incoming = self.ask("all", "GET", "messages?direction=inbound")["messages"]
        return [path for message in incoming for path in message["attachments"]]

    def operations(self) -> list[str]:
        """What the schema says that there is to ask, as schemathesis calls it: "GET /api/v1/messages"."""
        paths = self.stack.call("GET", "/api/schema", headers={"Accept": "application/json"}).json["paths"]
        return [f"{method.upper()} {path}" for path, verbs in paths.items() for method in verbs if method in METHODS]

    def dictionaries(self, client: str) -> str:
        """What a client may name of this world, as schemathesis takes it (Fuzz Dictionaries, in its guide)."""
        ours, theirs, kind = (CLIENTS[client]["asks_about"][name] for name in ("from", "to", "type"))
        words = {
            **{f"path.{name}": ids for name, ids in self.ids.items()},
            "query.conversation_id": self.ids["conversation_id"],
            "query.parent_id": self.ids["message_id"],
            **{key: [ours] for key in ("query.from", "query.participant", "query.our_address")},
            **{key: [theirs] for key in ("query.to", "query.their_address")},
            **{key: [ours] for key in ("body.from", "body.participant_from", "body.our_address")},
            **{key: [theirs] for key in ("body.to", "body.participant_to", "body.their_address")},
            **{key: [kind] for key in ("body.type", "query.type", "body.channel_type")},
            "body.deliveries[*]": self.ids["message_id"],
            "body.parent_id": self.ids["message_id"],
            "body.attachments[*]": ["https://example.com/a.png"],
            "body.url": [HOOK["url"]],
            "body.query": ["table"],
            "body.send_at": [in_days(1)],
            "body.expires_at": [in_days(2)],
        }
        named = [(f"words{number}", *each) for number, each in enumerate(words.items())]
        values = [f"[dictionaries.{name}]\nvalues = {json.dumps(each)}" for name, _, each in named]
        bound = [f'"{key}" = {{ dictionary = "{name}", probability = {OFTEN} }}' for name, key, _ in named]
        return "\n".join([*values, "[parameters]", *bound])


def make_key(stack: RunningStack, client: str) -> str:
    """A key of a new client, for everything."""
    command = [sys.executable, "manage.py", "create_api_key", client, "--scope", "admin"]
    command += [word for sender in CLIENTS[client]["senders"] for word in ("--sender", sender)]
    command += ["--requests-per-minute", REQUESTS_PER_MINUTE]
    made = subprocess.run(command, cwd=CHECKOUT, env=stack.env, capture_output=True, text=True, check=True)
    return made.stdout.strip()


@contextmanager
def running_world() -> Iterator[World]:
    """A filled world in a temporary directory; stopped and deleted whatever happens."""
    place = Path(tempfile.mkdtemp(prefix="switchboard-fuzz-"))
    place.chmod(0o711)  # as root, PostgreSQL runs as nobody, who has to pass through
    environment = stack_environment(place / "var", **SETTINGS)
    sandbox = environment["SANDBOX_PORT"]
    environment["FETCH_ALLOW"] = f"127.0.0.1:{sandbox},localhost:{sandbox}"
    settings = look(environment)
    try:
        settings, supervisor = control.start_in_background(settings, throw_away=True)
        world = World(RunningStack(settings), place)
        world.fill()
        yield world
        control.stop(settings.var)
        supervisor.wait(30)
    finally:
        control.stop(settings.var)
        control.reset(settings.var)
        shutil.rmtree(place, ignore_errors=True)
