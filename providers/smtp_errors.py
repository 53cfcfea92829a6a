"""What the end of a mail's call means: the answers of a mail server, what it can't do, and what bars the way to it.

A step is what a call is at: "connect", "hello" (greeting and EHLO), "starttls", "login", "mail", "rcpt", "data" (the
command), "end" (the message's data have left). The sentences are ours, as those of servers may name addresses.

An answer that has no row is no answer of SMTP's: `Uncertain` after the data, `NotSent` before them.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from providers.errors import Misconfigured, NotSent, ProviderError, Rejected


class Refusal(NamedTuple):
    """An answer of 4yz or 5yz (RFC 5321 §4.2.1): to which step, "" for any, and its number or its first digit.

    Of the rows that fit, the first counts. With a `name` that is the error's code, in place of the number.
    """

    step: str
    code: str
    outcome: type[ProviderError]
    source: str
    sentence: str
    name: str = ""


# fmt: off
REFUSALS = (
    Refusal("",         "421", NotSent,       "RFC 5321 §3.8",
            "The mail server is closing down and takes no mail at the moment.", "no_service"),
    Refusal("",         "530", Misconfigured, "RFC 4954 §6, RFC 3207 §4",
            "The mail server wants a login or an encrypted connection first: check SMTP_URL."),
    Refusal("",         "535", Misconfigured, "RFC 4954 §6",
            "The mail server refused the user name or the password: check SMTP_URL."),

    # The session: every mail would fail, so all of them wait.
    Refusal("hello",    "5yz", Misconfigured, "RFC 5321 §3.1",
            "The mail server takes no mail from this machine."),
    Refusal("starttls", "5yz", Misconfigured, "RFC 3207 §4",
            "The mail server refused to encrypt the connection."),
    Refusal("login",    "432", Misconfigured, "RFC 4954 §6",
            "The mail server wants the account's password to be renewed."),
    Refusal("login",    "5yz", Misconfigured, "RFC 4954 §6",
            "The mail server refused the login: check SMTP_URL."),

    Refusal("hello",    "4yz", NotSent,       "RFC 5321 §4.2.1",
            "The mail server takes no mail from this machine at the moment.", "no_service"),
    Refusal("starttls", "4yz", NotSent,       "RFC 3207 §4",
            "The mail server can't encrypt the connection at the moment.", "no_service"),
    Refusal("login",    "4yz", NotSent,       "RFC 4954 §6",
            "The mail server takes no login at the moment.", "no_service"),

    # The mail, its sender or its recipient: nobody else is harmed.
    Refusal("mail",     "552", Rejected,      "RFC 1870 §6.1",
            "The message is larger than the mail server takes."),
    Refusal("mail",     "5yz", Rejected,      "RFC 5321 §4.2.2",
            "The mail server does not take the sender's address."),
    Refusal("rcpt",     "5yz", Rejected,      "RFC 5321 §4.2.2",
            "The mail server does not take the recipient's address."),
    Refusal("data",     "5yz", Rejected,      "RFC 5321 §4.3.2",
            "The mail server does not take the message."),
    Refusal("end",      "552", Rejected,      "RFC 1870 §6.3",
            "The message is larger than the mail server takes."),
    Refusal("end",      "5yz", Rejected,      "RFC 5321 §4.2.5",
            "The mail server refused the message for what it says."),

    # Not now: nothing was taken, so another try is safe.
    Refusal("",         "4yz", NotSent,       "RFC 5321 §4.2.1",
            "The mail server does not take the message at the moment."),
)
# fmt: on

# What mail servers say to a recipient when they would relay for nobody who has not logged in. No number tells it from
# the refusal of one recipient; RFC 3463 §3.8 has 5.7.1 for both.
RELAY_DENIED = (Misconfigured, "relay_denied", "The mail server does not relay our mail: check the login in SMTP_URL.")

# What a server can't do, by the step that asks for it.
UNSUPPORTED: Mapping[str, tuple[type[ProviderError], str, str]] = {
    "starttls": (Misconfigured, "no_starttls", "The mail server can't encrypt the connection: check SMTP_URL."),
    "login": (Misconfigured, "no_auth", "The mail server offers no login that we know: check SMTP_URL."),
    "mail": (Rejected, "no_smtputf8", "The mail server takes only addresses in ASCII."),
}

# What ended a call on the way to the server → a short word and a sentence. The first that fits counts.
NO_WAY: Sequence[tuple[type[Exception], str, str]] = (
    (socket.gaierror, "dns", "The mail server's host name could not be resolved."),
    (ssl.SSLError, "tls", "No secure connection to the mail server could be made."),
    (OSError, "connect", "No connection to the mail server could be made."),
)


def is_relay_denied(step: str, code: int, text: bytes) -> bool:
    """Say whether an answer is about us and not about the recipient.

    Postfix says "Relay access denied", Exim "relay not permitted", Exchange "Unable to relay".
    """
    return step == "rcpt" and code // 100 == 5 and b"relay" in text.lower()


def refusal(step: str, code: int) -> Refusal | None:
    """The row of an answer to this step, None when it is no refusal."""
    told = (str(code), f"{code // 100}yz")
    return next((row for row in REFUSALS if row.step in ("", step) and row.code in told), None)
