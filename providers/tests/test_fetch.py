"""What a stranger's URL may lead to, and what becomes of it."""

import base64
import socket
import threading
from io import BytesIO
from types import SimpleNamespace

import pytest

from providers import fetch as fetching
from providers.fetch import (
    SHOWN_BYTES,
    Fetched,
    Refused,
    Unreachable,
    fetch,
    fetch_allow,
    is_name,
    is_public,
    post,
)
from providers.tests import odd_server
from providers.tests.media_server import certificate, cut_off, drip, file, flood, redirect, serving, silence, tls_server
from providers.tests.odd_server import answering, http

CREDENTIALS = ("AC1", "pw")
BASIC = "Authorization: Basic " + base64.b64encode(b"AC1:pw").decode()
PUBLIC, PRIVATE, PUBLIC_6 = "93.184.215.14", "10.0.0.1", "2606:4700::1111"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TLS_RECORD = b"\x16\x03\x03\x40\x00"  # the head of a long one
NOT_PUBLIC = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.9
    192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.2.3 240.0.0.1
    255.255.255.255 168.63.129.16 :: ::1 ::8.8.8.8 ::ffff:8.8.8.8 ::ffff:127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
    64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:1::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 4000::1
    5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 ff0e::1 fe80::1%1 2606:4700::1%1
    127.1 2130706433 localhost [::1]
