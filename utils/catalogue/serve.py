"""Serve a site for looking at it: on this machine alone."""

from __future__ import annotations

import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["LOOPBACK", "make_server"]

#: Where it is served: nobody else sees it.
LOOPBACK = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Serves the site, and says nothing of it."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".tflite": "application/octet-stream",
        ".wasm": "application/wasm",
    }

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name
        """Leave the requests out of the output."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent where a browser hung up: it does so whenever somebody leaves a page that still loads."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder; ``serve_forever`` starts it.

    Args:
        folder: what it serves.
        port: where, on the loopback; 0 lets the system choose.

    Raises:
        OSError: the port is taken, or not allowed.
    """
    return _Server((LOOPBACK, port), functools.partial(_Handler, directory=str(folder)))
