"""How long staff wait for a list of conversations or a thread: `python -m messaging_project.benchmarks.staff_pages`.

Each page is asked for by one browser, at least sixty times (less often where that takes minutes), and in turn with the
yardstick: the admin's login page on the same server. One line of JSON for each figure goes to standard output, progress
and a table for people to standard error.
"""

import argparse
import json
import re
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import cycle
from urllib.parse import parse_qs, quote, urlsplit

import psycopg

from messaging_project.benchmarks.ground import ground
from messaging_project.benchmarks.page import Browser, Link, Page, says
from messaging_project.benchmarks.table import begin, tell
from messaging_project.benchmarks.world import COMMON_WORD, RARE_WORD, Size
from messaging_project.local import LocalError
from messaging_project.progress import Progress

GOAL_MS = 200.0
REQUESTS, WARM_UP, LEAST_REQUESTS, MOST_SECONDS = 60, 3, 5, 120.0
YARDSTICK = "admin login page"
HOT_NUMBER, ORDINARY_NUMBER = "+15551000001", "+15551000123"
THREADS = 20
OLDER_PAGES = 5
CHANGE = re.compile(r"/conversations/conversation/[0-9a-f-]{36}/(change/)?$")


@dataclass
class Times:
    """How long a page took, in milliseconds, and the yardstick meanwhile; `errors` are answers other than 200."""

    name: str
    page: list[float] = field(default_factory=list)
    yardstick: list[float] = field(default_factory=list)
    errors: int = 0

    def rows(self) -> Iterator[dict[str, object]]:
        """Yield a row for the median and one for the 95th percentile; without a value where an error makes it void."""
        for label, percent, goal in (("p50", 50, None), ("p95", 95, GOAL_MS)):
            is_void = self.errors > 0 or len(self.page) < LEAST_REQUESTS
            value = None if is_void else round(percentile(self.page, percent), 1)
            against = round(percentile(self.yardstick, percent), 1) if self.yardstick else None
            yield {
                "name": f"{self.name}, {label}",
                "value": value,
                "unit": "ms",
                "yardstick": f"{YARDSTICK}, {label}",
                "yardstick_value": against,
                "ratio": round(value / against, 2) if value and against else None,
                "goal": goal,
                "ok": value is not None and (goal is None or value < goal),
            }


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many percent of them are."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


