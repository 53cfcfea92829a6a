"""A server of files that answers byte for byte as told, on a free loopback port, in a thread of its own."""

import datetime
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class MediaServer:
    """`answers` has bytes or a function of the connection for each path; `heads` are the requests that came."""

    def __init__(self, answers, tls=None):
        self.answers = answers
        self.heads = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.authority = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.authority}"
        self._open = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append((connection, threading.Thread(target=self._serve, args=(connection,))))
                self._open[-1][1].start()

    def _serve(self, connection):
        # A client that got what it was promised leaves without the TLS goodbye: an OSError. ValueError: we cut it off.
        with connection, suppress(OSError, ValueError):
            if self._tls:
                with self._tls.wrap_socket(connection.dup(), server_side=True) as secured:
                    self._answer(secured)
                    secured.unwrap()
            else:
                self._answer(connection)

    def _answer(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := connection.recv(65536)):
                return
            head += more
        self.heads.append(head.decode())
        answer = self.answers[head.split()[1].decode()]
        answer(connection) if callable(answer) else connection.sendall(answer)

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection, thread in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def serving(answers, tls=None):
    """Serve while the block runs: answers by path, or one for "/file"."""
    server = MediaServer(answers if isinstance(answers, dict) else {"/file": answers}, tls)
    try:
        yield server
    finally:
        server.stop()


def file(body=b"", status=200, **headers):
    """The bytes of an answer."""
    told = {"Content_Length": len(body), **headers}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name.replace('_', '-')}: {value}" for name, value in told.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(to, status=302):
    return file(status=status, Location=to)


def drip(start=b""):
    """Say something, then a byte now and then without end."""

    def answer(connection):
        connection.sendall(start)
        while True:
            connection.sendall(b"1")
            threading.Event().wait(0.02)

    return answer


def flood(start):
    """Say something, then as much as the client takes."""

    def answer(connection):
        connection.sendall(start)
        while True:
            connection.sendall(b"x" * 65536)

    return answer


def cut_off(said):
    """Say something and hang up without the TLS goodbye."""

    def answer(connection):
        connection.sendall(said)
        connection.shutdown(socket.SHUT_RDWR)

    return answer


def silence(connection):
    """Say nothing until the client leaves."""
    connection.recv(1)


def certificate(folder, *names):
    """A file with a certificate that vouches for itself, and its key, for these DNS names or addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_password)
    path = folder / "certificate.pem"
    path.write_bytes(private + made.public_bytes(encoding))
    return path


def _general_name(name):
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def tls_server(path, names_asked_for):
    """The server's side of TLS; appends the name that each client asks for (SNI)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.sni_callback = lambda _, name, __: names_asked_for.append(name)
    return context
