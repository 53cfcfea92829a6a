"""`manage.py settings_table > docs/settings.md`: every setting, as a page."""

from typing import Any

from django.core.management.base import BaseCommand

from messaging_project.settings_table import page


class Command(BaseCommand):
    """Prints Markdown, the same for the same code."""

    help = "Print every setting with its default, as docs/settings.md has them."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        self.stdout.write(page(), ending="")
