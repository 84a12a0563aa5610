"""HTTP: one attempt at one address, resuming an earlier one."""

from __future__ import annotations

import email.utils
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult

from utils import limits as bounds
from utils.errors import SourceError
from utils.sources.part import CHUNK_BYTES, Part, TryError
from utils.sources.progress import Event
from utils.sources.source import Address, Source, is_protected, redact_url, split_url
from utils.sources.stall import StalledError, Watch
from utils.untrusted import as_text

if TYPE_CHECKING:
    import requests

__all__ = ["Client", "Limits", "contained", "parse_retry_after"]


@dataclass(frozen=True)
class Limits:
    """How long and how often to try, and how much to read."""

    connect_s: float = 10.0
    read_s: float = 30.0  # longest silence inside a body
    tries: int = 4  # for each address
    backoff_s: float = 1.0  # before the second try; doubles each time
    longest_s: float = 60.0  # longest wait, whatever Retry-After says
    stall_s: float = bounds.STALL_S  # to connect, to begin an answer, and to receive ...
    stall_bytes: int = bounds.STALL_BYTES  # ... this much of its body
    most_bytes: int = bounds.SOURCE_BYTES  # of a file whose size the recipe does not state


class Client:
    """A connection pool for each thread."""

    def __init__(self, limits: Limits, *, follow_redirects: bool) -> None:
        self._limits, self._follow_redirects = limits, follow_redirects
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._cuts: set[Callable[[], object]] = set()  # ends bodies that are being read

    def abort(self) -> None:
        """Wake up every thread that waits for bytes, and end it."""
        for cut in list(self._cuts):
            cut()

    def close(self) -> None:
        """Close all connections."""
        for session in self._sessions:
            session.close()

    def download(self, address: Address, url: str, part: Part) -> None:
        """Bring ``part`` to its full length, starting at its current end.

        Raises:
            TryError: this attempt failed.
            StorageError: the part cannot be written.
        """
        known = part.known
        have, tag = part.resume_point()
        if have and have == known.size:
            part.check(resumed=True)
            return
        asked = {"Range": f"bytes={have}-"} if have else {}
        if have and tag:
            asked["If-Range"] = tag
        with self._get(url, headers=asked) as response:
            start, total = self._read_head(response, have, part)
            if start and tag and response.headers.get("ETag", tag) != tag:
                part.discard()
                raise TryError("it continues with another file", can_retry=True, wait_s=0)
            part.note_etag(response.headers.get("ETag", ""))
            whole = total if known.size is None else known.size
            most = self._limits.most_bytes if whole is None else whole
            part.report(Event("start", known.name, start, whole, address.label, part.key))
            length = part.append(self._read_body(response), start, whole, most)
        if not length or (whole is not None and length < whole):
            of = "" if whole is None else f" of {whole}"
            raise TryError(f"the body ended after {length}{of} bytes", can_retry=True)
        part.check(resumed=start > 0)

    def read_small(self, url: str) -> bytes | None:
        """Return a small file without a hash, or None if it is not available; of a larger one, its beginning.

        Raises:
            SourceError: a hop is plain http, where others may have changed the file; this machine is allowed.
        """
        try:
            with self._get(url) as response:
                if response.status_code != HTTPStatus.OK:
                    return None
                if why := _find_unproven_hop(_list_hops(response)):
                    hint = "set ZOO_MIRROR to an https address that does not redirect to http, or to a folder"
                    raise SourceError(as_text(why) + ": not used", where=redact_url(url), hint=hint)
                data = bytearray()
                for chunk in self._read_body(response):
                    data += chunk
                    if len(data) > bounds.JSON_BYTES:
                        break
                return bytes(data)
        except TryError:
            return None

    def _get(self, url: str, headers: dict[str, str] | None = None) -> requests.Response:
        timeout = (self._limits.connect_s, self._limits.read_s)
        follow = self._follow_redirects
        with contained(self._limits, asked=url):
            return self._session().get(url, headers=headers, stream=True, timeout=timeout, allow_redirects=follow)

    def _read_body(self, response: requests.Response) -> Iterator[bytes]:
        connection = response.raw.connection  # none where the body is empty, another's behind a SOCKS proxy
        cut = getattr(connection, "cut", None) or (lambda: _shut_down(response))
        limits = self._limits
        self._cuts.add(cut)
        try:
            with contained(limits), Watch(cut, limits.stall_bytes, limits.stall_s) as watch:
                # As sent: a .gz served with "Content-Encoding: gzip" must stay a .gz.
                while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
                    if watch.has_cut:
                        return
                    watch.arrived += len(chunk)
                    yield chunk
        finally:
            self._cuts.discard(cut)

    def _session(self) -> requests.Session:
        from utils.sources.session import Session

        if not hasattr(self._local, "session"):
            self._local.session = session = Session(self._limits.stall_s)
            # Compressed on the way, a body would have neither the size nor the hash that is pinned.
            session.headers.update({"Accept-Encoding": "identity", "User-Agent": "nxp-model-zoo"})
            session.max_redirects = 10
            self._sessions.append(session)
        return cast("requests.Session", self._local.session)

    def _read_head(self, response: requests.Response, have: int, part: Part) -> tuple[int, int | None]:
        """Return the byte that the body starts at, and the whole file's size in bytes if it is told."""
        status, headers, size = response.status_code, response.headers, part.known.size
        if why := _find_unsafe_hop(response, part.known):
            raise TryError(why)
        if response.is_redirect:
            raise TryError("it redirects, which is not followed while ZOO_OFFLINE is set")
        if status not in (200, 206, 416):
            phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
            can_retry = status in (408, 425, 429) or status >= HTTPStatus.INTERNAL_SERVER_ERROR
            wait_s = parse_retry_after(headers.get("Retry-After", ""), self._limits.longest_s)
            raise TryError(f"HTTP {status} {phrase}".rstrip(), can_retry, wait_s, is_absent=status in (404, 410))
        packed = headers.get("Content-Encoding", "identity").lower() != "identity"
        if packed and not (part.known.sha256 or part.known.md5 or part.known.name.endswith(_PACKED)):
            raise TryError("it compresses its answer, although it was asked not to")
        ranged = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        first, told = ranged.groups() if ranged else (None, headers.get("Content-Length", ""))
        total = int(told) if _BYTES.fullmatch(told) else None
        if ranged and total is not None and size not in (None, total):
            part.discard()
            raise TryError(f"the server's file has {total} bytes, not {size}", is_corrupt=True)
        if status != HTTPStatus.OK and (status, first) != (206, str(have)):
            part.discard()
            raise TryError(f"HTTP {status}: the requested range is not in its file", can_retry=True, wait_s=0)
        if total is not None and size is not None and total > size:
            raise TryError(f"the body has {total} bytes, not {size}", is_corrupt=True)
        if total is not None and total > self._limits.most_bytes and size is None:
            raise TryError(f"the body has {total} bytes, more than the {self._limits.most_bytes} that it may have")
        return (have if status == HTTPStatus.PARTIAL_CONTENT else 0), total


