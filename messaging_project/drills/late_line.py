"""A slow line to the provider: what is posted arrives, but so late that we have hung up."""

import http.client
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from messaging_project.drills.stack import DrillStack
from messaging_project.local.servers import LOOPBACK, free_port

ANSWER_SECONDS = 10
OF_ONE_HOP = frozenset({"connection", "transfer-encoding", "content-length", "date", "server"})


class LateLine:
    """Stands where the sandbox stood while the block runs. `hold_seconds` is how long a POST is kept back."""

    def __init__(self, stack: DrillStack) -> None:
        self.stack = stack
        self.hold_seconds = 0.0

    def __enter__(self) -> Self:
        self._door = self.stack.sandbox.port
        self._move_sandbox(free_port())
        self._server = _Server((LOOPBACK, self._door), _Relay)
        self._server.line = self
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._move_sandbox(self._door)

    def _move_sandbox(self, port: int) -> None:
        self.stack.kill_sandbox()
        self.stack.sandbox.port = port
        self.stack.start_sandbox()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    line: LateLine

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller who has left is what this is for."""


class _Relay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Keep it back, then pass it on, whether or not anybody still waits."""
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        time.sleep(self.server.line.hold_seconds)
        self._pass_on(body)

    def do_GET(self) -> None:
        """Pass it on."""
        self._pass_on(None)

    def _pass_on(self, body: bytes | None) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self.server.line.stack.sandbox.port, timeout=ANSWER_SECONDS)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_ONE_HOP}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        with suppress(OSError):
            self._answer(answer, content)

    def _answer(self, answer: http.client.HTTPResponse, content: bytes) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OF_ONE_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: the ledger says it all."""
