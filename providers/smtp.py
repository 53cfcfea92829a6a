"""SMTP: email through a mail server of one's own choice, on Django's mail backend.

One mail is one connection, in a thread of the account's own pool. Up to the line with nothing but a period that ends
the message's data, a server has nothing that it may deliver: only that line makes it process the mail (RFC 5321
§4.1.1.4), and it must cancel what a lost connection left unfinished (§4.1.1.10). So the call is claimed right before
that line: whatever goes wrong earlier is `NotSent`, however much was written; after it only the server's answer tells.
With a 2yz the server has taken responsibility (§4.2.5, §6.1), and what becomes of QUIT changes nothing.

The RFC's own timeouts (§4.5.3.2) are minutes for each command; ours is one for the whole call, as a worker's lease is
shorter than that. A server that needs longer for its answer after the data ends in `Uncertain`.

What becomes of a mail after that is told to the sender's mailbox, not to us: there are no callbacks and no records.
What a server's answers mean stands in `providers.smtp_errors`.
"""

import asyncio
import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from django.core.mail.backends.smtp import EmailBackend

from providers import smtp_errors, smtp_letter
from providers.base import (
    Accepted,
    Callback,
    CallbackPart,
    DeliveryReport,
    InboundMessage,
    OutboundMessage,
    Signature,
)
from providers.errors import Misconfigured, NotSent, ProviderError, Uncertain, UnreadableCallback
from providers.smtp_letter import Letter
from providers.transport import CONNECT_SECONDS

logger = logging.getLogger(__name__)

QUIT_SECONDS = 2.0

_MISCONFIGURED: Mapping[str, str] = {
    "no_credentials": "No server: set SMTP_URL.",
    "bad_base_url": "SMTP_URL is not smtp://, smtp+tls:// or smtps:// with a host, and user and password or neither.",
}
# Scheme → how it is encrypted, the usual port (RFC 5321 §4.5.4.2, RFC 6409 §3.1, RFC 8314 §3.3).
_SCHEMES: Mapping[str, tuple[str, int]] = {
    "smtp": ("", 25),
    "smtp+tls": ("starttls", 587),
    "smtps": ("tls", 465),
    "smtp+ssl": ("tls", 465),
}


class _Server(NamedTuple):
    """What a URL names. `encryption` is "", "starttls" or "tls", which begins with the connection."""

    host: str
    port: int
    user: str
    password: str
    encryption: str


class SmtpAccount:
    """One mail server, as `providers.base.Provider` promises.

    `url` is `smtp://`, `smtp+tls://` (STARTTLS, without which nothing is sent) or `smtps://` alias `smtp+ssl://`, then
    `user:password@host:port`, percent-encoded, where user and password may be left out together. `timeout` is the
    longest that a call may take, in seconds, `connections` how many may be under way. Without a URL nothing is sent.
    """

    def __init__(self, *, url: str, timeout: float, connections: int, name: str = "smtp") -> None:
        self.name = name
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix=name)
        self._misconfigured = "" if url else "no_credentials"
        try:
            server = _server(url)
        except ValueError:
            self._misconfigured = self._misconfigured or "bad_base_url"
        else:
            # Loading the certificates takes longer than all else: once, not for each mail.
            context = ssl.create_default_context() if server.encryption else None
            self._connect = partial(_Backend, server, timeout, context)

    async def send(self, message: OutboundMessage) -> Accepted:
        """See `Provider.send`. Known as soon as the server has answered; taking leave of it is nobody's wait."""
        if self._misconfigured:
            raise Misconfigured(_MISCONFIGURED[self._misconfigured], code=self._misconfigured)
        call, told = _Call(), Future[Accepted]()
        try:
            self._threads.submit(copy_context().run, self._offer, message, call, told)
        except RuntimeError:
            raise NotSent("The connections to the mail server were closed.", code="closed") from None
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.wrap_future(told)
        except TimeoutError:
            raise _late(begun=not call.give_up()) from None
        except asyncio.CancelledError:
            call.give_up()
            raise

    def _offer(self, message: OutboundMessage, call: "_Call", told: "Future[Accepted]") -> None:
        if not told.set_running_or_notify_cancel():
            return
        backend = self._connect(call)
        try:
            letter = smtp_letter.write(message)
            backend.offer(letter)
            told.set_result(Accepted(provider_message_id=letter.message_id))
        except Exception as error:  # whatever it is, the caller gets an outcome
            told.set_exception(_in_our_words(error, call))
        finally:
            backend.leave()

    async def close(self) -> None:
        """See `Provider.close`. Calls under way end as they would; no new one begins."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check_signature(self, callback: Callback) -> Signature:
        """See `Provider.check_signature`: invalid, as nobody calls back, and a missing one may be let in somewhere."""
        return Signature.INVALID

    def split(self, callback: Callback) -> Sequence[CallbackPart]:
        """See `Provider.split`: there is nothing to read."""
        raise UnreadableCallback("A mail server does not call back.")

    def read_report(self, payload: Mapping[str, Any]) -> DeliveryReport:
        """See `Provider.read_report`: there is nothing to read."""
        raise UnreadableCallback("A mail server does not call back.")

    def read_inbound(self, payload: Mapping[str, Any], body: bytes = b"") -> InboundMessage:
        """See `Provider.read_inbound`: there is nothing to read."""
        raise UnreadableCallback("A mail server does not call back.")

    def media_credentials(self, url: str) -> None:
        """See `Provider.media_credentials`: a mail server holds no media."""

    async def find(self, message: OutboundMessage, since: datetime) -> None:
        """See `Provider.find`: a mail server shows no records."""

    async def ask(self, provider_message_id: str) -> None:
        """See `Provider.ask`: a mail server can't be asked."""

    async def missed(self, since: datetime) -> AsyncIterator[CallbackPart]:
        """See `Provider.missed`: nothing, as a mail server shows no records."""
        nothing: Sequence[CallbackPart] = ()
        for part in nothing:
            yield part


