"""`manage.py ensure_admin`: the superuser `admin` exists and can log in."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Makes the superuser `admin` with the password in `ADMIN_PASSWORD`, or gives it to the one that is there."""

    help = "Make the superuser admin with the password in ADMIN_PASSWORD, or give that password to the existing one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the one option."""
        parser.add_argument(
            "--keep-password", action="store_true", help="leave the password of an existing admin alone"
        )

    def handle(self, *args: Any, keep_password: bool, **options: Any) -> None:
        """Make or mend the account; running it twice changes nothing. Exits with 3 when another password holds."""
        password = os.environ.get("ADMIN_PASSWORD")
        if not password:
            raise CommandError("ADMIN_PASSWORD is not set: put the password for the user admin there.")
        users = get_user_model().objects
        admin = users.filter(username="admin").first()
        if admin is None:
            users.create_superuser("admin", password=password)
        elif admin.check_password(password):
            return
        elif keep_password:
            self.stdout.write("The user admin has another password than the generated one; ADMIN_PASSWORD=… sets it.")
            sys.exit(3)
        else:
            admin.set_password(password)
            admin.save(update_fields=["password"])
