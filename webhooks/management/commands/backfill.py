"""`manage.py backfill`: ask the providers for what they could not deliver, such as while the database was away."""

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from conversations.models import MessageEvent
from providers import routes
from providers.base import CallbackPart, Provider
from providers.errors import ProviderError
from webhooks.management.commands import moment
from webhooks.models import Receipt

KEPT_AT_ONCE = 500


class Command(BaseCommand):
    """Keeps and applies what a provider holds and we have no receipt of. Running it twice changes nothing."""

    help = "Fetch inbound messages and statuses that a provider holds and that never reached us."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """`--since` is needed."""
        parser.add_argument("--since", type=moment, required=True, help="such as 2026-01-31T12:00Z")

    def handle(self, *args: Any, since: datetime, **options: Any) -> None:
        """CommandError with the provider's reason when it can't be asked."""
        for name in routes.account_names():
            account = routes.new_account(name)
            try:
                parts = asyncio.run(missed(account, since))
            except ProviderError as error:
                raise CommandError(f"{name} could not be asked: {error.message}") from None
            new = Counter[str]()
            for start in range(0, len(parts), KEPT_AT_ONCE):
                new += self.apply(account, parts[start : start + KEPT_AT_ONCE])
            self.stdout.write(
                f"{name}: {len(parts)} found; new: {new['inbound']} inbound messages, {new['status']} statuses."
            )

    def apply(self, account: Provider, parts: Sequence[CallbackPart]) -> Counter[str]:
        """Let facts take effect as if they had come; return how many of which kind had not yet."""
        receipts = Receipt.objects.keep(account.name, untold(account, parts), verified=True, backfilled=True)
        Receipt.objects.apply(receipts)
        return Counter(receipt.kind for receipt in receipts)


def untold(account: Provider, parts: Sequence[CallbackPart]) -> list[CallbackPart]:
    """Leave out statuses that a callback has told: those come under keys of their own."""
    reports = {part.dedupe_key: account.read_report(part.payload) for part in parts if part.kind == "status"}
    ids = [report.provider_message_id for report in reports.values()]
    told = set(
        MessageEvent.objects.filter(
            message__provider=account.name,
            message__provider_message_id__in=ids,
            evidence=MessageEvent.Evidence.REPORTED,
        ).values_list("message__provider_message_id", "status")
    )
    known = {key for key, report in reports.items() if (report.provider_message_id, report.status) in told}
    return [part for part in parts if part.dedupe_key not in known]


async def missed(account: Provider, since: datetime) -> list[CallbackPart]:
    """Return all that the account holds since then. Raises `ProviderError`."""
    try:
        return [part async for part in account.missed(since)]
    finally:
        await account.close()