#: Formats that servers declare as a compressed form of another one.
_PACKED = (".gz", ".tgz")

#: A number of bytes; Python refuses to parse one with thousands of digits.
_BYTES = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(rf"bytes (?:({_BYTES.pattern})-{_BYTES.pattern}|\*)/({_BYTES.pattern}|\*)")

_LEAVES_HTTPS = "it redirects from https to http"


def _find_unsafe_hop(response: requests.Response, known: Source) -> str:
    """Describe why the hops of a response cannot be trusted; empty if they can.

    An attacker who can change one answer over plain http chooses the target of the next request, https or not.
    """
    hops = _list_hops(response)
    if known.sha256 or known.md5:  # the hash proves the bytes, whatever happened on the way
        return _LEAVES_HTTPS if _leaves_https([hops[0], hops[-1]]) else ""
    why = _find_unproven_hop(hops)
    return why if why in ("", _LEAVES_HTTPS) else f"{why}: pin its sha256"


def _find_unproven_hop(hops: list[SplitResult]) -> str:
    """Describe why the hops of a body without a hash cannot be trusted; empty if they can."""
    if _leaves_https(hops):
        return _LEAVES_HTTPS
    for hop in hops:
        if not is_protected(hop.geturl()):
            return f"{hop.scheme}://{hop.hostname} is plain http, and there is no hash to check its answer"
    return ""


