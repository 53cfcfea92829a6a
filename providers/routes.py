"""Which accounts serve a channel, in which order: settings → adapters.

An adapter is made when it is first asked for, once for each process and account, and shared by its threads. The one
place that reads both the settings and the adapters.
"""

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.conf import settings

from providers.base import Channel, Provider
from providers.sandbox.credentials import credentials_of
from providers.sandbox_account import NAME as SANDBOX
from providers.sandbox_account import SandboxAccount
from providers.sendgrid import SendGridAccount
from providers.smtp import SmtpAccount
from providers.twilio import TwilioAccount
from providers.wire import is_loopback

TWILIO_CALLBACK_PATH = "/api/v1/webhooks/twilio"
WITH_DOORS = ("twilio", "sendgrid")
RINGS = 4
"""How many rings a worker answers at once (`-c 4`)."""
# A connection to SendGrid costs a handshake. At any time many of a ring's calls have ended and wait to be written down,
# so that with fewer connections than calls hardly anybody waits for one.
SHARE_WITH_TLS = 5 / 8
# What Postfix lets a client have: https://www.postfix.org/postconf.5.html#smtpd_client_connection_count_limit
SMTP_CONNECTIONS = 50


def names_for(channel: str, *, test: bool = False) -> Sequence[str]:
    """The names of the accounts that carry a channel, the preferred one first; never empty. Test messages have one."""
    route: Sequence[str] = [SANDBOX] if test else settings.ROUTES[channel]
    return route


def has_sandbox() -> bool:
    """Whether there is an account for test messages."""
    return bool(settings.SANDBOX_URL)


def lanes() -> Sequence[bool]:
    """The kinds of messages that are carried apart from each other: False for real ones, True for those of a test."""
    return [False, True] if has_sandbox() else [False]


def is_test(name: str) -> bool:
    """Whether an account carries test messages, and nothing else."""
    return name == SANDBOX


def label_of(name: str) -> str:
    """An account as staff read it: that of tests says what it is for."""
    return f"{name} (tests)" if is_test(name) else name


def accounts_for(channel: Channel) -> Mapping[str, Provider]:
    """The accounts that carry a channel by name, the preferred one first, that of tests last. One without credentials
    raises `Misconfigured` when it is to send.
    """
    return {name: _account(name) for test in lanes() for name in names_for(channel, test=test)}


def account_named(name: str) -> Provider | None:
    """The account that a callback or a message names, None for a name that we do not have."""
    return _account(name) if name in account_names() else None


