"""`manage.py sandbox`: Twilio and SendGrid on loopback, see `providers.sandbox.app`. It needs no database."""

import argparse
import asyncio
import signal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from providers.sandbox.app import PortTaken, listening
from providers.sandbox.settings import SandboxSettings


class Command(BaseCommand):
    """Serves until SIGTERM or SIGINT, then ends with exit code 0."""

    help = "Serve Twilio's and SendGrid's wire formats on loopback, with a ledger and signed callbacks."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """`--host` (127.0.0.1) and `--port` (SANDBOX_PORT; 0 picks a free one)."""
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=settings.SANDBOX_PORT)

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        """CommandError with a sentence when the port is taken, or the ledger or the private key can't be used."""
        try:
            asyncio.run(self._serve(host, port))
        except PortTaken:
            raise CommandError(f"Port {port} is taken. Set SANDBOX_PORT to a free one.") from None
        except (OSError, ValueError) as problem:
            raise CommandError(f"The sandbox can't start: {problem}") from problem

    async def _serve(self, host: str, port: int) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with listening(sandbox_settings(), host, port) as url:
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
