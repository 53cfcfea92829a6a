"""Which account serves a channel: settings → adapters.

An adapter is made when it is first asked for, once for each process and account, and shared by its threads. The one
place that reads both the settings and the adapters.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence

from django.conf import settings

from providers.base import Channel, Provider
from providers.sendgrid import SendGridAccount
from providers.twilio import TwilioAccount
from providers.wire import is_loopback

ROUTES: Mapping[Channel, str] = {"sms": "twilio", "mms": "twilio", "email": "sendgrid"}
TWILIO_CALLBACK_PATH = "/api/v1/webhooks/twilio"


def account_for(channel: Channel) -> Provider:
    """The account that sends on this channel. Without credentials its `send` raises `Misconfigured`."""
    return _account(ROUTES[channel])


def account_named(name: str) -> Provider | None:
    """The account that a callback or a message names, None for a name that we do not have."""
    return _account(name) if name in _MAKERS else None


def channels_of(name: str) -> Sequence[Channel]:
    """The channels that the account of this name serves."""
    return [channel for channel, account in ROUTES.items() if account == name]


def account_names() -> Sequence[str]:
    """The accounts that there are."""
    return list(_MAKERS)


def new_account(name: str) -> Provider:
    """An adapter of one's own, to be closed by whoever asked: the shared one belongs to the loop that sends."""
    return _MAKERS[name]()


def forget_accounts() -> None:
    """Let the next question make new adapters, from the settings as they are then."""
    global _lock, _accounts
    _lock, _accounts = threading.Lock(), {}


def _leave_to_parent() -> None:
    """After a fork: connections can't be shared, and closing ours would end the parent's watch over its own."""
    _inherited.append(_accounts)
    forget_accounts()


def _account(name: str) -> Provider:
    with _lock:
        if name not in _accounts:
            _accounts[name] = _MAKERS[name]()
        return _accounts[name]


def _twilio() -> Provider:
    return TwilioAccount(
        account_sid=settings.TWILIO_ACCOUNT_SID,
        auth_token=settings.TWILIO_AUTH_TOKEN,
        base_url=settings.TWILIO_BASE_URL,
        callback_url=_twilio_callback_url(),
        timeout=settings.PROVIDER_TIMEOUT_SECONDS,
        secondary_auth_token=settings.TWILIO_SECONDARY_AUTH_TOKEN,
        subaccount_tokens=settings.TWILIO_SUBACCOUNT_TOKENS,
        shared_keys=settings.TWILIO_SHARED_KEYS,
    )


def _twilio_callback_url() -> str | None:
    """None for a real Twilio that could not reach us: the sweep asks it for the status instead."""
    if is_loopback(settings.PUBLIC_URL) and not is_loopback(settings.TWILIO_BASE_URL):
        return None
    return f"{settings.PUBLIC_URL}{TWILIO_CALLBACK_PATH}"


def _sendgrid() -> Provider:
    return SendGridAccount(
        api_key=settings.SENDGRID_API_KEY,
        base_url=settings.SENDGRID_BASE_URL,
        webhook_public_key=settings.SENDGRID_WEBHOOK_PUBLIC_KEY,
        inbound_public_key=settings.SENDGRID_INBOUND_PUBLIC_KEY,
        inbound_secret=settings.SENDGRID_INBOUND_SECRET,
        timeout=settings.PROVIDER_TIMEOUT_SECONDS,
        connections=settings.CALLS_IN_FLIGHT,
    )


_MAKERS: Mapping[str, Callable[[], Provider]] = {"twilio": _twilio, "sendgrid": _sendgrid}
_lock = threading.Lock()
_accounts: dict[str, Provider] = {}
_inherited: list[dict[str, Provider]] = []
os.register_at_fork(after_in_child=_leave_to_parent)
