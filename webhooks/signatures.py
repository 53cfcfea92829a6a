"""Who may come in."""

from django.conf import settings

from providers.base import Callback, Provider, Signature
from webhooks.models import Refusal


class Forged(Exception):
    """A callback that does not prove where it comes from. Its text says why and is safe to send back; so is `reason`,
    the word that it is counted under.
    """

    def __init__(self, reason: Refusal.Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def verify(provider: Provider, callback: Callback) -> bool:
    """Return True for a callback that its signature proves, False for one taken without a signature.

    Unsigned ones are taken with DEBUG on and a loopback `PUBLIC_URL` only. Raises `Forged` for all others.
    """
    match provider.check_signature(callback):
        case Signature.VALID:
            return True
        case Signature.MISSING if settings.TRUST_LOCAL_REQUESTS:
            return False
        case Signature.MISSING:
            raise Forged(Refusal.Reason.UNSIGNED, "The signature is missing.")
        case _:
            raise Forged(Refusal.Reason.FORGED, "The signature, or the secret, does not fit the request.")
