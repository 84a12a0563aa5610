"""Wire: one request to a step cache at a time, its retries and redirects, and whose credentials go where.

Credentials go to the server itself and to no other: a redirect elsewhere is followed without them, one to plain http is
not followed, and that of a PUT never.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

import requests
from requests.utils import get_environ_proxies, get_netrc_auth

from utils.errors import UsageError
from utils.shared.settings import TLS_FILES, Settings
from utils.sources.http import Limits, contained, parse_retry_after
from utils.sources.part import TryError
from utils.sources.session import Session
from utils.sources.source import is_offline, is_protected, split_url
from utils.sources.stall import Watch
from utils.untrusted import as_text

__all__ = ["CHUNK_BYTES", "Answer", "ServerError", "Wire"]

#: How long to wait for a step cache: it only saves time, so that waiting long for it makes no sense.
PATIENCE = Limits(connect_s=5.0, read_s=15.0, tries=3, backoff_s=0.5, longest_s=5.0, stall_s=30.0)

#: Seconds after which a request that failed is not tried again.
_GIVE_UP_S = 8.0

#: Bytes read at a time.
CHUNK_BYTES = 1 << 14

#: Most redirects of one request, and most bytes of an answer that nobody wants.
_HOPS, _DRAINED_BYTES = 5, 1 << 16

_REDIRECTS = (301, 302, 303, 307, 308)

_Found = TypeVar("_Found")


@dataclass(eq=False)
class ServerError(Exception):
    """The server cannot be used for this; ``why`` is one line without credentials.

    Attributes:
        why: what happened.
        hint: what to do now.
        code: of its answer; 0: there was none.
        is_down: whether other requests will fail, too.
        is_silent: whether it did not answer at all.
    """

    why: str
    hint: str = ""
    code: int = 0
    is_down: bool = True
    is_silent: bool = False

    def __str__(self) -> str:
        return self.why


@dataclass
class Answer:
    """An answer whose body has not been read."""

    response: requests.Response
    code: int = field(init=False)

    def __post_init__(self) -> None:
        self.code = self.response.status_code

    @property
    def length(self) -> int | None:
        """What it says its body has; None where it does not say."""
        told = self.response.headers.get("Content-Length", "")
        return int(told) if told.isascii() and told.isdigit() and len(told) < 19 else None

    def chunks(self) -> Iterator[bytes]:
        """Read the body as it was sent.

        Raises:
            TryError: the connection broke, or is too slow.
        """
        connection = self.response.raw.connection
        cut = getattr(connection, "cut", self.response.raw.close)
        with contained(PATIENCE), Watch(cut, PATIENCE.stall_bytes, PATIENCE.stall_s) as watch:
            while chunk := self.response.raw.read(CHUNK_BYTES, decode_content=False):
                watch.arrived += len(chunk)
                yield chunk

    def drain(self) -> None:
        """Read a small body to its end, so that the connection can be used again."""
        read = 0
        if self.response.raw.closed:
            return
        with suppress(TryError):
            for chunk in self.chunks():
                read += len(chunk)
                if read > _DRAINED_BYTES:
                    return

    def require(self, *codes: int) -> None:
        """Refuse any other status.

        Raises:
            TryError: it may pass.
            ServerError: it will not.
        """
        if self.code in codes:
            return
        self.drain()
        if self.code in (408, 425, 429) or self.code >= 500:
            wait_s = parse_retry_after(self.response.headers.get("Retry-After", ""), PATIENCE.longest_s)
            raise TryError(f"HTTP {self.code}", can_retry=self.code not in (501, 505, 507), wait_s=wait_s)
        hint = _HINTS.get(self.code, "")
        raise ServerError(f"HTTP {self.code}", hint=hint, code=self.code, is_down=self.code not in (400, 413))

    def require_whole(self, have: int) -> None:
        """Refuse a body of ``have`` bytes that ended too early, if its length was told.

        Raises:
            TryError: it did.
        """
        if self.length is not None and have < self.length:
            raise TryError(f"the body ended after {have:,} of {self.length:,} bytes", can_retry=True)


class Wire:
    """The connections to one server; threads may share it.

    Args:
        settings: which server, and as whom.
        anonymous: send no credentials at all.

    Raises:
        UsageError: a file in the folder of ``ZOO_TLS`` is not what its name says.
    """

    def __init__(self, settings: Settings, *, anonymous: bool = False) -> None:
        self._settings, self._anonymous = settings, anonymous
        self._local = threading.local()
        self._origin = _origin_of(settings.server)
        self._context = _make_context(settings.tls, with_certificate=not anonymous)

    def retry(self, ask: Callable[[], _Found]) -> _Found:
        """Ask, and ask again after a failure that may pass.

        Raises:
            ServerError: it did not pass.
        """
        begin = time.monotonic()
        for tried in range(1, PATIENCE.tries + 1):
            try:
                return ask()
            except TryError as error:
                if not error.can_retry or tried == PATIENCE.tries or time.monotonic() - begin > _GIVE_UP_S:
                    raise ServerError(error.why, is_silent=error.is_silent) from None
                time.sleep(PATIENCE.backoff_s * 2 ** (tried - 1) if error.wait_s is None else error.wait_s)
        raise AssertionError  # the last try returns or raises

    @contextmanager
    def sent(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> Iterator[Answer]:
        """Send one request, and follow its redirects: to https only, and without credentials to another server."""
        for _ in range(_HOPS + 1):
            session = self._session(own=_origin_of(url) == self._origin)
            timeout = (PATIENCE.connect_s, PATIENCE.read_s)
            with contained(PATIENCE, asked=url):
                response = session.request(
                    method, url, headers=headers, data=data, stream=True, timeout=timeout, allow_redirects=False
                )
            with response:
                if response.status_code not in _REDIRECTS:
                    yield (answer := Answer(response))
                    answer.drain()
                    return
                url = self._find_target(method, url, response.headers.get("Location", ""))
        raise ServerError(f"redirects more than {_HOPS} times")

    def _find_target(self, method: str, url: str, location: str) -> str:
        """The address that a redirect leads to."""
        if method == "PUT":
            hint = "name the server that it redirects to, if you trust it, in ZOO_STEPS"
            raise ServerError("redirects a PUT, which is not followed", hint=hint)
        try:
            target = urljoin(url, location)
        except ValueError:
            target = ""
        parts = split_url(target)
        if not location or parts.scheme not in ("http", "https") or parts.username or parts.password:
            raise ServerError("redirects to a malformed address")
        if not is_protected(target) or (parts.scheme == "http" and split_url(url).scheme == "https"):
            raise ServerError(f"redirects to plain http, at {as_text(parts.hostname, 100)}")
        if is_offline() and _origin_of(target) != self._origin:
            raise ServerError("redirects to another server, which is not asked while ZOO_OFFLINE is set")
        return target

    def _session(self, *, own: bool) -> requests.Session:
        """The connections of this thread: those to the server itself, or those to others, without credentials."""
        name = "own" if own else "other"
        if not hasattr(self._local, name):
            session = _Session(PATIENCE.stall_s, self._context if own else None)
            session.headers.update({"Accept-Encoding": "identity", "User-Agent": "nxp-model-zoo"})
            if own:
                self._settle(session)
            else:
                session.auth = _send_none
            setattr(self._local, name, session)
        found: requests.Session = getattr(self._local, name)
        return found

    def _settle(self, session: requests.Session) -> None:
        """Look into the environment once, and not at each of some thousand requests: proxies, CAs, ~/.netrc."""
        server = self._settings.server
        session.proxies = get_environ_proxies(server)
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        session.trust_env = False
        if self._anonymous:
            session.auth = _send_none
        elif self._settings.token:
            session.auth = _Bearer(self._settings.token)
        elif "@" not in split_url(server).netloc:
            session.auth = get_netrc_auth(server)


class _Session(Session):
    """Ignores redirects: ``Wire`` follows them; requests would prepare the next request, with credentials."""

    def get_redirect_target(self, _: requests.Response) -> None:
        """Report no redirect."""


class _Bearer:
    """A bearer token; as the session's own credentials it counts more than ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _send_none(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Take the place of the login that requests reads from ~/.netrc."""
    request.headers.pop("Authorization", None)
    return request


def _origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: whose the credentials are."""
    parts = split_url(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, parts.hostname or "", port or (443 if parts.scheme == "https" else 80)


def _make_context(tls: Path | None, *, with_certificate: bool) -> ssl.SSLContext | None:
    """What TLS trusts beside the CAs of requests, and this machine's certificate."""
    if tls is None:
        return None
    ca, certificate, key = (str(tls / name) for name in TLS_FILES)
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(ca)
        if with_certificate:
            context.load_cert_chain(certificate, key, password="")  # OpenSSL would ask the terminal for it
    except (OSError, ValueError) as error:
        hint = f"make {', '.join(TLS_FILES)} in {tls} again"
        what = f"a certificate or key cannot be used: {as_text(error, 100)}"
        raise UsageError(what, where=f"ZOO_TLS={tls}", hint=hint) from None
    return context


#: What to do about a status.
_HINTS = {
    400: "where ZOO_TLS is set, the server has to know the CA of that certificate",
    401: "give credentials: ~/.netrc, ZOO_STEPS_TOKEN, or a certificate in ZOO_TLS=FOLDER",
    403: "use credentials that may do this",
    405: "the server is only read: unset ZOO_STEPS_WRITE",
    413: "let the server take larger files (nginx: client_max_body_size)",
}
