"""`manage.py replay_receipts`: let callbacks take effect again, from the receipts that were kept of them."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from providers import routes
from webhooks.management.commands import moment
from webhooks.models import Receipt


class Command(BaseCommand):
    """Applies receipts anew, oldest first. What already took effect changes nothing."""

    help = "Apply kept callbacks again: by id, by provider, by time. What already took effect changes nothing."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Ids, or any of the filters; both narrow."""
        parser.add_argument("ids", nargs="*", type=int, help="ids of receipts, as the admin shows them")
        parser.add_argument("--provider", choices=routes.account_names())
        parser.add_argument("--result", choices=[each for each in Receipt.Result.values if each])
        parser.add_argument("--since", type=moment, help="received at or after, such as 2026-01-31T12:00Z")
        parser.add_argument("--until", type=moment, help="received before")
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *args: Any, **options: Any) -> None:
        """CommandError when nothing says which receipts are meant."""
        filters = {
            "pk__in": options["ids"],
            "provider": options["provider"],
            "result": options["result"],
            "received_at__gte": options["since"],
            "received_at__lt": options["until"],
        }
        given = {name: value for name, value in filters.items() if value}
        if not given:
            raise CommandError("Say which receipts: ids, --provider, --result, --since or --until.")
        receipts = Receipt.objects.filter(**given)
        unknown = set(options["ids"]) - set(receipts.values_list("pk", flat=True)) if options["ids"] else None
        if unknown:
            raise CommandError(f"No such receipts: {', '.join(map(str, sorted(unknown)))}.")
        if options["dry_run"]:
            self.stdout.write(f"{receipts.count()} receipts would be applied again.")
        else:
            results = receipts.apply_again()
            self.stdout.write(f"{results.total()} receipts applied again.")
            for result, count in results.most_common():
                self.stdout.write(f"  {count}  {result}")
