"""Who may come in."""

from django.conf import settings

from providers.base import Callback, Provider, Signature


class Forged(Exception):
    """A callback that does not prove where it comes from. Its text is the reason, safe to send back."""


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
            raise Forged("The signature is missing.")
        case _:
            raise Forged("The signature does not fit the request.")
