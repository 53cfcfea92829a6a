"""`manage.py simulate_inbound`: somebody writes to us, through the running sandbox. It needs no database."""

import argparse
import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from providers.wire import is_loopback

# A door that nobody opens is knocked on for a minute, and a thousand messages take their time.
SECONDS_TO_ANSWER = 300
# What the sandbox calls these options.
NAMES = {
    "type": "type",
    "sender": "from",
    "to": "to",
    "body": "body",
    "subject": "subject",
    "html": "html",
    "in_reply_to": "in_reply_to",
    "opt_out_type": "opt_out_type",
    "count": "count",
}


class Command(BaseCommand):
    """Prints a line for each message: its id, and what our door answered to each delivery."""

    help = "Let somebody send us SMS, MMS (with a picture) or email through the sandbox that runs."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """`--from` and `--to` are required; `GET /` of the sandbox says what each type takes."""
        parser.add_argument("--type", choices=("sms", "mms", "email"), default="sms")
        parser.add_argument("--from", dest="sender", required=True)
        parser.add_argument("--to", required=True)
        parser.add_argument("--body", default="")
        parser.add_argument("--subject", help="email only")
        parser.add_argument("--html", help="email only")
        parser.add_argument("--in-reply-to", help="email only: the Message-ID that it answers")
        parser.add_argument("--opt-out-type", choices=("STOP", "START", "HELP"), help="sms and mms only")
        parser.add_argument("--count", type=int, default=1)
        parser.add_argument("--test", action="store_true", help="to the addresses of test clients")

    def handle(self, *args: Any, **options: Any) -> None:
        """CommandError with a sentence when no sandbox answers, it refuses, or our door took a message not at all."""
        wish = {name: options[option] for option, name in NAMES.items() if options[option] is not None}
        messages = ask_sandbox(sandbox_url(test=options["test"]), wish | {"wait": True})
        for message in messages:
            self.stdout.write(f"{message['id']} {outcome(message['callbacks'])}")
        refused = sum(1 for message in messages if not all(map(is_taken, message["callbacks"])))
        if refused:
            raise CommandError(f"{refused} of {len(messages)} were not taken by {settings.PUBLIC_URL}.")


def sandbox_url(*, test: bool) -> str:
    """Where the sandbox is that plays a provider here, else where one would be; with `test` that of test clients.

    CommandError where there is none for tests.
    """
    if test:
        if not settings.SANDBOX_URL:
            raise CommandError("There is no sandbox for test clients: set SANDBOX_URL and SANDBOX_SECRET.")
        return str(settings.SANDBOX_URL)
    played = [url for url in (settings.TWILIO_BASE_URL, settings.SENDGRID_BASE_URL) if is_loopback(url)]
    return str(played[0]) if played else f"http://127.0.0.1:{settings.SANDBOX_PORT}"


def ask_sandbox(url: str, wish: dict[str, Any]) -> list[dict[str, Any]]:
    """What the sandbox made: `[{"id", "callbacks"}]`. CommandError with a sentence when it made nothing."""
    data, headers = json.dumps(wish).encode(), {"Content-Type": "application/json"}
    # Whatever proxy the environment names, it is not on the way to this machine.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(Request(f"{url}/inbound", data, headers), timeout=SECONDS_TO_ANSWER) as answer:  # noqa: S310
            messages: list[dict[str, Any]] = json.load(answer)["messages"]
            return messages
    except HTTPError as refusal:
        with refusal:
            raise CommandError(why_refused(refusal.read(), url)) from None
    except OSError:
        raise CommandError(f"No sandbox answers on {url}. Start one with `make run`.") from None
    except (HTTPException, ValueError, KeyError, TypeError):
        raise CommandError(why_refused(b"", url)) from None


def why_refused(body: bytes, url: str) -> str:
    """The sandbox's own sentence, or that it is none."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"What answers on {url} is no sandbox. Set SANDBOX_PORT to where it is."


def is_taken(status: int | None) -> bool:
    """Whether our door answered a delivery with a 2xx."""
    return status is not None and 200 <= status < 300


def outcome(callbacks: list[int | None]) -> str:
    """The statuses of the deliveries in words."""
    if not callbacks:
        return "was dropped on its way"
    return ", ".join(f"answered {status}" if status else "no answer" for status in callbacks)
