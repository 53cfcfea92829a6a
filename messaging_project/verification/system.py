"""The system that is verified, as a client of its API meets it."""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3

from messaging_project.local.processes import wait_until
from messaging_project.verification import CannotVerify

TIMEOUT = urllib3.Timeout(connect=5, read=30)
CHANNELS = ("sms", "mms", "email")
# No exchange begins with 0, and example.com receives no mail: nobody has these addresses, whoever should send there.
PHONES, MAILBOXES = "+15550", "switchboard-verify-"
SENDER, MAIL_SENDER = "+15550100000", "switchboard-verify@example.com"
# Long enough that no run which is still under way is disturbed.
LEFT_OVER_AFTER = timedelta(minutes=10)
MAKE_A_KEY = "manage.py create_api_key verification --test"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `json` is None when its body is none."""

    status: int
    json: Any

    def __str__(self) -> str:
        """The status, with the sentence of a problem+json."""
        body = self.json if isinstance(self.json, dict) else {}
        errors = "; ".join(str(error.get("msg")) for error in body.get("errors") or [])
        return " ".join(filter(None, [str(self.status), str(body.get("detail") or ""), errors]))


@dataclass
class System:
    """A running system and the addresses that one verification uses there; two at a time share no recipient.

    Where `url` is the web process behind the proxy of a `public_url`, it is asked as that proxy would ask it.
    """

    url: str
    key: str = ""
    public_url: str = ""
    sender: str = SENDER
    mail_sender: str = MAIL_SENDER
    phone: str = field(default_factory=lambda: f"{PHONES}{secrets.randbelow(1_000_000):06}")
    mailbox: str = field(default_factory=lambda: f"{MAILBOXES}{secrets.token_hex(6)}@example.com")

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        self._pool = urllib3.PoolManager(timeout=TIMEOUT, retries=False)

    def ask(self, method: str, path: str, body: Any = None, **form: str) -> Answer:
        """Ask the API; an error status is an answer like any other. Raises `CannotVerify` where nobody answers."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if self.public_url.startswith("https://") and self.url.startswith("http://"):
            headers |= {"Host": urlsplit(self.public_url).netloc, "X-Forwarded-Proto": "https"}
        content: dict[str, Any] = {"fields": form, "encode_multipart": False} if form else {}
        if body is not None:
            content = {"json": body}
        try:
            answer = self._pool.request(method, f"{self.url}{path}", headers=headers, **content)
        except urllib3.exceptions.HTTPError as error:
            raise CannotVerify(f"{self.url} does not answer ({type(error).__name__}): is it the right URL?") from None
        try:
            return Answer(answer.status, json.loads(answer.data))
        except ValueError:
            return Answer(answer.status, None)

    def body(self, channel: str, **more: Any) -> dict[str, Any]:
        """The body of a send on a channel."""
        if channel == "email":
            body = {"from": self.mail_sender, "to": self.mailbox, "subject": "Verification of the queue"}
        else:
            body = {"from": self.sender, "to": self.phone}
        attachments = {"attachments": ["https://example.com/image.jpg"]} if channel == "mms" else {}
        return {**body, "type": channel, "body": "Verification of the queue", **attachments, **more}

    def send(self, channel: str, **more: Any) -> dict[str, Any]:
        """Send a test message; the message as it was answered. Raises `CannotVerify` when it is not taken."""
        answer = self.ask("POST", "/api/v1/messages/send", self.body(channel, **more))
        if answer.status != 201:
            raise CannotVerify(f"A test message ({channel}) was not taken: {answer}")
        return dict(answer.json)

    def message(self, message_id: str) -> dict[str, Any]:
        """A message as it stands now, {} when it is gone."""
        return dict(self.ask("GET", f"/api/v1/messages/{message_id}").json or {})

    def is_reported(self, message_id: str, status: str) -> bool:
        """Whether a message's timeline has a status on the provider's own word."""
        events = (self.ask("GET", f"/api/v1/messages/{message_id}/events").json or {}).get("events", [])
        return any(event["status"] == status and event["evidence"] == "reported" for event in events)

    def health(self) -> dict[str, Any]:
        """The checks of /health."""
        return dict((self.ask("GET", "/health").json or {}).get("checks", {}))

    def refuse_what_is_real(self) -> None:
        """Raise `CannotVerify` unless all that is sent from here goes to the sandbox, by the system's own word."""
        answer = self.ask("GET", "/api/v1/messages/?limit=1")
        if answer.status in (401, 403):
            raise CannotVerify(f"This API answered {answer}. Give API_KEY, a test client's: {MAKE_A_KEY}")
        if answer.status != 200:
            raise CannotVerify(f"{self.url}/api/v1/messages/ answered {answer}")
        carriers = {self.carrier(channel) for channel in CHANNELS}
        if carriers == {"sandbox"}:
            return
        accounts = self.health().get("providers", {})
        real = [name for name, state in accounts.items() if name != "status" and not state.get("sandbox")]
        if real or not accounts:
            raise CannotVerify(
                f"Nothing was sent: here messages go to real accounts ({', '.join(real or sorted(carriers))}), and"
                f" somebody could get them. Give API_KEY, a test client's: {MAKE_A_KEY}. It takes SANDBOX_URL."
            )

    def carrier(self, channel: str) -> str:
        """The account that would carry a message. Raises `CannotVerify` when the message would be refused."""
        answer = self.ask("POST", "/api/v1/messages/preview", self.body(channel))
        if answer.status != 200:
            raise CannotVerify(f"A test message ({channel}) would not be taken: {answer}")
        return str(answer.json["provider"])

    def clean_up(self, *, seconds: float) -> list[str]:
        """Delete what was made here, and what killed runs left; the conversations that can't be deleted in time."""
        give_up_at = time.monotonic() + seconds
        return [
            conversation
            for conversation in [*self.conversations(), *self.left_over()]
            if not wait_until(lambda it=conversation: self.delete(it), seconds=give_up_at - time.monotonic())  # type: ignore[misc]
        ]

    def delete(self, conversation: str) -> bool:
        """Delete a conversation with its messages; False while a worker has one of them."""
        return self.ask("DELETE", f"/api/v1/conversations/{conversation}?hard_delete=true").status in (204, 404)

    def conversations(self) -> list[str]:
        """The ids of the conversations of this verification."""
        return [found["id"] for address in (self.phone, self.mailbox) for found in self.of_participant(address)]

    def left_over(self) -> list[str]:
        """The ids of conversations of verifications that were killed."""
        old = datetime.now(UTC) - LEFT_OVER_AFTER
        found = [each for address in (self.sender, self.mail_sender) for each in self.of_participant(address)]
        return [
            each["id"]
            for each in found
            if each["participant_to"].startswith((PHONES, MAILBOXES))
            and datetime.fromisoformat(each["created_at"]) < old
        ]

    def of_participant(self, address: str) -> Iterator[dict[str, Any]]:
        """Up to a hundred conversations that an address takes part in."""
        answer = self.ask("GET", f"/api/v1/conversations/?limit=100&participant={quote(address)}")
        yield from (answer.json or {}).get("conversations", [])
