"""Servers on the loopback that write down what each request carries, and take TLS and plain http on one port."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.servers import answering

__all__ = ["HOSTS", "Recorder", "Request", "make_certificate", "recorder"]

#: Names that a test resolves to the loopback: to the program they are other machines.
HOSTS = ("registry.test", "storage.test")


@dataclass(frozen=True)
class Request:
    """What arrived."""

    scheme: str
    method: str
    path: str
    authorization: str
    cookie: str
    body: bytes


@dataclass
class Recorder:
    """Answers as it is told; what nobody told it about is 404."""

    port: int = 0
    answers: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)  # "PUT /path" -> code, headers
    token: str = ""  # without it in Authorization: 401, with `challenge`
    challenge: str = ""
    seen: list[Request] = field(default_factory=list)

    def secrets(self, path: str) -> list[str]:
        """Every Authorization that came with requests to a path."""
        return [request.authorization for request in self.seen if request.path.partition("?")[0] == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        owner = cast("Recorder", self.server.owner)  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        scheme = "https" if isinstance(self.request, ssl.SSLSocket) else "http"
        said = self.headers.get("Authorization", "")
        cookie = self.headers.get("Cookie", "")
        owner.seen.append(Request(scheme, self.command, self.path, said, cookie, body))
        path = self.path.partition("?")[0]
        code, headers = owner.answers.get(f"{self.command} {path}", (404, {}))
        if owner.token and path != "/token" and said != owner.token:
            code, headers = 401, {"WWW-Authenticate": owner.challenge}
        data = b'{"token": "t0ken"}' if path == "/token" else b""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_CONNECT = _any  # noqa: N815  # the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def recorder(certificate: Path) -> Iterator[Recorder]:
    """Run a server on a free port; the first byte of a connection says whether it is TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            if request.recv(1, socket.MSG_PEEK) == b"\x16":
                with context.wrap_socket(request, server_side=True) as protected:
                    super().finish_request(protected, client_address)
            else:
                super().finish_request(request, client_address)

        def handle_error(self, request: object, client_address: object) -> None:
            """Stay silent: clients hang up."""

    server = Server(("127.0.0.1", 0), _Handler)
    owner = Recorder(server.server_address[1])
    server.owner = owner  # type: ignore[attr-defined]
    with answering(server):
        yield owner


def make_certificate(file: Path) -> Path:
    """Key and certificate for HOSTS in one PEM file, which REQUESTS_CA_BUNDLE may name as well."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    kind = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file
