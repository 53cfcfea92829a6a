"""A URL that a stranger gave us, fetched or posted to safely. The only place that opens one.

A name is resolved once for each hop; every address that it has must be public, and one of those that were checked is
connected to, so that a name whose answers change (DNS rebinding) gains nothing. There are no proxies, no cookies and
no retries.
"""

import base64
import http.client
import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from django.conf import settings

from providers.mime import media_type
from providers.wire import as_text, is_loopback, retry_after

MOST_REDIRECTS = 3
CONNECT_SECONDS = 5.0
BLOCK_BYTES = 64 * 1024
# Of the answer to a post.
SHOWN_BYTES = 1000
DEFAULT_PORTS = {"https": 443, "http": 80}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Request Timeout, Too Early, Too Many Requests: the only 4xx that time mends.
TEMPORARY = frozenset({408, 425, 429})

# IANA has given out no other IPv6 addresses; those that carry an IPv4 one (mapped, NAT64) are outside of it, or below.
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# Nobody's server, though not every Python version's `is_global` knows it.
NOT_PUBLIC = (
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments (RFC 6890): some reach the local router
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays (RFC 7526)
    ipaddress.ip_network("168.63.129.16/32"),  # what Azure tells its virtual machines, on an address like any other
    ipaddress.ip_network("2001::/23"),  # protocol assignments (RFC 6890), Teredo among them
    ipaddress.ip_network("2002::/16"),  # 6to4 (RFC 3056)
    ipaddress.ip_network("3fff::/20"),  # documentation (RFC 9637)
)

# Visible ASCII without the backslash, which browsers take for a slash and this library does not.
_URL = re.compile(r"[!-\[\]-~]{1,4096}")
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{0,5}))?")
# No public name ends in a number; what does is an address in one of its older spellings (RFC 6943 §3.1.1).
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_-]{1,63}\.)*(?!(?:0x[0-9a-f]*|[0-9]+)\Z)[a-z0-9_-]{1,63}")


class Refused(Exception):
    """Will never work. The text is a sentence for a person and names no address."""


class Unreachable(Exception):
    """May work later. The text is a sentence for a person and names no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came: the media type as the server claims it, in lower case without parameters; bytes; the final URL."""

    content_type: str
    size: int
    url: str


def fetch_allow() -> frozenset[str]:
    """What the settings let past the checks: `FETCH_ALLOW` and where the providers are, loopback only with DEBUG."""
    urls = (settings.TWILIO_BASE_URL, settings.SENDGRID_BASE_URL, settings.SANDBOX_URL)
    providers = {authority_of(each) for each in urls}
    if not settings.DEBUG:
        providers = {each for each in providers if not is_loopback(f"https://{each}")}
    return frozenset(providers | {each.strip().lower() for each in settings.FETCH_ALLOW}) - {""}


