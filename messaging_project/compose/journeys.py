"""What has to go well on the services of docker-compose.yml, in production settings: a test client's messages are
delivered, an answer comes in, staff and operators get their pages, and a restart loses and doubles nothing.
"""

import base64
import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from messaging_project.compose import ComposeError
from messaging_project.compose.host import Host
from messaging_project.local.probe import local_http
from messaging_project.local.processes import wait_until

WEB, FLOWER, SANDBOX = "http://127.0.0.1:8080", "http://127.0.0.1:5555", "http://127.0.0.1:8091"
PHONES = {"from": "+15551234567", "to": "+15559876543"}
MESSAGES: tuple[dict[str, Any], ...] = (
    {**PHONES, "type": "sms", "body": "Hello"},
    {**PHONES, "type": "mms", "body": "Look", "attachments": ["https://example.com/image.jpg"]},
    {"from": "shop@example.com", "to": "ann@example.org", "type": "email", "subject": "Hello", "body": "Hello"},
)
PATIENCE_SECONDS = 30.0
AFTER_WEB = ("worker-sms", "worker-mms", "worker-email", "worker-events", "sweeper", "beat", "flower")
SLOW_CALLS_MS, USUAL_CALLS_MS = 3000, 50


@dataclass
class Client:
    """A client of the API that comes through the reverse proxy before it, as compose wants one."""

    public_url: str
    key: str = ""
    sent: list[str] = field(default_factory=list)

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """GET, or POST a body; the status and the body, as JSON where it is some."""
        proxied = {"Host": urlsplit(self.public_url).netloc, "X-Forwarded-Proto": "https"}
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return ask(f"{WEB}{path}", body, **proxied, **key, **headers)

    def send(self, message: dict[str, Any]) -> str:
        """Send; the id. Raises `ComposeError` when it is not taken."""
        status, answer = self.ask("/api/v1/messages/send", message)
        if status != 201:
            raise ComposeError(f"A message was answered {status}: {answer}")
        self.sent.append(answer["id"])
        return str(answer["id"])

    def await_delivery(self, *ids: str) -> None:
        """Wait until messages are delivered. Raises `ComposeError`."""
        waiting = dict.fromkeys(ids, "")

        def all_delivered() -> bool:
            for each in list(waiting):
                waiting[each] = self.ask(f"/api/v1/messages/{each}")[1]["status"]
                if waiting[each] == "delivered":
                    del waiting[each]
            return not waiting

        if not wait_until(all_delivered, seconds=PATIENCE_SECONDS, pause=0.5):
            raise ComposeError(f"Not delivered after {PATIENCE_SECONDS:g} s: {dict(Counter(waiting.values()))}")

    def was_in_doubt(self, message_id: str) -> bool:
        """Whether it was ever unclear if a message had been sent."""
        events = self.ask(f"/api/v1/messages/{message_id}/events")[1]["events"]
        return any(event["status"] == "uncertain" for event in events)


