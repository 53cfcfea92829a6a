"""A real browser for the tests of pages: Chromium, driven by Playwright in a thread of its own."""

import inspect
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = "No Chromium was found: apt-get install chromium, or name one in CHROMIUM."
QUIET = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--disable-component-update")


class Remote:
    """A Playwright object, used from the thread of the tests: what is asked of it is done in Playwright's own thread.

    Playwright leaves an event loop running in the thread that started it. In the thread of the tests Django would
    refuse the ORM there, and asgiref would hand out another connection than the one that the test has.
    """

    def __init__(self, thread, real):
        self._thread, self._real = thread, real

    def __getattr__(self, name):
        return self._do(getattr, self._real, name)

    def __call__(self, *args, **named):
        named = {name: bare(each) for name, each in named.items()}
        return self._do(self._real, *map(bare, args), **named)

    def __enter__(self):
        return self._do(self._real.__enter__)

    def __exit__(self, *error):
        return self._do(self._real.__exit__, *error)

    def _do(self, call, *args, **named):
        return self._shown(self._thread.submit(call, *args, **named).result())

    def _shown(self, found):
        if isinstance(found, list):
            return [self._shown(each) for each in found]
        is_playwrights = type(found).__module__.startswith("playwright.") and not isinstance(found, (Exception, dict))
        return Remote(self._thread, found) if is_playwrights or inspect.ismethod(found) else found


def bare(value):
    return value._real if isinstance(value, Remote) else value


def find_chromium():
    """The path of a Chromium. Without one the test is skipped, but not where CI=true: there it fails."""
    wanted = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else NAMES
    if found := next(filter(None, map(shutil.which, wanted)), None):
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING, pytrace=False)
    return pytest.skip(MISSING)


@contextmanager
def chromium():
    """A Chromium that is up, as a Remote of Playwright's Browser; it and its driver are gone afterwards."""
    path = find_chromium()
    with ThreadPoolExecutor(1, "playwright") as thread:
        playwright = thread.submit(sync_playwright().start).result()
        try:
            real = thread.submit(playwright.chromium.launch, executable_path=path, args=QUIET).result()
            yield Remote(thread, real)
            thread.submit(real.close).result()
        finally:
            thread.submit(playwright.stop).result()
