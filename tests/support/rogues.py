"""A server on the loopback that answers whatever it is told, byte by byte: not even HTTP, where that is wanted."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tests.support.servers import answering

__all__ = ["Answer", "endless", "http", "rogue", "trickle"]

#: Method, path and body of a request -> what is sent, piece by piece.
Answer = Callable[[str, str, bytes], Iterable[bytes]]


def http(code: int, body: bytes = b"", *headers: str, length: int | None = None) -> list[bytes]:
    """An answer as it should be, or with a false length."""
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body) if length is None else length}", *headers]
    return ["\r\n".join([*lines, "", ""]).encode("latin-1"), body]


def endless(*pieces: bytes) -> Iterator[bytes]:
    """The pieces, and the last of them for ever."""
    yield from pieces
    while True:
        yield pieces[-1]


def trickle(data: bytes, pause_s: float = 0.05) -> Iterator[bytes]:
    """A byte now and then, and after the last one for ever."""
    for byte in data:
        yield bytes([byte])
        time.sleep(pause_s)
    while True:
        yield b" "
        time.sleep(pause_s)


@contextmanager
def rogue(answer: Answer) -> Iterator[str]:
    """Run the server on a free port; its ``host:port``. It ends its answers when the caller is done with it."""
    over = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                while not over.is_set() and (line := self.rfile.readline(65536)):
                    method, path, *_ = [*line.decode("latin-1").split(), "", ""]
                    length = 0
                    while (header := self.rfile.readline(65536)).strip():
                        if header.lower().startswith(b"content-length:"):
                            length = int(header.partition(b":")[2])
                    body = self.rfile.read(length)
                    for piece in answer(method, path, body):
                        if over.is_set():
                            return
                        self.wfile.write(piece)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Stay silent: clients hang up."""

    with answering(Server(("127.0.0.1", 0), Handler)) as host:
        try:
            yield host
        finally:
            over.set()