class Desk:
    """A member of staff, and the pages that are found from the admin's first one by its links."""

    def __init__(self, url: str, password: str) -> None:
        self.browser = Browser(url)
        self.stranger = Browser(url)
        self.login = "/admin/login/"
        self.browser.log_in(self.login, "admin", password)
        self.list = self._found(self.browser.get("/admin/"), lambda link: link.path.endswith("/conversation/"))
        self.first = self.browser.get(self.list)

    def pages(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each question with the paths that answer it, none where the admin does not offer it."""
        yield "list: first page", [self.list]
        yield "list: page 50", some(self._page_50())
        yield "list: unread", some(self.first.link(self._filters("unread")))
        yield "list: failed", some(self.first.link(self._filters("failed|not.reached")))
        yield "list: search by number", [self._search(ORDINARY_NUMBER)]
        yield "list: search by rare text", [self._search(RARE_WORD)]
        yield "list: search by common text", [self._search(COMMON_WORD)]
        threads = [link.path for link in self.first.links if CHANGE.search(urlsplit(link.path).path)]
        yield "thread: ordinary", list(dict.fromkeys(threads))[1 : THREADS + 1]
        hot = self.browser.get(self._search(HOT_NUMBER)).link(lambda link: CHANGE.search(urlsplit(link.path).path))
        yield "thread: of 10,000", some(hot)
        yield "thread: of 10,000, older", self._older(hot) if hot else []

    def _search(self, text: str) -> str:
        return f"{self.list}?q={quote(text)}"

    def _filters(self, pattern: str) -> Callable[[Link], object]:
        wanted = says(pattern)

        def filters(link: Link) -> object:
            parts = urlsplit(link.path)
            return parts.path == self.list and "o" not in parse_qs(parts.query) and wanted(link)

        return filters

    def _page_50(self) -> str | None:
        """By its number where pages have one, else by going on from page to page."""
        if any("p" in parse_qs(urlsplit(link.path).query) for link in self.first.links):
            return f"{self.list}?p=50"
        page, path = self.first, None
        for _ in range(49):
            path = page.link(lambda link: link.rel == "next" or re.match(r"(next|older)\b", link.text, re.IGNORECASE))
            if path is None:
                return None
            page = self.browser.get(path)
        return path

    def _older(self, thread: str) -> list[str]:
        found: list[str] = []
        page = self.browser.get(thread)
        own = urlsplit(thread).path
        for _ in range(OLDER_PAGES):
            path = page.link(lambda link: link.path.startswith(own) and says(r"\b(older|earlier|before)\b")(link))
            if path is None or path in found:
                break
            found.append(path)
            page = self.browser.get(path)
        return found

    def _found(self, page: Page, is_wanted: Callable[[Link], object]) -> str:
        path = page.link(is_wanted)
        if path is None:
            raise LocalError(f"{page.path} ({page.status}) has no link to the conversations.")
        return path

    def measure(self, name: str, paths: list[str], step: Progress) -> Times:
        """Ask for the pages in turn, and for the yardstick in between."""
        times, until = Times(name), time.monotonic() + MOST_SECONDS
        for number, path in zip(range(WARM_UP + REQUESTS), cycle(paths), strict=False):
            if time.monotonic() > until and len(times.page) >= LEAST_REQUESTS:
                break
            seconds, yardstick = timed(self.browser, path), timed(self.stranger, self.login)
            if seconds is None or yardstick is None:
                times.errors += 1
            elif number >= WARM_UP:
                times.page.append(seconds * 1000)
                times.yardstick.append(yardstick * 1000)
            step.advance()
        return times


def some(path: str | None) -> list[str]:
    """Return a list of a path, empty without one."""
    return [path] if path else []


def timed(browser: Browser, path: str) -> float | None:
    """Return how many seconds a page took, None where it was no page."""
    try:
        page = browser.get(path)
    except (OSError, HTTPException):
        return None
    return page.seconds if page.status == 200 else None


def measure_all(desk: Desk) -> list[Times]:
    """Measure every page; print its rows as soon as they are known."""
    found = []
    for name, paths in desk.pages():
        with begin(name, WARM_UP + REQUESTS) as step:
            times = desk.measure(name, paths, step) if paths else Times(name)
        for row in times.rows():
            sys.stdout.write(f"{json.dumps(row)}\n")
        sys.stdout.flush()
        found.append(times)
    return found


def table(found: Sequence[Times]) -> Iterator[str]:
    """Yield the lines of the table for people."""
    yield f"{'page':<32}{'p50 ms':>10}{'p95 ms':>10}{'× yardstick':>13}{'requests':>10}{'errors':>8}"
    for times in found:
        median, slow = times.rows()
        figures = (median["value"], slow["value"], slow["ratio"], len(times.page), times.errors)
        cells = "".join(
            f"{'–' if value is None else value:>{width}}"
            for value, width in zip(figures, (10, 10, 13, 10, 8), strict=True)
        )
        yield f"{times.name:<32}{cells}  {verdict(times)}"


def verdict(times: Times) -> str:
    """Return a page's verdict in a word or two."""
    if times.errors:
        return "void"
    if not times.page:
        return "not offered"
    return "ok" if list(times.rows())[1]["ok"] else f"over {GOAL_MS:g} ms"


def main() -> int:
    """Measure. Returns 1 when a page that there is takes longer than its goal, or ended in an error."""
    usual = Size()
    parser = argparse.ArgumentParser(prog="python -m messaging_project.benchmarks.staff_pages")
    parser.add_argument(
        "--conversations", type=int, default=usual.conversations, help="with fewer than 5,000 there is no page 50"
    )
    parser.add_argument("--messages", type=int, default=usual.messages)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        size = Size(options.conversations, options.messages, hot=min(usual.hot, options.messages // 20))
        with ground(size, begin) as stack:
            found = measure_all(Desk(stack.url, stack.env["ADMIN_PASSWORD"]))
    except (LocalError, ValueError, OSError, psycopg.Error) as reason:
        tell(f"error: {reason}\n")
        return 1
    except KeyboardInterrupt:
        return 1
    tell("\n".join([*table(found), ""]))
    return int(any(verdict(times) not in ("ok", "not offered") for times in found))


if __name__ == "__main__":
    sys.exit(main())
