"""Session: a connection pool of requests that gives no login to plain http, and takes no more than it has to.

requests looks into ~/.netrc at every hop, also where a redirect leads from https to http. It reads the whole body of
a redirect and unpacks it, and it parses cookies, which no source needs.
"""

from __future__ import annotations

import http.client
import io
import socket
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
    """Sends what ~/.netrc has over https and to this machine only.

    A login that is written in an address goes to that host: its writer asked for it.
    """

    def __init__(self, head_s: float) -> None:
        """Give a server ``head_s`` seconds to connect, and again to begin its answer."""
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(head_s))

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare the first request of a chain."""
        prepared = super().prepare_request(request)
        if not is_protected(prepared.url or ""):
            prepared.headers.pop("Authorization", None)
            prepared.prepare_auth(None)  # puts in what the address itself has
        return prepared

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Prepare the login of a redirect's next hop."""
        url, before = prepared_request.url or "", response.request.url or ""
        if is_protected(url):
            super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # requests has no type
        elif self.should_strip_auth(before, url):  # type: ignore[no-untyped-call]  # nor here
            prepared_request.headers.pop("Authorization", None)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a response sends on to; requests asks this before it reads the body, which may have no end."""
        if resp.is_redirect:
            resp.raw.close()
            resp.raw = io.BytesIO()
        return super().get_redirect_target(resp)


class _Connection(HTTPConnection):
    """Is cut when it takes longer than ``head_s`` to be connected, or to begin an answer."""

    head_s: float
    _live: socket.socket | None = None

    def cut(self) -> None:
        """End it for both sides; another thread that reads from it is woken."""
        if self._live:
            with suppress(OSError):  # it is closed by now
                # Not the method of an SSLSocket: what is read after that would be taken for plain text.
                socket.socket.shutdown(self._live, socket.SHUT_RDWR)

    def connect(self) -> None:
        """Connect, also through a proxy and with TLS."""
        try:
            with self._watch():
                super().connect()
        finally:
            if self._live:
                self._live.close()
        self._live = getattr(self.sock, "socket", self.sock)  # TLS inside of a proxy's TLS has it one deeper

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        """Read the head of an answer: http.client takes any number of "100 Continue" before it."""
        begun: list[http.client.HTTPResponse] = []

        def begin(*arguments: Any, **settings: Any) -> http.client.HTTPResponse:
            begun.append(http.client.HTTPResponse(*arguments, **settings))
            return begun[-1]

        self.response_class = begin  # type: ignore[assignment]  # called as the class would be
        try:
            with self._watch():
                return super().getresponse()
        except BaseException:
            for response in begun:  # urllib3 leaves it open where it does not like a header
                response.close()
            raise

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        self._live = sock.dup()  # TLS makes another object of the socket, in the middle of connecting
        return sock

    def _watch(self) -> Watch:
        return Watch(self.cut, 1, self.head_s)


class _SecureConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, head_s: float) -> None:
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
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """Make the pools of connections through a proxy; one of SOCKS has connections of its own."""
        manager = super().proxy_manager_for(proxy, **settings)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager

    def build_response(self, req: requests.PreparedRequest, resp: BaseHTTPResponse) -> requests.Response:
        """Make the response without cookies: the parser of Python's library prints a traceback where it fails."""
        if original := getattr(resp, "_original_response", None):
            del original.msg["Set-Cookie"], original.msg["Set-Cookie2"]
        return super().build_response(req, resp)