class _Call:
    """The call of one mail, shared by the thread that makes it and the loop that waits: which of them was first.

    Either the thread claims it to end the message's data, or the loop claims it to give up; never both. So a mail that
    was given up in time is provably not processed, however late its thread wakes. `step` is what it is at.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given_up = False
        self._socket: socket.socket | None = None
        self.begun = False
        self.step = "connect"

    def hold(self, connected: socket.socket | None) -> None:
        """This is its connection from now on: giving up ends it at any step."""
        with self._lock:
            self._socket = connected
        if self._given_up:
            self.give_up()

    def begin(self, connected: socket.socket | None) -> None:
        """Claim the call for the end of the data. Raises OSError when it was given up."""
        with self._lock:
            if self._given_up:
                raise OSError("given up")
            self.begun, self._socket = True, connected

    def give_up(self) -> bool:
        """True when the call had not begun, so that it never will. Either way end it, to get the thread back."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
            return not self.begun


class _Claiming(smtplib.SMTP):
    """A connection that knows the call it is made for, and asks it before it ends the message's data."""

    def __init__(self, call: _Call, *args: Any, **named: Any) -> None:
        self._call = call
        super().__init__(*args, **named)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # smtplib's own place for making connections otherwise. Connecting has less time than the whole call.
        connected: socket.socket = super()._get_socket(host, port, min(CONNECT_SECONDS, timeout / 2))  # type: ignore[misc]
        connected.settimeout(timeout)
        # The period that ends a message would wait for the server's acknowledgement of the rest, up to 40 ms.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._call.step = "hello"
        return connected

    def starttls(self, *args: Any, **named: Any) -> tuple[int, bytes]:
        self._call.step = "starttls"
        return super().starttls(*args, **named)

    def login(self, *args: Any, **named: Any) -> tuple[int, bytes]:
        self._call.step = "login"
        return super().login(*args, **named)

    def getreply(self) -> tuple[int, bytes]:
        self._call.hold(self.sock)
        try:
            return super().getreply()
        except smtplib.SMTPResponseException:  # a line without end, which smtplib reports as a 500 by the server
            return -1, b""

    def send(self, s: Any) -> None:
        if isinstance(s, bytes):  # the message's data with its end; commands are text
            period = len(b".\r\n")
            super().send(s[:-period])
            self._call.begin(self.sock)
            self._call.step, s = "end", s[-period:]
        super().send(s)


class _ClaimingSSL(_Claiming, smtplib.SMTP_SSL):
    pass


