"""`manage.py sandbox`: Twilio and SendGrid on loopback, see `providers.sandbox.app`. It needs no database."""

import argparse
import asyncio
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from providers.sandbox.app import PortTaken, listening
from providers.sandbox.credentials import credentials_of
from providers.sandbox.settings import SandboxSettings
from providers.sandbox_account import NAME as SANDBOX


class Command(BaseCommand):
    """Serves until SIGTERM or SIGINT, then ends with exit code 0."""

    help = "Serve Twilio's and SendGrid's wire formats on loopback, with a ledger and signed callbacks."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """`--host` (127.0.0.1) and `--port` (SANDBOX_PORT, with `--test` that of SANDBOX_URL; 0 picks a free one)."""
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int)
        parser.add_argument("--test", action="store_true", help="play the account of test clients, and nobody else")

    def handle(self, *args: Any, host: str, port: int | None, test: bool, **options: Any) -> None:
        """CommandError with a sentence when the port is taken, or the ledger or the private key can't be used."""
        if test and not settings.SANDBOX_URL:
            raise CommandError("There is no sandbox for test clients: set SANDBOX_URL and SANDBOX_SECRET.")
        usual = urlsplit(settings.SANDBOX_URL).port or 80 if test else settings.SANDBOX_PORT
        port = usual if port is None else port
        try:
            asyncio.run(self._serve(host, port, test_settings() if test else sandbox_settings()))
        except PortTaken:
            name = "SANDBOX_URL" if test else "SANDBOX_PORT"
            raise CommandError(f"Port {port} is taken. Set {name} to a free one.") from None
        except (OSError, ValueError) as problem:
            raise CommandError(f"The sandbox can't start: {problem}") from problem

    async def _serve(self, host: str, port: int, played: SandboxSettings) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with listening(played, host, port) as url:
            self.stdout.write(f"The sandbox listens on {url}")
            self.stdout.flush()
            await stop.wait()


def sandbox_settings() -> SandboxSettings:
    """What Django's settings say, unchecked. AttributeError when one is missing."""
    return SandboxSettings(
        account_sid=settings.TWILIO_ACCOUNT_SID,
        auth_token=settings.TWILIO_AUTH_TOKEN,
        api_key=settings.SENDGRID_API_KEY,
        sendgrid_private_key=settings.SANDBOX_SENDGRID_PRIVATE_KEY,
        public_url=settings.PUBLIC_URL,
        ledger=Path(str(settings.SANDBOX_LEDGER)),
        latency_ms=settings.SANDBOX_LATENCY_MS,
        callback_delay_ms=settings.SANDBOX_CALLBACK_DELAY_MS,
    )


def test_settings() -> SandboxSettings:
    """Those of the account of test clients, which comes to our doors under its own name and has a ledger of its own."""
    known, ledger = credentials_of(settings.SANDBOX_SECRET), Path(str(settings.SANDBOX_LEDGER))
    return SandboxSettings(
        account_sid=known.account_sid,
        auth_token=known.auth_token,
        api_key=known.api_key,
        sendgrid_private_key=known.sendgrid_private_key,
        public_url=settings.PUBLIC_URL,
        ledger=ledger.with_name(f"test-{ledger.name}"),
        latency_ms=settings.SANDBOX_LATENCY_MS,
        callback_delay_ms=settings.SANDBOX_CALLBACK_DELAY_MS,
        callback_query=f"?p={SANDBOX}",
        deliver_to=settings.SANDBOX_DELIVER_TO,
    )
