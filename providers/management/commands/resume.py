"""`manage.py resume`: let an account that is paused, or whose breaker is open, send again."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from providers import routes
from providers.models import AccountState


class Command(BaseCommand):
    """Resumes every channel of an account. If its trouble is not mended, the next message stops it again."""

    help = "Let an account that is paused, or whose breaker is open, send again: what waits for it is due at once."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The account's name."""
        parser.add_argument("account", choices=routes.account_names())

    def handle(self, *args: Any, **options: Any) -> None:
        """Say which channels run again."""
        resumed = AccountState.objects.filter(account=options["account"]).resume()
        channels = ", ".join(row.channel for row in resumed)
        self.stdout.write(f"Resumed: {channels}." if resumed else f"{options['account']} is running already.")
