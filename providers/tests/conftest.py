"""A sandbox for tests: Twilio and SendGrid on a free loopback port, in a thread of its own."""

import asyncio
import base64
import json
import tempfile
import threading
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from providers.sandbox.app import listening
from providers.sandbox.settings import SandboxSettings

ACCOUNT_SID = "AC" + "0" * 31 + "1"
AUTH_TOKEN = "sandbox-auth-token"
API_KEY = "SG.sandbox-api-key"


@dataclass(frozen=True)
class RunningSandbox:
    """Where the sandbox listens and what opens its doors. `public_key` is what SendGrid shows: base64 of DER."""

    url: str
    account_sid: str
    auth_token: str
    api_key: str
    public_key: str

    def call(self, method, path, body=None):
        """The JSON that one of the sandbox's own pages answers, None when it answers nothing."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def ledger(self):
        return self.call("GET", "/ledger")["requests"]

    def fault(self, provider, name, count=1):
        return self.call("POST", "/faults", {"provider": provider, "fault": name, "count": count})

    def dial(self, **settings):
        """Turn some of the dials while it runs, such as `latency_ms`."""
        return self.call("POST", "/settings", settings)

    def write(self, wait=True, **wish):
        """Let somebody write to us; `{"id", "callbacks"}` of each message, once our door has answered."""
        return self.call("POST", "/inbound", wish | {"wait": wait})["messages"]


def make_key_pair():
    """(private, public), both base64 of DER, as the settings hold them."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(private).decode(), base64.b64encode(public).decode()


@contextmanager
def running_sandbox(**settings):
    """Yield a `RunningSandbox`; keyword arguments replace fields of `SandboxSettings` (`public_url`, `ledger`, …)."""
    private_key, public_key = make_key_pair()
    with tempfile.TemporaryDirectory() as directory:
        values = {
            "account_sid": ACCOUNT_SID,
            "auth_token": AUTH_TOKEN,
            "api_key": API_KEY,
            "sendgrid_private_key": private_key,
            "public_url": "http://127.0.0.1:9",
            "ledger": Path(directory) / "ledger.jsonl",
            "latency_ms": 0,
            "callback_delay_ms": 10,
            **settings,
        }
        with _served(SandboxSettings(**values)) as url:
            yield RunningSandbox(url, values["account_sid"], values["auth_token"], values["api_key"], public_key)


@contextmanager
def _served(settings):
    started = Queue()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(settings, started)))
    thread.start()
    outcome = started.get(timeout=10)
    if isinstance(outcome, Exception):
        thread.join()
        raise outcome
    url, loop, stop = outcome
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)


async def _serve(settings, started):
    stop = asyncio.Event()
    try:
        async with listening(settings, "127.0.0.1", 0) as url:
            started.put((url, asyncio.get_running_loop(), stop))
            await stop.wait()
    except Exception as problem:
        started.put(problem)
        raise


@pytest.fixture
def sandbox():
    with running_sandbox() as running:
        yield running
