"""`manage.py reencrypt_secrets`: after SECRET_KEY was changed, let go of the former one as far as that can be done."""

from collections import Counter
from typing import Any

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from conversations.models import OptOut
from webhooks.models import Subscription

OF_WHOM = "of people whose address is not kept"


class Command(BaseCommand):
    """Safe to run twice, and beside everything that runs once all of that has the new key."""

    help = (
        "Encrypt subscribers' secrets with the present SECRET_KEY, and say which keys in SECRET_KEY_FALLBACKS opt-outs"
        " need all the same. See docs/deploying.md."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError` when something hangs on a key that is not here."""
        lost = [*self.reencrypt(), *self.look_at_opt_outs()]
        if lost:
            raise CommandError(f"{' '.join(lost)} Put the key of that time into SECRET_KEY_FALLBACKS again.")

    def reencrypt(self) -> list[str]:
        """Encrypt the secrets; return a sentence where that can't be done."""
        counts: Counter[str] = Counter()
        for subscription in Subscription.objects.only("encrypted_secrets").iterator():
            try:
                counts["re-encrypted" if subscription.reencrypt_secrets() else "present"] += 1
            except InvalidToken:
                counts["lost"] += 1
        self.stdout.write(
            f"Secrets of subscriptions: {counts['re-encrypted']} re-encrypted with the present SECRET_KEY,"
            f" {counts['present']} were already."
        )
        return [f"The secrets of {counts['lost']} subscriptions can't be decrypted."] if counts["lost"] else []

    def look_at_opt_outs(self) -> list[str]:
        """Say which former keys are needed for opt-outs; return a sentence about those whose key is not here."""
        held = OptOut.objects.in_force().by_pseudonym()
        for number, key in enumerate(settings.SECRET_KEY_FALLBACKS, start=1):
            count = held.by_pseudonym(key).count()
            told = "keep it, or they end" if count else "once no link in a mail needs it, it may go"
            self.stdout.write(f"Key {number} of SECRET_KEY_FALLBACKS holds {count} opt-outs {OF_WHOM}: {told}.")
        keys = {settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS}
        lost = held.count() - sum(held.by_pseudonym(key).count() for key in keys)
        return [f"{lost} opt-outs {OF_WHOM} are not heeded."] if lost else []
