"""A web server on the loopback that misbehaves as it is told."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import cast

__all__ = [
    "Behaviour",
    "Request",
    "Server",
    "address",
    "answering",
    "body",
    "cut",
    "full",
    "raw",
    "redirect",
    "serving",
    "stall",
    "status",
]


@dataclass
class Request:
    """One request that the server saw; ``sent`` counts the bytes of its answer's body."""

    path: str
    headers: dict[str, str]  # names in lower case
    sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    request_seen: Request

    def do_GET(self) -> None:
        server = cast("_Loopback", self.server).owner
        self.request_seen = Request(self.path, {name.lower(): value for name, value in self.headers.items()})
        with server.lock:
            server.requests.append(self.request_seen)
            steps = server.routes.get(self.path.partition("?")[0], [])
            # The last behaviour of a path stays.
            act = steps.pop(0) if len(steps) > 1 else (steps[0] if steps else status(404))
        act(self)

    def put(self, data: bytes) -> None:
        """Send some bytes of the body; a client that has gone away is no error."""
        try:
            self.wfile.write(data)
            self.wfile.flush()
            self.request_seen.sent += len(data)
        except OSError:
            self.close_connection = True

    def head(self, code: int, length: int, headers: dict[str, str]) -> None:
        """Send the status line and the headers."""
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


Behaviour = Callable[[_Handler], None]


class _Loopback(ThreadingHTTPServer):
    daemon_threads = True
    owner: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients of these tests hang up in the middle on purpose."""


@dataclass
class Server:
    """``routes`` maps a path to its behaviours, one for each request; the last one stays."""

    base: str
    routes: dict[str, list[Behaviour]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, path: str, *acts: Behaviour) -> str:
        """Let ``path`` behave so; return its URL."""
        self.routes[path] = list(acts)
        return self.base + path


def address(server: TCPServer) -> str:
    """Host and port, as in a URL."""
    return f"127.0.0.1:{server.server_address[1]}"


@contextmanager
def answering(server: TCPServer) -> Iterator[str]:
    """Let a server on the loopback answer until the block ends, then close it; yields its host and port."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield address(server)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    """Run a server on a free port; with TLS if there is a certificate (PEM, with its key)."""
    loopback = _Loopback(("127.0.0.1", 0), _Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        loopback.socket = context.wrap_socket(loopback.socket, server_side=True)
    scheme = "https" if certificate else "http"
    loopback.owner = Server(f"{scheme}://{address(loopback)}")
    with answering(loopback):
        yield loopback.owner


def body(data: bytes, **headers: str) -> Behaviour:
    """Answer 200 with ``data``; Range is ignored. ``a_b="c"`` adds the header ``a-b: c``."""

    def act(handler: _Handler) -> None:
        handler.head(200, len(data), {name.replace("_", "-"): value for name, value in headers.items()})
        handler.put(data)

    return act


def full(data: bytes, etag: str = "", pace: float = 0.0) -> Behaviour:
    """Serve ``data`` as a good server does: Range, If-Range, 416; ``pace`` seconds before each 64 KiB."""

    def act(handler: _Handler) -> None:
        headers = {"ETag": etag} if etag else {}
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if asked and handler.headers.get("If-Range", etag) != etag:
            asked = None
        start = int(asked[1]) if asked else 0
        if asked and start >= len(data):
            handler.head(416, 0, {"Content-Range": f"bytes */{len(data)}"})
            return
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        handler.head(206 if asked else 200, len(data) - start, headers)
        for at in range(start, len(data), 1 << 16):
            time.sleep(pace)
            handler.put(data[at : at + (1 << 16)])

    return act


def cut(data: bytes, after: int, etag: str = "") -> Behaviour:
    """Promise all of ``data``, send ``after`` bytes of it and hang up."""

    def act(handler: _Handler) -> None:
        handler.head(200, len(data), {"ETag": etag} if etag else {})
        handler.put(data[:after])
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    return act


def stall(data: bytes, after: int, seconds: float) -> Behaviour:
    """Promise all of ``data``, send ``after`` bytes of it and then nothing for some seconds."""

    def act(handler: _Handler) -> None:
        handler.head(200, len(data), {})
        handler.put(data[:after])
        time.sleep(seconds)
        handler.close_connection = True

    return act


def status(code: int, **headers: str) -> Behaviour:
    """Answer with a status and an empty body."""

    def act(handler: _Handler) -> None:
        handler.head(code, 0, {name.replace("_", "-"): value for name, value in headers.items()})

    return act


def raw(head: bytes, again: bytes = b"", pace: float = 0.0, most: int = 50_000_000) -> Behaviour:
    """Answer with ``head`` as it stands, and with ``again`` time after time, as long as the client takes it."""

    def act(handler: _Handler) -> None:
        handler.close_connection = False
        handler.put(head)
        while again and not handler.close_connection and handler.request_seen.sent < most:
            time.sleep(pace)
            handler.put(again)
        handler.close_connection = True

    return act


def redirect(to: str) -> Behaviour:
    """Answer 302."""
    return status(302, Location=to)