def _leaves_https(hops: list[SplitResult]) -> bool:
    return any(one.scheme == "https" != other.scheme for one, other in pairwise(hops))


def _list_hops(response: requests.Response) -> list[SplitResult]:
    """Return every requested URL, from the first to the one that answered."""
    return [split_url(one.url) for one in (*response.history, response)]


def parse_retry_after(value: str, longest_s: float) -> float | None:
    """Return the seconds that a Retry-After header (seconds, or a date) asks for, at most ``longest_s``."""
    if _BYTES.fullmatch(value):
        return min(float(value), longest_s)
    try:
        wait_s = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None
    return min(max(wait_s, 0.0), longest_s)


def _shut_down(response: requests.Response) -> None:
    with suppress(OSError, RuntimeError, ValueError):  # it may be closing right now
        response.raw.shutdown()


@contextmanager
def contained(limits: Limits, *, asked: str = "") -> Iterator[None]:
    """Turn any exception of the libraries into a failure of this address: their list is not documented.

    ``asked`` is the address, as long as its host has not answered.
    """
    try:
        yield
    except Exception as error:
        failure = _explain(error, limits)
        failure.is_silent = bool(asked) and failure.why in _silences(limits) and not _has_redirected(error, asked)
        raise failure from None


def _has_redirected(error: Exception, asked: str) -> bool:
    """Whether the host of ``asked`` answered with a redirect, and it was the next one that failed."""
    import requests

    failed = getattr(error, "request", None)
    first = requests.PreparedRequest()
    try:
        first.prepare_url(asked, None)
    except requests.RequestException:
        return False
    return failed is not None and failed.url != first.url


def _silences(limits: Limits) -> tuple[str, ...]:
    """What is said of a host that did not answer at all."""
    return (
        _NO_PROXY,
        _UNKNOWN,
        _REFUSED,
        f"no connection within {limits.connect_s:g} s",
        f"no data for {limits.read_s:g} s",
    )


_NO_PROXY, _UNKNOWN = "the proxy refused or cannot be reached", "the host name is unknown"
_REFUSED = "the connection was refused"


def _explain(error: Exception, limits: Limits) -> TryError:
    """Describe a network error in our own words: the library's text may contain credentials."""
    import requests
    import urllib3

    if isinstance(error, StalledError):
        return TryError(str(error))
    text, errors = str(error), requests.exceptions
    certificate = "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text
    no_address = (errors.InvalidURL, errors.InvalidSchema, errors.MissingSchema, urllib3.exceptions.LocationParseError)
    silent = isinstance(error, (errors.Timeout, urllib3.exceptions.TimeoutError))
    for found, why, can_retry in (
        (isinstance(error, errors.TooManyRedirects), "its redirects form a loop", False),
        (certificate, "its TLS certificate is not trusted (REQUESTS_CA_BUNDLE names a site's own CA)", False),
        (isinstance(error, no_address), "the address, or its redirect, is not http(s)", False),
        (isinstance(error, errors.ProxyError), _NO_PROXY, True),
        (isinstance(error, errors.ConnectTimeout), f"no connection within {limits.connect_s:g} s", True),
        (silent, f"no data for {limits.read_s:g} s", True),
        ("NameResolutionError" in text or "Failed to resolve" in text, _UNKNOWN, True),
        ("Connection refused" in text, _REFUSED, True),
        # The errors of requests are OSErrors.
        (not isinstance(error, (OSError, urllib3.exceptions.HTTPError)), "its answer is not valid HTTP", False),
    ):
        if found:
            return TryError(why, can_retry)
    return TryError("the connection was cut", can_retry=True)
