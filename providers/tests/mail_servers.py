"""Mail servers on a free loopback port, in threads of their own: a real one, and one that answers as it is told."""

import asyncio
import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Queue

from aiosmtpd.smtp import SMTP, AuthResult

USER, PASSWORD = "ann", "not/a:secret"


@dataclass
class PostOffice:
    """A real server: where it listens, and the mails that it took, as `aiosmtpd.smtp.Envelope`."""

    port: int = 0
    taken: list = field(default_factory=list)

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  # aiosmtpd's name
        self.taken.append(envelope)
        return "250 taken"


@contextmanager
def post_office(certificate=None, wants_login=False, is_tls=False, **options):
    """Serve while the block runs; `certificate` is a PEM file with its key, for STARTTLS or with `is_tls` at once."""
    office, started = PostOffice(), Queue()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    tls = {"tls_context": context, "require_starttls": True} if certificate and not is_tls else {}
    login = {"auth_required": True, "auth_require_tls": False, "authenticator": _authenticator} if wants_login else {}

    async def serve():
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(
            lambda: SMTP(office, hostname="post.test", loop=loop, **tls, **login, **options),
            "127.0.0.1",
            0,
            ssl=context if is_tls else None,
        )
        # Asked before the server is closed, it waits for the connections too, on Python 3.11 as on later ones.
        closed = asyncio.create_task(server.wait_closed())
        started.put((server.sockets[0].getsockname()[1], loop, stop))
        await stop.wait()
        server.close()
        await asyncio.wait_for(closed, 10)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    office.port, loop, stop = started.get(timeout=10)
    try:
        yield office
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)


def _authenticator(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)


def hang(connection):
    """Say nothing until the client leaves."""
    while connection.recv(65536):
        pass
    return False


def drop(connection):
    """Close without a word."""
    return False


def reset(connection):
    """Close so that the client sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def drip(connection):
    """Begin an answer of many lines and never finish it."""
    while True:
        connection.sendall(b"250-and\r\n")
        threading.Event().wait(0.02)


class OddMailServer:
    """`answers`: step → text, or a function of the connection; returning False closes it. `said` is what it was told.

    The steps are "greeting", the commands in capitals, and "end" for the message's data.
    """

    def __init__(self, answers):
        self._answers = {"greeting": "220 odd", "DATA": "354 go on", "QUIT": "221 bye", **answers}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.said, self._open = [], []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def commands(self):
        return [line.split(b" ")[0].split(b":")[0].strip().decode().upper() for line in self.said]

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append((connection, threading.Thread(target=self._serve, args=(connection,))))
            self._open[-1][1].start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            step = "greeting"
            while self._answer(connection, step):
                if step == "DATA" and self._wants_data():
                    step = "end"
                    while (line := lines.readline()) != b".\r\n":
                        if not line:
                            return
                elif line := lines.readline():
                    self.said.append(line)
                    step = line.split(b" ")[0].strip().decode().upper()
                else:
                    return

    def _wants_data(self):
        answer = self._answers["DATA"]
        return callable(answer) or answer.startswith("354")

    def _answer(self, connection, step):
        answer = self._answers.get(step, "250 fine")
        if callable(answer):
            return answer(connection) is not False
        connection.sendall(answer.encode() + b"\r\n")
        return True

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection, thread in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def odd_mail_server(**answers):
    """Serve while the block runs."""
    server = OddMailServer(answers)
    try:
        yield server
    finally:
        server.stop()