class _Backend(EmailBackend):
    """Django's connection to a server, made for one call."""

    _partial_connection: smtplib.SMTP | None

    def __init__(self, server: _Server, timeout: float, context: ssl.SSLContext | None, call: _Call) -> None:
        super().__init__(
            host=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.encryption == "starttls",
            use_ssl=server.encryption == "tls",
            timeout=timeout,
        )
        self._call = call
        if context is not None:
            self.ssl_context = context

    @property
    def connection_class(self) -> Callable[..., smtplib.SMTP]:  # type: ignore[override]  # it is only called
        return partial(_ClaimingSSL if self.use_ssl else _Claiming, self._call)

    def offer(self, letter: Letter) -> None:
        """Return when the server has accepted the letter. Raises what smtplib raises."""
        self.open()
        smtp = self.connection
        assert smtp is not None
        smtp.ehlo_or_helo_if_needed()
        self._call.step = "mail"
        _positive(smtp.mail(letter.sender, _options(smtp, letter)))
        self._call.step = "rcpt"
        _positive(smtp.rcpt(letter.recipient))
        self._call.step = "data"
        _positive(smtp.data(letter.content))

    def leave(self) -> None:
        """Say goodbye (RFC 5321 §4.1.1.10) where there is still somebody, and close the connection."""
        smtp = self.connection or self._partial_connection
        if smtp is None:
            return
        with suppress(Exception):  # the outcome is known
            if smtp.sock is not None:
                smtp.sock.settimeout(QUIT_SECONDS)
            smtp.quit()
        smtp.close()


def _options(smtp: smtplib.SMTP, letter: Letter) -> list[str]:
    """What MAIL says of the letter (RFC 1870 §3, RFC 6531 §3.1)."""
    # smtplib itself does not ask this of a server that knows no EHLO.
    if letter.utf8 and not smtp.has_extn("smtputf8"):
        raise smtplib.SMTPNotSupportedError
    size = [f"SIZE={len(letter.content)}"] if smtp.has_extn("size") else []
    return [*size, "SMTPUTF8", "BODY=8BITMIME"] if letter.utf8 else size


def _positive(answer: tuple[int, bytes]) -> None:
    code, text = answer
    if code // 100 != 2:
        raise smtplib.SMTPResponseException(code, text)


def _server(url: str) -> _Server:
    """Read the URL of a server. Raises ValueError when it is none."""
    parts = urlsplit(url)
    host, user, password = parts.hostname, unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme not in _SCHEMES or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("not the URL of a mail server")
    # smtplib can't log in with anything else than ASCII, and Django not without one of them.
    if not (user + password).isascii() or bool(user) != bool(password):
        raise ValueError("no such user and password")
    encryption, port = _SCHEMES[parts.scheme]
    return _Server(host.encode("idna").decode(), parts.port or port, user, password, encryption)


def _in_our_words(error: Exception, call: _Call) -> ProviderError:
    """The end of a call without acceptance in our words: what was answered to which step, or how far it had come."""
    if isinstance(error, ProviderError):
        return error
    if isinstance(error.__context__, TimeoutError):  # smtplib reports it as a lost connection
        error = error.__context__
    if type(error) in (smtplib.SMTPNotSupportedError, smtplib.SMTPException) and call.step in smtp_errors.UNSUPPORTED:
        outcome, code, sentence = smtp_errors.UNSUPPORTED[call.step]
        return outcome(sentence, code=code)
    if isinstance(error, smtplib.SMTPResponseException):
        is_hello = isinstance(error, (smtplib.SMTPConnectError, smtplib.SMTPHeloError))
        return _refused("hello" if is_hello else call.step, error.smtp_code, error.smtp_error)
    if isinstance(error, OSError):
        return _broken(error, call.step)
    logger.error("the SMTP call ended with an unexpected %s", type(error).__name__)
    return (Uncertain if call.begun else NotSent)("The mail was interrupted in an unexpected way.", code="unexpected")


def _late(*, begun: bool) -> ProviderError:
    if begun:
        return Uncertain("The mail server did not answer in time.", code="timeout")
    return NotSent("The mail server did not take the message in time.", code="connect_timeout")


def _refused(step: str, code: int, text: bytes | str) -> ProviderError:
    if smtp_errors.is_relay_denied(step, code, text if isinstance(text, bytes) else text.encode()):
        outcome, name, sentence = smtp_errors.RELAY_DENIED
        return outcome(sentence, code=name)
    row = smtp_errors.refusal(step, code)
    if row is not None:
        return row.outcome(row.sentence, code=row.name or str(code))
    unreadable = Uncertain if step == "end" else NotSent
    return unreadable("The mail server's answer could not be read.", code="unreadable_answer")


def _broken(error: OSError, step: str) -> ProviderError:
    if isinstance(error, TimeoutError):
        return _late(begun=step == "end")
    if step == "end":
        return Uncertain("The connection to the mail server broke before its answer.", code="connection_lost")
    if step in ("connect", "hello", "starttls"):
        return next(NotSent(told, code=code) for kind, code, told in smtp_errors.NO_WAY if isinstance(error, kind))
    return NotSent("The connection to the mail server broke before the message had left.", code="connection_lost")