def calls_in_flight(channel: Channel) -> int:
    """How many calls one ring may have in flight: where a mail server is on the route, as many as it lets in, or mails
    would wait for a connection in the time that their call may take.
    """
    has_mail_server = any(kind_of(name) == "smtp" for name in names_for(channel))
    most: int = settings.CALLS_IN_FLIGHT
    return min(most, SMTP_CONNECTIONS // RINGS) if has_mail_server else most


def goes_nowhere(name: str) -> bool:
    """Whether what this account carries stays on this machine, or in the sandbox of test clients, and so is nobody's.

    A mail server on this machine may well lead out.
    """
    return is_test(name) or (kind_of(name) in WITH_DOORS and is_loopback(_setting(name, "base_url")))


def kind_of(name: str) -> str:
    """What an account is: twilio, sendgrid, smtp or sandbox."""
    return name.partition("_")[0]


def has_door(name: str, provider: str) -> bool:
    """Whether an account's callbacks come to this provider's door."""
    return kind_of(name) in (provider, SANDBOX)


def channels_of(name: str) -> Sequence[Channel]:
    """The channels that the account of this name serves."""
    channels: Sequence[Channel] = ("sms", "mms", "email")
    return [channel for channel in channels if name in names_for(channel, test=is_test(name))]


def account_names() -> Sequence[str]:
    """The accounts that there are: those whose callbacks we have doors for, those on any route, and the sandbox."""
    routed = [name for route in settings.ROUTES.values() for name in route]
    return list(dict.fromkeys([*WITH_DOORS, *routed, *([SANDBOX] if has_sandbox() else [])]))


def new_account(name: str) -> Provider:
    """An adapter of one's own, to be closed by whoever asked: the shared one belongs to the loop that sends."""
    return _MAKERS[kind_of(name)](name)


async def close_accounts() -> None:
    """Close the connections that this process's accounts keep. On the loop that sends."""
    for account in list(_accounts.values()):
        await account.close()


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
            _accounts[name] = new_account(name)
        return _accounts[name]


def _setting(account: str, key: str) -> Any:
    """An account's own setting: TWILIO_BACKUP_AUTH_TOKEN for twilio_backup."""
    return getattr(settings, f"{account}_{key}".upper())


def _twilio(name: str) -> Provider:
    return TwilioAccount(
        account_sid=_setting(name, "account_sid"),
        auth_token=_setting(name, "auth_token"),
        base_url=_setting(name, "base_url"),
        callback_url=_twilio_callback_url(name),
        timeout=settings.PROVIDER_TIMEOUT_SECONDS,
        connections=RINGS * settings.CALLS_IN_FLIGHT,
        secondary_auth_token=_setting(name, "secondary_auth_token"),
        subaccount_tokens=_setting(name, "subaccount_tokens"),
        shared_keys=_setting(name, "shared_keys"),
        name=name,
    )


def _twilio_callback_url(name: str) -> str | None:
    """None for a real Twilio that could not reach us: the sweep asks it for the status instead."""
    if is_loopback(settings.PUBLIC_URL) and not is_loopback(_setting(name, "base_url")):
        return None
    return f"{settings.PUBLIC_URL}{TWILIO_CALLBACK_PATH}" + (f"?p={name}" if name != "twilio" else "")


def _sendgrid(name: str) -> Provider:
    return SendGridAccount(
        api_key=_setting(name, "api_key"),
        base_url=_setting(name, "base_url"),
        webhook_public_key=_setting(name, "webhook_public_key"),
        inbound_public_key=_setting(name, "inbound_public_key"),
        inbound_secret=_setting(name, "inbound_secret"),
        email_activity=_setting(name, "email_activity"),
        timeout=settings.PROVIDER_TIMEOUT_SECONDS,
        connections=math.ceil(RINGS * settings.CALLS_IN_FLIGHT * SHARE_WITH_TLS),
        name=name,
    )


def _smtp(name: str) -> Provider:
    return SmtpAccount(
        url=_setting(name, "url"),
        timeout=settings.PROVIDER_TIMEOUT_SECONDS,
        connections=SMTP_CONNECTIONS,
        name=name,
    )


def _sandbox(name: str) -> Provider:
    known = credentials_of(settings.SANDBOX_SECRET)
    texts = TwilioAccount(
        account_sid=known.account_sid,
        auth_token=known.auth_token,
        base_url=settings.SANDBOX_URL,
        callback_url=f"{settings.PUBLIC_URL}{TWILIO_CALLBACK_PATH}?p={name}",
        timeout=settings.PROVIDER_TIMEOUT_SECONDS,
        connections=RINGS * settings.CALLS_IN_FLIGHT,
        name=name,
    )
    mails = SendGridAccount(
        api_key=known.api_key,
        base_url=settings.SANDBOX_URL,
        webhook_public_key=known.sendgrid_public_key,
        timeout=settings.PROVIDER_TIMEOUT_SECONDS,
        connections=RINGS * settings.CALLS_IN_FLIGHT,
        name=name,
    )
    return SandboxAccount(texts, mails)


_MAKERS: Mapping[str, Callable[[str], Provider]] = {
    "twilio": _twilio,
    "sendgrid": _sendgrid,
    "smtp": _smtp,
    SANDBOX: _sandbox,
}
_lock = threading.Lock()
_accounts: dict[str, Provider] = {}
_inherited: list[dict[str, Provider]] = []
os.register_at_fork(after_in_child=_leave_to_parent)
