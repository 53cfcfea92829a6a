"""A subscriber that is away, while the worker who tells it is killed."""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from standardwebhooks import Webhook, WebhookVerificationError

from messaging_project.drills.ground import Ground, drill
from messaging_project.drills.stack import SHORT_TIMES
from messaging_project.local.processes import wait_until
from messaging_project.local.servers import LOOPBACK, free_port

RATE, AWAY_SECONDS, BACK_SECONDS = 15.0, 16.0, 6.0
TOLD_WITHIN_SECONDS = 60.0
# What happens so close together has no order.
AT_ONCE_SECONDS = 1.0
# An hour is shortened to seconds, and with it the times between tries.
TIMES = {"EVENT_TIMEOUT_SECONDS": "2", "EVENT_RETRY_BASE_SECONDS": "0.5", "EVENT_RETRY_CEILING_SECONDS": "3"}

NOW = "SELECT clock_timestamp()"
# A line of a timeline that says again what one before it said is no second event.
HAPPENED = """
SELECT conversation_id::text, type, about, attempt, EXTRACT(epoch FROM at)::float FROM (
    SELECT m.conversation_id, 'message.' || e.status AS type, m.id::text AS about, e.attempt, min(e.id) AS number,
        min(e.at) AS at
    FROM conversations_messageevent e JOIN conversations_message m ON m.id = e.message_id
    WHERE e.at >= %s AND 'message.' || e.status = ANY(%s)
    GROUP BY m.id, e.status, e.attempt, CASE WHEN e.status <> 'sent' THEN e.id END
    UNION ALL
    SELECT conversation_id, 'conversation.' || kind, conversation_id::text, 0, id, at
    FROM conversations_conversationevent WHERE at >= %s) AS event
ORDER BY number"""

UNENDED = """
SELECT count(*) FROM conversations_message
WHERE direction = 'outbound' AND created_at >= %s AND status IN ('pending', 'sending', 'uncertain', 'sent')"""


Event = tuple[str, str, int]
"""Its type, the id of the message or conversation that it is about, and of a message the attempt."""


@dataclass
class Subscriber:
    """What a subscriber was told, each event once however often it came, in the order in which it first came."""

    secret: str = ""
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    forged: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Check what came with the library that a subscriber would use, and keep it."""
        try:
            event = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            self.forged += 1
            return
        with self.lock:
            self.told.setdefault(headers["webhook-id"], event)

    def timelines(self) -> dict[str, list[Event]]:
        """What was told of each conversation, in the order in which it came."""
        told: dict[str, list[Event]] = {}
        with self.lock:
            for event in self.told.values():
                message = event["data"].get("message")
                about = message or event["data"]["conversation"]
                attempt = event["data"]["event"]["attempt"] if message else 0
                name = message["conversation_id"] if message else about["id"]
                told.setdefault(name, []).append((event["type"], about["id"], attempt))
        return told


def happened(ground: Ground, since: Any, types: list[str]) -> dict[str, dict[Event, float]]:
    """What happened in each conversation, in the order in which it was written down, and when, in seconds."""
    timelines: dict[str, dict[Event, float]] = {}
    for conversation, *event, at in ground.stack.rows(HAPPENED, since, types, since):
        timelines.setdefault(conversation, {})[cast(Event, tuple(event))] = at
    return timelines


def in_order(told: list[Event], written: dict[Event, float]) -> bool:
    """Whether what was told of a conversation is what was written, each thing once and in order: of a message as the
    lines of its timeline are, and of two messages as far as one thing had ended when the other began.
    """
    if sorted(told) != sorted(written):
        return False
    latest = 0.0
    for event in told:
        if written[event] < latest - AT_ONCE_SECONDS:
            return False
        latest = max(latest, written[event])
    return all(of_one(told, about) == of_one(written, about) for _, about, _ in written)


def of_one(events: Iterable[Event], about: str) -> list[Event]:
    """Those that are about one message or conversation."""
    return [event for event in events if event[1] == about]


@contextmanager
def listening(subscriber: Subscriber, port: int) -> Iterator[None]:
    """It takes what comes while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            subscriber.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@drill("subscriber-away", settings={**SHORT_TIMES, **TIMES}, short=True)
def subscriber_away(ground: Ground) -> None:
    """A subscriber is away for an hour, in shortened time, and who tells it is killed twice: it gets every event."""
    port, subscriber = free_port(), Subscriber()
    wish = {"url": f"http://{LOOPBACK}:{port}/", "events": ["*"]}
    made = ground.stack.running.post("/api/v1/subscriptions/", wish).json
    subscriber.secret, types = made["secret"], made["events"]
    [[began]] = ground.stack.rows(NOW)
    with ground.client.load(RATE):
        with ground.fault():
            ground.wait(AWAY_SECONDS / 2)
            ground.stack.signal("events", signal.SIGKILL)
            ground.wait(AWAY_SECONDS / 2)
        with listening(subscriber, port):
            ground.wait(1)
            ground.stack.signal("events", signal.SIGKILL)
            ground.wait(BACK_SECONDS)
    with listening(subscriber, port):
        wait_until(lambda: not ground.stack.rows(UNENDED, began)[0][0], seconds=TOLD_WITHIN_SECONDS, pause=0.5)
        wait_until(lambda: all_is_told(subscriber, happened(ground, began, types)), seconds=TOLD_WITHIN_SECONDS)
        written = happened(ground, began, types)
    ground.stack.running.call("DELETE", f"/api/v1/subscriptions/{made['id']}")
    told = subscriber.timelines()
    events = sum(map(len, written.values()))
    missing = sum(len(set(line) - set(told.get(name, []))) for name, line in written.items())
    disordered = [name for name, line in written.items() if not in_order(told.get(name, []), line)]
    ground.expect(f"{events} events are enough to mean anything", events > 500)
    ground.expect(f"every event is told: {missing} of {events} were not", not missing)
    ground.expect(f"each conversation is told once and in order: {disordered[:3]} were not", not disordered)
    ground.expect(f"every delivery is signed: {subscriber.forged} were not", not subscriber.forged)


def all_is_told(subscriber: Subscriber, written: dict[str, dict[Event, float]]) -> bool:
    """Whether a subscriber was told as much as happened."""
    told = subscriber.timelines()
    return all(len(told.get(name, [])) >= len(line) for name, line in written.items())
