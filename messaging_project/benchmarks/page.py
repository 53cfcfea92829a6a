"""Pages of the admin as a browser gets them: logged in by the form, and followed by their links."""

import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from messaging_project.local import LocalError

SECONDS_TO_ANSWER = 300
FOUND = 302


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a page: its whole path with the query, its text in one line, and its `rel`."""

    path: str
    text: str
    rel: str


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: `seconds` from the request's first byte to the answer's last."""

    path: str
    status: int
    text: str
    seconds: float
    location: str = ""

    @property
    def links(self) -> list[Link]:
        """Every link that it has, in its order."""
        reader = LinkReader(self.path)
        reader.feed(self.text)
        return reader.links

    def link(self, is_wanted: Callable[[Link], object]) -> str | None:
        """Return the path of the first link that is wanted, None without one."""
        return next((link.path for link in self.links if is_wanted(link)), None)


class LinkReader(HTMLParser):
    """Collects links."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.links: list[Link] = []
        self._href: str | None = None
        self._rel = self._text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Begin a link."""
        values = dict(attributes)
        if tag == "a" and values.get("href"):
            self._href, self._rel = values["href"], values.get("rel") or ""
            self._text = values.get("aria-label") or values.get("title") or ""

    def handle_data(self, data: str) -> None:
        """Read on in its text."""
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        """End a link."""
        if tag == "a" and self._href:
            self.links.append(Link(urljoin(self.path, self._href), " ".join(self._text.split()), self._rel))
            self._href = None


@dataclass
class Browser:
    """One person at a site, with cookies. Each request has a connection of its own: none was closed while idle."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> Page:
        """GET a path, and follow nothing. Raises OSError or http.client's HTTPException."""
        return self._ask("GET", path)

    def post(self, path: str, form: dict[str, str]) -> Page:
        """POST a form with the token that Django asks for."""
        token = next((value for name, value in self.cookies.items() if "csrftoken" in name), "")
        return self._ask("POST", path, urlencode({**form, "csrfmiddlewaretoken": token}))

    def log_in(self, path: str, name: str, password: str) -> None:
        """Log in by the form at a path. Raises `LocalError` when that is refused."""
        self.get(path)
        answer = self.post(path, {"username": name, "password": password})
        if answer.status != FOUND:
            raise LocalError(f"{name} could not log in: {path} answered {answer.status}.")

    def _ask(self, method: str, path: str, body: str | None = None) -> Page:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), "Referer": self.url}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        began = time.perf_counter()
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=SECONDS_TO_ANSWER)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        seconds = time.perf_counter() - began
        for cookie in answer.headers.get_all("Set-Cookie", []):
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(cookie).items()}
        return Page(path, answer.status, text, seconds, answer.headers.get("Location", ""))


def says(pattern: str) -> Callable[[Link], object]:
    """Return a test for links whose text or query matches a pattern, in any case."""
    wanted = re.compile(pattern, re.IGNORECASE)
    return lambda link: wanted.search(link.text) or wanted.search(urlsplit(link.path).query)
