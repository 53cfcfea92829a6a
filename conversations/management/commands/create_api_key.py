"""`manage.py create_api_key`: make a key for a client, and the client if it is new. The key is shown once."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from conversations.models import ApiKey, Client
from conversations.models.client import Scope

USUAL = [Scope.MESSAGES_SEND, Scope.MESSAGES_READ, Scope.CONVERSATIONS_WRITE, Scope.WEBHOOKS_MANAGE]


class Command(BaseCommand):
    """Prints the key, and nothing else, to standard output: it goes into a file or a variable as it is."""

    help = "Make a key for a client of the API, and the client if it is new. The key is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take a client's name, what the key may do and for how long, and what a new client may do."""
        parser.add_argument("client", help="the client's name, such as shop")
        parser.add_argument("--scope", action="append", choices=Scope.values, help="may be repeated; all but admin")
        parser.add_argument("--expires-in-days", type=int, help="for ever without it")
        parser.add_argument("--sender", action="append", default=[], help="an address of a new client; may be repeated")
        parser.add_argument("--requests-per-minute", type=int, help="of a new client")
        parser.add_argument("--test", action="store_true", help="a new client's messages go to the sandbox only")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it."""
        days = options["expires_in_days"]
        if days is not None and not 0 < days <= 36_500:
            raise CommandError("--expires-in-days takes a whole number from 1 to 36500.")
        client = self.client(options)
        expires_at = timezone.now() + timedelta(days=days) if days else None
        row, key = ApiKey.objects.make(client, options["scope"] or USUAL, expires_at)
        self.stderr.write(f"A key for {self.described(client)}, for {', '.join(row.scopes)}. It is not shown again.")
        self.stdout.write(key)

    def described(self, client: Client) -> str:
        """Return a client's name, and what it may not do as others may."""
        senders = f" (sends from {', '.join(client.senders)} only)" if client.senders else ""
        return f"{client}{' (tests only)' if client.test else ''}{senders}"

    def client(self, options: dict[str, Any]) -> Client:
        """Return the client of that name, made if needed. Raises `CommandError`."""
        of_new = {
            "senders": options["sender"],
            "requests_per_minute": options["requests_per_minute"],
            "test": options["test"],
        }
        known = Client.objects.filter(name=options["client"]).first()
        if known is not None:
            if any(of_new.values()):
                raise CommandError(f"There is a client {known} already: change it in the admin.")
            return known
        client = Client(name=options["client"], **of_new)
        try:
            client.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        client.save()
        return client