"""


def get(url, *allow, seconds=5, most_bytes=1000, credentials=None):
    """The `Fetched` and the body."""
    into = BytesIO()
    got = fetch(url, into, allow=frozenset(allow), credentials=credentials, most_bytes=most_bytes, seconds=seconds)
    return got, into.getvalue()


def get_from(answers, path="/file", **options):
    with serving(answers) as server:
        return get(server.url + path, server.authority, **options)


def address_info(address):
    family, rest = (socket.AF_INET6, (443, 0, 0)) if ":" in address else (socket.AF_INET, (443,))
    return family, socket.SOCK_STREAM, 6, "", (address, *rest)


@pytest.fixture
def resolver(monkeypatch):
    """Every name has the addresses in `resolver.answers[0]`; later look-ups get the later ones."""
    names = SimpleNamespace(answers=[[PUBLIC]], asked=[])

    def getaddrinfo(host, *_, **__):
        names.asked.append(host)
        return [address_info(each) for each in names.answers[len(names.asked) - 1]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.fixture
def dialled(monkeypatch):
    """The addresses that were connected to. None is: `dialled.port` of this machine answers for all of them."""
    seen, connect = SimpleNamespace(addresses=[], timeouts=[], port=9), socket.socket.connect

    def reroute(self, address):
        seen.addresses.append(address[0])
        seen.timeouts.append(self.gettimeout())
        if self.family == socket.AF_INET6:
            raise OSError("no IPv6 here")
        connect(self, ("127.0.0.1", seen.port))

    monkeypatch.setattr(socket.socket, "connect", reroute)
    return seen


@pytest.fixture
def trusted(monkeypatch, tmp_path):
    """A certificate for media.example and an address, which is trusted while the test runs."""
    path = certificate(tmp_path, "media.example", PUBLIC)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    fetching._tls.cache_clear()
    yield path
    fetching._tls.cache_clear()


# --- What comes back


def test_a_file_is_written_and_described():
    with serving(file(b"picture", Content_Type="Image/PNG; q=1")) as server:
        got, body = get(server.url + "/file#top", server.authority)
    assert body == b"picture"
    assert got == Fetched(content_type="image/png", size=7, url=server.url + "/file")


@pytest.mark.parametrize("headers", [{}, {"Content_Type": "picture"}, {"Content_Type": "<b>/x"}])
def test_a_missing_or_invalid_type_is_bytes(headers):
    assert get_from(file(b"x", **headers))[0].content_type == "application/octet-stream"


def test_the_request_says_only_what_it_must():
    with serving({"/file?a=%20b": file()}) as server:
        get(server.url.replace("127.0.0.1", "LOCALHOST") + "/file?a=%20b", f"localhost:{server.port}")
    assert sorted(server.heads[0].strip().split("\r\n")) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: close",
        "GET /file?a=%20b HTTP/1.1",
        f"Host: localhost:{server.port}",
        "User-Agent: Switchboard",
    ]


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert get_from(file(b"x"))[1] == b"x"


def test_chunks_are_put_together():
    answer = CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert get_from(answer)[1] == b"abcde"


def test_a_body_without_length_ends_with_the_connection():
    assert get_from(b"HTTP/1.0 200 OK\r\n\r\nabc")[1] == b"abc"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 300, 304])
def test_a_refusal_is_final(status):
    with pytest.raises(Refused, match=str(status)):
        get_from(file(b"x", status))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_server_in_trouble_may_answer_later(status):
    with pytest.raises(Unreachable, match=str(status)):
        get_from(file(b"x", status))


@pytest.mark.parametrize("header", [{"Content_Encoding": "gzip"}, {"Transfer_Encoding": "gzip, chunked"}])
def test_a_compressed_body_is_refused(header):
    with pytest.raises(Refused, match="compressed"):
        get_from(file(b"x", **header))


@pytest.mark.parametrize(
    "answer",
    [
        file(b"abc", Content_Length=4),
        CHUNKED + b"5\r\nabc",
        CHUNKED + b"no number\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
        b"not HTTP\r\n\r\n",
        b"",
    ],
)
def test_a_broken_answer_may_be_whole_later(answer):
    with pytest.raises(Unreachable):
        get_from(answer)


def test_a_server_that_is_away_may_come_back():
    with pytest.raises(Unreachable):
        get("http://127.0.0.1:9/", "127.0.0.1:9")


def test_a_full_disk_is_not_the_servers_fault():
    class Full(BytesIO):
        def write(self, _):
            raise OSError("no space left")

    with serving(file(b"x")) as server, pytest.raises(OSError, match="no space"):
        fetch(server.url + "/file", Full(), allow=frozenset({server.authority}), most_bytes=10, seconds=5)


# --- How much, how long


def test_a_file_of_just_the_size_passes():
    assert get_from(file(b"x" * 1000), most_bytes=1000)[0].size == 1000


@pytest.mark.parametrize(
    "answer",
    [
        file(b"", Content_Length=1001),
        CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1001,
    ],
)
def test_a_larger_file_is_refused_however_its_length_is_told(answer):
    with pytest.raises(Refused, match="too large"):
        get_from(answer)


def test_a_file_without_end_is_refused():
    with pytest.raises(Refused, match="too large"):
        get_from(flood(CHUNKED + b"ffffffff\r\n"), most_bytes=200_000)


def test_a_chunk_of_negative_length_is_not_taken_for_all_that_comes():
    with pytest.raises(Unreachable, match="connection"):
        get_from(flood(CHUNKED + b"-1\r\n"), most_bytes=200_000, seconds=2)


@pytest.mark.parametrize(
    "answer",
    [
        silence,
        drip(b""),
        drip(b"HTTP/1.1 200 OK\r\nA: "),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"),
        drip(CHUNKED),
        drip(b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)
def test_a_byte_now_and_then_buys_no_time(answer):
    with pytest.raises(Unreachable, match="too long"):
        get_from(answer, seconds=0.2)


def test_redirects_share_one_time():
    with serving({"/a": redirect("/b"), "/b": silence}) as server, pytest.raises(Unreachable, match="too long"):
        get(server.url + "/a", server.authority, seconds=0.3)
    assert len(server.heads) == 2


@pytest.mark.parametrize("answer", [silence, drip(TLS_RECORD)])
def test_a_slow_handshake_ends_in_time(answer):
    with answering(answer) as server, pytest.raises(Unreachable, match="too long"):
        get(server.url.replace("http", "https"), server.url.removeprefix("http://"), seconds=0.2)


@pytest.mark.parametrize(("seconds", "most"), [(0.5, 0.5), (60, fetching.CONNECT_SECONDS)])
def test_an_address_that_takes_nothing_has_its_own_time_within_the_whole(resolver, dialled, seconds, most):
    with pytest.raises(Unreachable):
        get("https://media.example/", seconds=seconds)
    assert 0 < dialled.timeouts[0] <= most


def test_a_slow_look_up_ends_in_time(monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(60) and [])
    with pytest.raises(Unreachable, match="looked up in time"):
        get("https://media.example/", seconds=0.1)
    answered.set()


# --- Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status):
    answers = {"/a/b": redirect("../c?d#e", status), "/c?d": file(b"x")}
    got, body = get_from(answers, "/a/b")
    assert (got.url[-4:], body) == ("/c?d", b"x")


def test_three_redirects_are_followed_and_four_are_not():
    chain = {f"/{step}": redirect(f"/{step + 1}") for step in range(4)} | {"/4": file(b"x")}
    assert get_from(chain, "/1")[1] == b"x"
    with pytest.raises(Refused, match="too often"):
        get_from(chain, "/0")


@pytest.mark.parametrize(
    "location",
    ["", "ftp://127.0.0.1/", "javascript:1", "http://a@127.0.0.1/", "//127.1/", "/a b", "\\\\10.0.0.1\\x", "https://["],
)
def test_a_redirect_to_what_is_no_url_is_refused(location):
    with pytest.raises(Refused):
        get_from(redirect(location))


def test_each_hop_is_checked_again():
    with pytest.raises(Refused, match="not public"):
        get_from(redirect("https://127.0.0.1:9/file"))


def test_a_redirect_to_http_is_refused_where_http_is_not_allowed():
    with pytest.raises(Refused, match="https"):
        get_from(redirect("http://127.0.0.1:9/file"))


def test_credentials_stay_on_their_host():
    with serving({"/a": redirect("/b"), "/b": file(b"x")}) as server:
        get(server.url + "/a", server.authority, credentials=CREDENTIALS)
    assert [BASIC in head for head in server.heads] == [True, True]


def test_credentials_are_dropped_at_another_host_and_not_taken_up_again():
    with serving({}) as server:
        here, there = server.url, f"http://localhost:{server.port}"
        server.answers = {"/a": redirect(there + "/b"), "/b": redirect(here + "/c"), "/c": file(b"x")}
        get(here + "/a", server.authority, f"localhost:{server.port}", credentials=CREDENTIALS)
    assert [BASIC in head for head in server.heads] == [True, False, False]


def test_credentials_are_dropped_at_another_port():
    with serving(file(b"x")) as other, serving(redirect(other.url + "/file")) as server:
        get(server.url + "/file", server.authority, other.authority, credentials=CREDENTIALS)
    assert BASIC in server.heads[0]
    assert "Authorization" not in other.heads[0]


# --- What a URL may be


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/file",
        "http://media.example/",
        "ftp://media.example/",
        "file:///etc/passwd",
        "https:///file",
        "https://media.example:0/",
        "https://media.example:65536/",
        "https://media.example:-1/",
        "https://media.example:443:443/",
        "https://ann@media.example/",
        "https://ann:pw@media.example/",
        "https://@media.example/",
        "https://media.example\\@10.0.0.1/",
        "https://media.example/\r\nHost: x",
        "https://media.\texample/",
        " https://media.example/",
        "https://media.example/a b",
        "https://media.example/\x00",
        "https://mediä.example/",
        "https://media。example/",
        "https://media.example%2f/",
        "https://media..example/",
        "https://.example/",
        "https://media.example../",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 127 + "a/",
        "https://[::1/",
        "https://[::1]x/",
        "https://[fe80::1%25eth0]/",
        "https://[v1.x]/",
        "https://2130706433/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://media.0x7f/",
        "https://127.0.0.1.1/",
        "https://media.example/" + "x" * 4096,
    ],
)
def test_an_odd_url_is_refused_before_anything_is_asked(resolver, url):
    with pytest.raises(Refused):
        get(url)
    assert resolver.asked == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST.", "169.254.169.254"]
)
def test_no_spelling_reaches_a_private_address(dialled, host):
    with pytest.raises(Refused, match="not public"):
        get(f"https://{host}/")
    assert dialled.addresses == []


def test_a_url_with_a_user_name_is_told_so():
    with pytest.raises(Refused, match="user name"):
        get("https://ann@media.example/")


def test_what_is_refused_names_no_address():
    with pytest.raises(Refused) as refusal:
        get("https://127.0.0.1/?key=1")
    assert str(refusal.value) == "The URL leads to an address that is not public."


def test_what_is_not_public():
    assert [each for each in NOT_PUBLIC.split() if is_public(each)] == []


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.215.14", "172.32.0.1", PUBLIC_6, "2a00:1450::1", "2001:4860::1"]
)
def test_these_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    ("host", "answer"), [("media.example", True), ("a_b", True), ("1.2.3.x", True), ("127.1", False)]
)
def test_a_name_is_no_number(host, answer):
    assert is_name(host) is answer


# --- Which address is connected to


@pytest.mark.parametrize("private", [PRIVATE, "::1", "::ffff:10.0.0.1", "fe80::1%2", "64:ff9b::a00:1"])
def test_a_name_with_one_private_address_is_refused(resolver, dialled, private):
    resolver.answers = [[PUBLIC, PUBLIC_6, private]]
    with pytest.raises(Refused, match="not public"):
        get("https://media.example/")
    assert dialled.addresses == []


def test_a_name_without_addresses_may_get_one(resolver):
    resolver.answers = [[]]
    with pytest.raises(Unreachable):
        get("https://media.example/")


def test_a_failed_look_up_may_work_later(monkeypatch):
    def fails(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(Unreachable):
        get("https://media.example/")


def test_the_checked_address_is_connected_to_and_the_name_is_asked_for(resolver, dialled, trusted):
    names = []
    resolver.answers = [[PUBLIC_6, PUBLIC], [PRIVATE]]
    with serving(file(b"picture"), tls_server(trusted, names)) as server:
        dialled.port = server.port
        got, body = get("https://Media.Example./file")
    assert (got.url, body) == ("https://media.example/file", b"picture")
    assert (resolver.asked, dialled.addresses) == (["media.example"], [PUBLIC_6, PUBLIC])
    assert names == ["media.example"]
    assert "\r\nHost: media.example\r\n" in server.heads[0]


def test_the_second_hop_is_resolved_and_checked_anew(resolver, dialled, trusted):
    resolver.answers = [[PUBLIC], [PRIVATE]]
    with serving(redirect("https://media.example/secret"), tls_server(trusted, [])) as server:
        dialled.port = server.port
        with pytest.raises(Refused, match="not public"):
            get("https://media.example/file")
    assert dialled.addresses == [PUBLIC]


def test_another_port_is_fine_where_the_address_is_public(resolver, dialled, trusted):
    with serving(file(b"x"), tls_server(trusted, [])) as server:
        dialled.port = server.port
        assert get("https://media.example:8443/file")[1] == b"x"
    assert "\r\nHost: media.example:8443\r\n" in server.heads[0]


def test_a_literal_address_is_verified_as_one(dialled, trusted):
    with serving(file(b"x"), tls_server(trusted, [])) as server:
        dialled.port = server.port
        assert get(f"https://{PUBLIC}/file")[1] == b"x"


def test_a_certificate_for_another_name_is_not_taken(resolver, dialled, trusted):
    with serving(file(b"x"), tls_server(trusted, [])) as server:
        dialled.port = server.port
        with pytest.raises(Unreachable, match="certificate"):
            get("https://other.example/file")
    assert server.heads == []


def test_a_certificate_that_nobody_vouches_for_is_not_taken(resolver, dialled, tmp_path):
    tls = tls_server(certificate(tmp_path, "media.example"), [])
    with serving(file(b"x"), tls) as server:
        dialled.port = server.port
        with pytest.raises(Unreachable, match="certificate"):
            get("https://media.example/file")


def test_a_byte_now_and_then_buys_no_time_under_tls(resolver, dialled, trusted):
    drips = drip(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
    with serving(drips, tls_server(trusted, [])) as server:
        dialled.port = server.port
        with pytest.raises(Unreachable, match="too long"):
            get("https://media.example/file", seconds=0.5)


def test_a_body_without_length_ends_with_the_tls_goodbye(resolver, dialled, trusted):
    with serving(b"HTTP/1.0 200 OK\r\n\r\nabc", tls_server(trusted, [])) as server:
        dialled.port = server.port
        assert get("https://media.example/file")[1] == b"abc"


def test_an_end_without_the_tls_goodbye_is_no_end(resolver, dialled, trusted):
    with serving(cut_off(b"HTTP/1.0 200 OK\r\n\r\nabc"), tls_server(trusted, [])) as server:
        dialled.port = server.port
        with pytest.raises(Unreachable):
            get("https://media.example/file")


# --- What the settings let past


def test_an_entry_counts_for_its_port_only_and_in_any_case():
    with serving(file(b"x")) as server:
        url = f"http://localhost:{server.port}/file"
        assert get(url, f"LocalHost:{server.port}")[1] == b"x"
        with pytest.raises(Refused):
            get(url, f"localhost:{server.port + 1}", "localhost", f"127.0.0.1:{server.port}")


@pytest.mark.parametrize(
    ("base_url", "debug", "allowed"),
    [
        ("http://127.0.0.1:8090", True, {"127.0.0.1:8090"}),
        ("http://127.0.0.1:8090", False, set()),
        ("http://LocalHost:8090", False, set()),
        ("http://[0:0::1]:8090", False, set()),
        ("http://[0:0::1]:8090/base", True, {"[::1]:8090"}),
        ("https://api.example", False, {"api.example:443"}),
        ("http://10.0.0.5", False, {"10.0.0.5:80"}),
        ("", True, set()),
    ],
)
def test_the_providers_are_allowed_and_loopback_only_with_debug(settings, base_url, debug, allowed):
    settings.TWILIO_BASE_URL = settings.SENDGRID_BASE_URL = base_url
    settings.FETCH_ALLOW, settings.DEBUG = [], debug
    assert fetch_allow() == allowed


def test_what_is_named_is_allowed_even_without_debug(settings):
    settings.TWILIO_BASE_URL = settings.SENDGRID_BASE_URL = "http://127.0.0.1:8090"
    settings.FETCH_ALLOW, settings.DEBUG = [" LOCALHOST:9000", ""], False
    assert fetch_allow() == {"localhost:9000"}


# --- Posting --------------------------------------------------------------------------------------------------------


def posted(answer, headers=None, seconds=5):
    """What came of posting to a server that answers so, and the requests that it got."""
    with answering(answer) as server:
        allow = frozenset({server.url.removeprefix("http://")})
        return post(f"{server.url}/hook", b'{"a":1}', headers or {}, allow=allow, seconds=seconds), server.requests


def test_what_is_posted_arrives_with_its_headers_and_the_answer_is_told():
    got, [(head, body)] = posted(http(202, "thanks", Retry_After="7"), {"webhook-id": "1"})
    assert (got.status, got.text, got.retry_after) == (202, "thanks", 7)
    assert head.startswith(b"POST /hook ")
    assert b"webhook-id: 1" in head
    assert body == b'{"a":1}'


def test_a_post_reaches_no_private_address_by_a_public_name(resolver, dialled):
    resolver.answers = [[PUBLIC, PRIVATE]]
    with pytest.raises(Refused, match="not public"):
        post("https://shop.example/", b"{}", {}, seconds=5)
    assert dialled.addresses == []


def test_a_post_follows_no_redirect():
    got, requests = posted(http(307, Location="/elsewhere"))
    assert (got.status, len(requests)) == (307, 1)


def test_a_post_that_nobody_answers_ends_in_time():
    with pytest.raises(Unreachable, match="too long"):
        posted(odd_server.silence, seconds=0.3)


def test_of_an_answer_without_end_only_the_beginning_is_read():
    assert len(posted(flood(b"HTTP/1.1 200 OK\r\n\r\n"))[0].text) == SHOWN_BYTES
