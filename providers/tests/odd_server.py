"""A server that answers as no provider should, on a free loopback port, in a thread of its own."""

import socket
import threading
from contextlib import contextmanager, suppress

TLS_HANDSHAKE = b"\x16"


class OddServer:
    """`answer(connection)` is called once for each request that was read; returning False closes the connection."""

    def __init__(self, answer):
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.requests = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append((connection, threading.Thread(target=self._serve, args=(connection,))))
            self._open[-1][1].start()

    def _serve(self, connection):
        try:
            while request := _read_request(connection):
                self.requests.append(request)
                if self._answer(connection) is False:
                    break
        except OSError:
            pass
        finally:
            connection.close()

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection, thread in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()


def _read_request(connection):
    """(head, body) of the next request, None at the end of the connection."""
    told = b""
    while b"\r\n\r\n" not in told:
        if told[:1] == TLS_HANDSHAKE:
            return told, b""
        if not (more := connection.recv(65536)):
            return None
        told += more
    head, _, body = told.partition(b"\r\n\r\n")
    length = next((int(x.split(b":")[1]) for x in head.lower().splitlines() if x.startswith(b"content-length")), 0)
    while len(body) < length:
        if not (more := connection.recv(65536)):
            return None
        body += more
    return head, body


def http(status, body="", content_type="application/json", **headers):
    """The bytes of an answer."""
    lines = [f"HTTP/1.1 {status} Odd", f"Content-Type: {content_type}", f"Content-Length: {len(body.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@contextmanager
def answering(answer):
    """Serve while the block runs. `answer`: bytes for every request, or a function of the connection."""
    server = OddServer(answer if callable(answer) else lambda connection: connection.sendall(answer))
    try:
        yield server
    finally:
        server.stop()


def drip(connection):
    """Begin an answer and never finish it, with a byte now and then so that no single read is slow."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        threading.Event().wait(0.02)


def silence(connection):
    """Say nothing until the client leaves."""
    connection.recv(1)
    return False


def truncated(connection):
    """Promise more than comes."""
    connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"sid": "SM1"')
    return False


def hang_up(connection):
    """Close without a word."""
    return False
