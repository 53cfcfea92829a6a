"""`manage.py http_collection`: every request of the API, for an editor to send."""

from typing import Any

from django.core.management.base import BaseCommand

from messaging_project.openapi.collection import collection, generated_schema


class Command(BaseCommand):
    """Prints docs/switchboard.http."""

    help = "Print every request of the API in the format of JetBrains' HTTP client and VS Code's REST Client."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        self.stdout.write(collection(generated_schema()), ending="")
