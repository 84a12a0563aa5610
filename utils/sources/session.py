"""Session: a connection pool of requests that sends no credentials over plain http, and reads no more than it must.

requests reads ~/.netrc at every hop, even after a redirect from https to http. It reads and unpacks the whole body of a
redirect, and it parses cookies, which no source needs.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from contextlib import suppress
from typing import Any

import requests
import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse, HTTPResponse

from utils.sources.source import is_protected
from utils.sources.stall import Watch

__all__ = ["Session"]


class Session(requests.Session):
    """Sends credentials from ~/.netrc only over https or to this machine.

    Credentials in an address go to that host: the user who wrote it wants that.
    """

    def __init__(self, head_s: float, context: ssl.SSLContext | None = None) -> None:
        """Allow a server ``head_s`` seconds to connect, and as many to begin its answer.

        Args:
            head_s: in seconds.
            context: what it trusts, and its own certificate; None: what requests trusts.
        """
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(head_s, context))

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare the first request of a chain."""
        prepared = super().prepare_request(request)
        if not is_protected(prepared.url or ""):
            prepared.headers.pop("Authorization", None)
            prepared.prepare_auth(None)  # adds the credentials of the address itself
        return prepared

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Prepare the credentials of a redirect's next hop."""
        url, before = prepared_request.url or "", response.request.url or ""
        if is_protected(url):
            super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # requests has no type
        elif self.should_strip_auth(before, url):  # type: ignore[no-untyped-call]  # nor here
            prepared_request.headers.pop("Authorization", None)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the target of a redirect; requests asks for it before it reads the body, which may never end."""
        if resp.is_redirect:
            resp.raw.close()
            resp.raw = io.BytesIO()
        return super().get_redirect_target(resp)


class _Connection(HTTPConnection):
    """A connection that is cut if it takes longer than ``head_s`` to connect, or to begin an answer."""

    head_s: float
    _live: socket.socket | None = None

    def cut(self) -> None:
        """Shut it down for both sides; a thread that reads from it wakes up."""
        if self._live:
            with suppress(OSError):  # it is closed already
                # Not the method of SSLSocket: after it, encrypted bytes would be read as plain text.
                socket.socket.shutdown(self._live, socket.SHUT_RDWR)

    def connect(self) -> None:
        """Connect, possibly through a proxy and with TLS."""
        try:
            with self._watch():
                super().connect()
        finally:
            if self._live:
                self._live.close()
        self._live = getattr(self.sock, "socket", self.sock)  # TLS inside a proxy's TLS has it one level deeper

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        """Read the head of an answer: http.client accepts any number of "100 Continue" before it."""
        begun: list[http.client.HTTPResponse] = []

        def begin(*arguments: Any, **settings: Any) -> http.client.HTTPResponse:
            begun.append(http.client.HTTPResponse(*arguments, **settings))
            return begun[-1]

        self.response_class = begin  # type: ignore[assignment]  # called as the class would be
        try:
            with self._watch():
                return super().getresponse()
        except BaseException:
            for response in begun:  # urllib3 leaves it open when it rejects a header
                response.close()
            raise

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        self._live = sock.dup()  # TLS replaces the socket object while it connects
        return sock

    def _watch(self) -> Watch:
        return Watch(self.cut, 1, self.head_s)


class _SecureConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, head_s: float, context: ssl.SSLContext | None) -> None:
        self._context: dict[str, Any] = {} if context is None else {"ssl_context": context}
        self._pools: dict[str, Any] = {}
        for scheme, pool, connection in (
            ("http", HTTPConnectionPool, _Connection),
            ("https", HTTPSConnectionPool, _SecureConnection),
        ):
            limited = type(connection.__name__, (connection,), {"head_s": head_s})
            self._pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": limited})
        super().__init__()

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **(settings | self._context))
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """Make the pools of connections through a proxy; a SOCKS proxy has its own kind of connection."""
        manager = super().proxy_manager_for(proxy, **(settings | self._context))
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager

    def build_response(self, req: requests.PreparedRequest, resp: BaseHTTPResponse) -> requests.Response:
        """Make the response without cookies: the parser of the standard library prints a traceback when it fails."""
        if original := getattr(resp, "_original_response", None):
            del original.msg["Set-Cookie"], original.msg["Set-Cookie2"]
        return super().build_response(req, resp)