def ask(url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """GET, or POST a body as JSON; an error status is an answer like any other. 0 where nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **named})  # noqa: S310
    try:
        with local_http.open(request, timeout=15) as answer:
            return answer.status, parsed(answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, parsed(refusal.read())
    except OSError:
        return 0, None


def parsed(body: bytes) -> Any:
    """JSON, or the text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def expect(found: Any, wanted: Any, what: str) -> None:
    """Raise `ComposeError` unless both are equal."""
    if found != wanted:
        raise ComposeError(f"{what}: {found} instead of {wanted}")


class Journeys:
    """The journeys on one host. Each raises `ComposeError` when it does not end well."""

    def __init__(self, host: Host, settings: dict[str, str]) -> None:
        self.host = host
        self.settings = settings
        self.client = Client(settings["PUBLIC_URL"])

    def all(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """What is done, in words, and what does it; in this order."""
        yield "without a key nobody gets in", self.strangers
        yield "an SMS, an MMS and an email are delivered", self.messages
        yield "an answer comes in", self.answer
        yield "the admin has its page and its style sheet", self.admin
        yield "Prometheus and Flower answer those who know their passwords", self.operators
        yield "nothing can be written to but /tmp and the media", self.writing
        yield "manage.py verify_queue passes as docs/ops says", self.verification
        yield "web, then everything else, is made anew under load; nothing is lost, doubled or in doubt", self.restart

    def strangers(self) -> None:
        """The API wants a key, and plain HTTP is sent to where it is spoken encrypted."""
        expect(self.client.ask("/api/v1/messages/")[0], 401, "The API without a key")
        self.client.key = self.host.run("web", "python", "manage.py", "create_api_key", "desk", "--test").split()[-1]

    def messages(self) -> None:
        """One of each type."""
        self.client.await_delivery(*map(self.client.send, MESSAGES))

    def answer(self) -> None:
        """The phone writes back, and what it wrote is in the conversation."""
        wish = {"type": "sms", "from": PHONES["to"], "to": PHONES["from"], "body": "An answer", "wait": True}
        status, answer = ask(f"{SANDBOX}/inbound", wish)
        expect((status, answer["messages"][0]["callbacks"]), (201, [200]), "What came of an answer")
        found = self.client.ask("/api/v1/messages/?direction=inbound")[1]["messages"]
        expect([each["body"] for each in found], ["An answer"], "What came in")

    def admin(self) -> None:
        """The login page, and a file that it needs."""
        status, page = self.client.ask("/admin/login/")
        expect((status, "/static/admin/css/base.css" in page), (200, True), "The login page of the admin")
        expect(self.client.ask("/static/admin/css/base.css")[0], 200, "The style sheet of the admin")

    def operators(self) -> None:
        """Neither shows anything to a stranger."""
        expect(self.client.ask("/metrics")[0], 401, "/metrics without the token")
        token = f"Bearer {self.settings['METRICS_TOKEN']}"
        metrics = ask(f"{WEB}/metrics", Authorization=token)
        expect((metrics[0], 'queue_depth{queue_name="sms"}' in metrics[1]), (200, True), "/metrics with the token")
        expect(ask(f"{FLOWER}/flower/tasks")[0], 401, "Flower without a password")
        login = base64.b64encode(f"admin:{self.settings['FLOWER_PASSWORD']}".encode()).decode()

        def all_queues_shown() -> bool:
            # It shows the queues of the workers that answered when it last asked them.
            ask(f"{FLOWER}/flower/api/workers?refresh=1", Authorization=f"Basic {login}")
            page = ask(f"{FLOWER}/flower/broker", Authorization=f"Basic {login}")[1]
            return all(f"<td>{queue}</td>" in page for queue in ("sms", "mms", "email"))

        expect(wait_until(all_queues_shown, seconds=PATIENCE_SECONDS, pause=0.5), True, "Flower's queues")

    def writing(self) -> None:
        """Whoever breaks into a container finds nothing to change in it."""
        tried = "for each in srv/switchboard etc opt srv usr var tmp srv/media; do touch /$each/new && echo $each; done"
        written = self.host.run("web", "sh", "-c", f"({tried}) 2> /dev/null; rm -f /tmp/new /srv/media/new")
        expect(written.split(), ["tmp", "srv/media"], "Where something could be written")

    def verification(self) -> None:
        """The command of docs/ops, with the key of a test client."""
        self.host.run("web", "python", "manage.py", "verify_queue", API_KEY=self.client.key, URL="http://web:8080")

    def restart(self) -> None:
        """Restart under load, with a provider that is slow to answer."""
        self.dial(SLOW_CALLS_MS)
        with self.load():
            self.host.start("migrate")
            took = self.host.restart(["web"])
            took |= self.host.restart(AFTER_WEB)
        self.dial(USUAL_CALLS_MS)
        self.client.await_delivery(*self.client.sent)
        rows = ask(f"{SANDBOX}/ledger")[1]["requests"]
        sent = Counter(row["message_id"] for row in rows)
        expect({each: sent[each] for each in self.client.sent if sent[each] != 1}, {}, "Sent other than once")
        expect([each for each in self.client.sent if self.client.was_in_doubt(each)], [], "In doubt for a while")
        ends = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
        print(f"      {len(self.client.sent)} messages; after SIGTERM there were still {ends}", flush=True)

    def dial(self, milliseconds: int) -> None:
        """Let the provider take so long for an answer."""
        expect(ask(f"{SANDBOX}/settings", {"latency_ms": milliseconds})[0], 200, "The dials of the sandbox")

    @contextmanager
    def load(self) -> Iterator[None]:
        """Send all the time. What is refused while the web service is away was not taken, and is sent no more."""
        over = threading.Event()

        def send() -> None:
            while not over.wait(0.5):
                for message in MESSAGES:
                    status, answer = self.client.ask("/api/v1/messages/send", message)
                    if status == 201:
                        self.client.sent.append(answer["id"])

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
