"""`manage.py verify_queue`: send test messages through a running system and say, check by check, whether it is well."""

import os
import secrets
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from messaging_project.verification import CannotVerify
from messaging_project.verification.broker import Broker
from messaging_project.verification.checks import Verification
from messaging_project.verification.system import MAIL_SENDER, SENDER, System
from providers.management.commands.simulate_inbound import ask_sandbox

EXIT_FAILED, EXIT_NOT_VERIFIED = 1, 2


class Command(BaseCommand):
    """Prints a line with PASS or FAIL for each check. Exit code 0 when all passed, 1 when one failed, 2 when they could
    not be made. It needs no database, and leaves no message behind, also when it is interrupted.
    """

    help = (
        "Verify a running system's queue, workers and webhooks with test messages that go to the sandbox only. A key is"
        " taken from API_KEY, which `ps` does not show: a test client's, where there is a real provider."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where the system is, and from which addresses to send."""
        parser.add_argument("--url", default=os.environ.get("URL") or settings.PUBLIC_URL, help="default: PUBLIC_URL")
        parser.add_argument("--sender", default=SENDER, help="a number that the client may send from")
        parser.add_argument("--mail-sender", default=MAIL_SENDER, help="an address that the client may send from")

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program that clears up behind itself when it is told to go."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
        super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the checks. Raises `CommandError`."""
        senders = {"sender": options["sender"], "mail_sender": options["mail_sender"]}
        system = System(options["url"], os.environ.get("API_KEY", ""), settings.PUBLIC_URL, **senders)
        try:
            broker = Broker(settings.BROKER_URL)
            system.refuse_what_is_real()
            failed = self.verify(Verification(system, broker, write_to_us))
        except CannotVerify as reason:
            raise CommandError(str(reason), returncode=EXIT_NOT_VERIFIED) from None
        if failed:
            raise CommandError(f"{failed} checks failed.", returncode=EXIT_FAILED)
        self.stdout.write(self.style.SUCCESS("All checks passed."))

    def verify(self, verification: Verification) -> int:
        """Print each finding as it comes; how many failed. What was made is deleted, whatever happens."""
        failed = 0
        try:
            for finding in verification.run():
                failed += not finding.passed
                word = self.style.SUCCESS("PASS") if finding.passed else self.style.ERROR("FAIL")
                self.stdout.write(f"{word}  {finding.name}: {finding.sentence}")
                self.stdout.flush()
        finally:
            if left := verification.clean_up():
                self.stderr.write(left)
        return failed


def write_to_us(system: System) -> int | None:
    """Let the recipient's phone write to the sender; the status that the door answered.

    A test client's sandbox does it by itself, if it can be reached from here; None if not. A developer's machine takes
    it unsigned.
    """
    if not system.key:
        sid = f"SM{secrets.token_hex(16)}"
        form = {"From": system.phone, "To": system.sender, "Body": "Verification of the queue", "MessageSid": sid}
        return system.ask("POST", "/api/v1/webhooks/twilio", **form).status
    if not settings.SANDBOX_URL:
        return None
    wish = {"type": "sms", "from": system.phone, "to": system.sender, "body": "Verification of the queue", "wait": True}
    try:
        made = ask_sandbox(settings.SANDBOX_URL, wish)
    except CommandError:
        return None
    return made[0]["callbacks"][-1] if made[0]["callbacks"] else 0
