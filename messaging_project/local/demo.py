"""An SMS, an MMS and an email on their whole way through the running system, told step by step."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

from messaging_project.local import LocalError
from messaging_project.local.probe import WITHOUT_KEY, local_http, needs_key, trouble

PATIENCE_SECONDS = 30
PHONES = {"from": "+15551234567", "to": "+15559876543"}
MESSAGES: tuple[dict[str, Any], ...] = (
    {**PHONES, "type": "sms", "body": "Hello from the demo"},
    {**PHONES, "type": "mms", "body": "Look at this", "attachments": ["https://example.com/image.jpg"]},
    {
        "from": "shop@example.com",
        "to": "customer@example.com",
        "type": "email",
        "subject": "Hello from the demo",
        "body": "Plain text",
        "html": "<p>HTML</p>",
    },
)


def run(url: str) -> None:
    """Send one of each and print each status until all are delivered. Raises `LocalError` when that takes over 30 s."""
    if needs_key(url):
        raise LocalError(f"The demo brings no key, and this API wants one: {WITHOUT_KEY}")
    began = time.monotonic()
    statuses: dict[tuple[str, str], str] = {}
    for message in MESSAGES:
        answer = call(f"{url}/api/v1/messages/send", message)
        statuses[message["type"], answer["id"]] = answer["status"]
        tell(began, message["type"], f"201 {answer['id']} {answer['status']}")
    while set(statuses.values()) != {"delivered"}:
        if time.monotonic() - began > PATIENCE_SECONDS:
            undelivered = f"Not delivered within {PATIENCE_SECONDS} s: {sorted(statuses.values())}."
            raise LocalError(f"{undelivered} {trouble(url)}".strip())
        time.sleep(0.1)
        for kind, identifier in statuses:
            statuses[kind, identifier] = look_again(url, began, kind, identifier, statuses[kind, identifier])


def look_again(url: str, began: float, kind: str, identifier: str, before: str) -> str:
    """Ask for one message, and tell when its status has changed."""
    message = call(f"{url}/api/v1/messages/{identifier}")
    if message["status"] != before:
        reason = f" {message['error_code']} {message['error_message']}" if message.get("error_code") else ""
        tell(began, kind, f"{message['status']}{reason}")
    return str(message["status"])


def call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """GET, or POST a body; the answer's JSON. Raises `LocalError` when the answer is an error or none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - ours, and http
    try:
        with local_http.open(request, timeout=10) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        raise LocalError(f"{url} answered {error.code}: {error.read()[:500].decode(errors='replace')}") from None
    except OSError as reason:
        raise LocalError(f"{url} does not answer ({getattr(reason, 'reason', reason)}).") from None


def tell(began: float, kind: str, text: str) -> None:
    """Print one step."""
    print(f"{time.monotonic() - began:6.2f} s  {kind:<5}  {text}", flush=True)