def fetch(
    url: str,
    into: BinaryIO,
    *,
    allow: frozenset[str] = frozenset(),
    credentials: tuple[str, str] | None = None,
    most_bytes: int,
    seconds: float,
) -> Fetched:
    """GET an https URL and write the body into a file, following at most `MOST_REDIRECTS` redirects.

    `allow` names each host:port (IPv6 in brackets) that may also speak http and have any address. `credentials`, a user
    name and password (RFC 7617), go to the URL's own scheme, host and port only. `seconds` is for everything together,
    from the first look-up to the last byte. A body that comes compressed is refused.

    Raises `Refused` or `Unreachable`; what was written by then is to be thrown away.
    """
    deadline = time.monotonic() + seconds
    target = _target(url)
    for _ in range(MOST_REDIRECTS + 1):
        with _asked(target, credentials, allow, deadline) as answer:
            if answer.status not in REDIRECTS:
                kind = media_type(answer.getheader("Content-Type", ""))
                return Fetched(content_type=kind, size=_save(answer, into, most_bytes), url=target.url)
            following = _target(answer.getheader("Location", ""), base=target.url)
        if following.origin != target.origin:
            credentials = None
        target = following
    raise Refused("The URL redirects too often.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a server said to a post: its status, the beginning of its body, and how long it wants to be left alone, in
    seconds, where it said so (RFC 9110 §10.2.3).
    """

    status: int
    text: str
    retry_after: float | None


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, allow: frozenset[str] = frozenset(), seconds: float
) -> Answered:
    """POST to an https URL, within so many seconds for everything together; a redirect is an answer like any other.

    `allow` is as for `fetch`. Raises `Refused` or `Unreachable`: then whether it arrived is not known.
    """
    deadline, begin = time.monotonic() + seconds, b""
    with _asked(_target(url), None, allow, deadline, body=body, headers=headers) as answer:
        with suppress(Unreachable):  # the status is known
            for block in _blocks(answer):
                begin += block
                if len(begin) >= SHOWN_BYTES:
                    break
        text = as_text(begin[:SHOWN_BYTES])
        return Answered(status=answer.status, text=text, retry_after=retry_after(dict(answer.headers)))


def check(url: str, allow: frozenset[str] = frozenset()) -> None:
    """Raise `Refused` for what `fetch` and `post` would refuse without asking anybody: it is only looked at."""
    target = _target(url)
    host = target.host.strip("[]")
    if target.authority in allow:
        return
    if target.scheme != "https":
        raise Refused("Only https can be fetched.")
    if host == "localhost" or host.endswith(".localhost") or not (is_name(host) or is_public(host)):
        raise Refused("The URL leads to an address that is not public.")


def authority_of(url: str) -> str:
    """Return the host:port that a URL leads to, "" for what is no URL."""
    try:
        return _target(url).authority
    except Refused:
        return ""


def is_public(address: str) -> bool:
    """Say whether this is a literal IP address (IPv6 without brackets) at which anybody's server may be.

    Addresses that are private, shared, multicast or reserved are not, nor is one that carries another inside.
    """
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    if not known.is_global or known.is_multicast or any(known in network for network in NOT_PUBLIC):
        return False
    if isinstance(known, ipaddress.IPv4Address):
        return True
    return known in GLOBAL_UNICAST and not known.scope_id


def is_name(host: str) -> bool:
    """Say whether a host in lower case, without a final dot, is a DNS name and no spelling of an address."""
    return _NAME.fullmatch(host) is not None


# --- What a URL says ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL taken apart: a host is a DNS name or a literal address, IPv6 with its brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str]:
        return self.scheme, self.authority

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else self.authority

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.path}"


def _target(url: str, base: str = "") -> _Target:
    """Take a URL apart, or a reference from `base`. Raises Refused for what only a lenient reader would understand."""
    if not _URL.fullmatch(url):
        raise Refused("This is not a URL that can be fetched.")
    try:
        parts = urlsplit(urljoin(base, url))
    except ValueError:
        raise Refused("This is not a URL that can be fetched.") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise Refused("Only https can be fetched.")
    if "@" in parts.netloc:
        raise Refused("The URL carries a user name or password.")
    host, port = _host_and_port(parts.netloc.lower(), DEFAULT_PORTS[parts.scheme])
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(parts.scheme, host, port, path)


def _host_and_port(authority: str, default_port: int) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(authority)
    host = _host(found[1]) if found else ""
    port = int(found[2] or default_port) if found else 0
    if not host or not 0 < port < 65536:
        raise Refused("This is not a URL that can be fetched.")
    return host, port


def _host(told: str) -> str:
    """The host in the one spelling that is compared and connected to, "" for what is none."""
    host = told.removesuffix(".")
    if is_name(host):
        return host
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ""
    return str(address) if address.version == 4 else f"[{address}]"


# --- A connection to a checked address ------------------------------------------------------------------------------


class _Timed:
    """A socket on which everything has to be done by `deadline`, however often a byte comes to keep it alive."""

    deadline = 0.0

    def recv_into(self, *args: Any) -> int:
        self.settimeout(_left(self.deadline))  # type: ignore[attr-defined]
        return int(super().recv_into(*args))  # type: ignore[misc]

    def sendall(self, *args: Any) -> None:
        self.settimeout(_left(self.deadline))  # type: ignore[attr-defined]
        super().sendall(*args)  # type: ignore[misc]


class _Socket(_Timed, socket.socket):
    pass


class _SecureSocket(_Timed, ssl.SSLSocket):
    pass


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@cache
def _tls() -> ssl.SSLContext:
    # Loading the CA certificates takes some 20 ms.
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = _SecureSocket
    return context


def _connected(target: _Target, allow: frozenset[str], deadline: float) -> socket.socket:
    """A socket to one of the target's addresses, after every one of them was checked; with TLS where it speaks it."""
    allowed = target.authority in {each.lower() for each in allow}
    if target.scheme != "https" and not allowed:
        raise Refused("Only https can be fetched.")
    addresses = _resolved(target, deadline)
    if not allowed and not all(is_public(address[0]) for _, address in addresses):
        raise Refused("The URL leads to an address that is not public.")
    with _plain_words():
        connected = _dialled(addresses, deadline)
        return _secured(connected, target, deadline) if target.scheme == "https" else connected


def _resolved(target: _Target, deadline: float) -> list[tuple[int, Any]]:
    """Every address of the host, as (family, what `connect` takes). Asked in a thread, since no look-up has a timeout.

    The thread of a look-up that is given up lives until the system's resolver gives up too.
    """
    answers: queue.SimpleQueue[list[tuple[int, Any]]] = queue.SimpleQueue()
    threading.Thread(target=_look_up, args=(target, answers), daemon=True).start()
    try:
        with _plain_words():
            found = answers.get(timeout=_left(deadline))
    except queue.Empty:
        raise Unreachable("The server's name could not be looked up in time.") from None
    if not found:
        raise Unreachable("The server's name could not be looked up.")
    return found


def _look_up(target: _Target, answers: "queue.SimpleQueue[list[tuple[int, Any]]]") -> None:
    try:
        found = socket.getaddrinfo(target.host.strip("[]"), target.port, type=socket.SOCK_STREAM)
        answers.put([(family, address) for family, _, _, _, address in found])
    except OSError:
        answers.put([])


def _dialled(addresses: list[tuple[int, Any]], deadline: float) -> _Socket:
    """A connection to the first address that takes one. Raises what the last one raised."""
    error = OSError()
    for family, address in addresses:
        dialled = _Socket(family, socket.SOCK_STREAM)
        try:
            dialled.settimeout(min(_left(deadline), CONNECT_SECONDS))
            dialled.connect(address)
        except OSError as refusal:
            dialled.close()
            error = refusal
        else:
            dialled.deadline = deadline
            return dialled
    raise error


def _secured(connected: _Socket, target: _Target, deadline: float) -> ssl.SSLSocket:
    """TLS for the host's name, whatever its address. An end without the TLS goodbye is an error, not an end of data."""
    # TLS takes the connection over: what is closed here is an empty shell, unless it came to nothing.
    with connected:
        connected.settimeout(_left(deadline))
        secured = _tls().wrap_socket(connected, server_hostname=target.host.strip("[]"), suppress_ragged_eofs=False)
    secured.deadline = deadline  # type: ignore[attr-defined]
    return secured


# --- One request and its answer -------------------------------------------------------------------------------------


@contextmanager
def _plain_words() -> Iterator[None]:
    """What can go wrong on the way, as Unreachable; without a cause, which would name addresses in a traceback."""
    try:
        yield
    except TimeoutError:
        raise Unreachable("The server took too long.") from None
    except ssl.SSLCertVerificationError:
        raise Unreachable("The server's certificate could not be verified.") from None
    except (OSError, http.client.HTTPException):
        raise Unreachable("The connection to the server failed.") from None


@contextmanager
def _asked(
    target: _Target,
    credentials: tuple[str, str] | None,
    allow: frozenset[str],
    deadline: float,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Ask once, by POST where there is a body; the answer's body can be read while the block runs."""
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.auto_open = 0
    with closing(connection):
        connection.sock = _connected(target, allow, deadline)
        with _plain_words():
            asked = {**_headers(target, credentials), **(headers or {})}
            connection.request("GET" if body is None else "POST", target.path, body=body, headers=asked)
            answer = connection.getresponse()
        with answer:
            yield answer


def _headers(target: _Target, credentials: tuple[str, str] | None) -> dict[str, str]:
    headers = {
        "Host": target.host_header,
        "User-Agent": "Switchboard",
        "Accept": "*/*",
        "Connection": "close",
    }
    if credentials:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
    return headers


def _save(answer: http.client.HTTPResponse, into: BinaryIO, most_bytes: int) -> int:
    """Write the body of a good answer; how many bytes it had."""
    _check_status(answer.status)
    if not _is_plain(answer):
        raise Refused("The server sent the file compressed.")
    size = 0
    if (answer.length or 0) > most_bytes:
        raise Refused("The file is too large.")
    for block in _blocks(answer):
        size += len(block)
        if size > most_bytes:
            raise Refused("The file is too large.")
        into.write(block)
    return size


def _check_status(status: int) -> None:
    if status >= 500 or status in TEMPORARY:
        raise Unreachable(f"The server answered {status}.")
    if not 200 <= status < 300:
        raise Refused(f"The server answered {status}.")


def _is_plain(answer: http.client.HTTPResponse) -> bool:
    encoding = answer.getheader("Content-Encoding", "").strip().lower()
    transfer = answer.getheader("Transfer-Encoding", "").strip().lower()
    return encoding in {"", "identity"} and transfer in {"", "chunked"}


def _blocks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body, a block at a time. Into a buffer: `read` would take a chunk of length -1 for everything that comes."""
    buffer = memoryview(bytearray(BLOCK_BYTES))
    while True:
        with _plain_words():
            count = answer.readinto(buffer)
        if not count:
            break
        yield bytes(buffer[:count])
    if answer.length:
        raise Unreachable("The connection ended before the file did.")
