"""HTTP: one try at one address, from where an earlier one broke off."""

from __future__ import annotations

import email.utils
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult

from utils.errors import SourceError
from utils.sources.part import CHUNK_BYTES, Part, TryError
from utils.sources.progress import Event
from utils.sources.source import Address, Source, is_protected, redact_url, split_url

if TYPE_CHECKING:
    import requests

__all__ = ["Client", "Limits", "parse_retry_after"]


@dataclass(frozen=True)
class Limits:
    """How long and how often to try."""

    connect_s: float = 10.0
    read_s: float = 30.0  # the longest silence inside a body
    tries: int = 4  # for each address
    backoff_s: float = 1.0  # before the second try; doubles each time
    longest_s: float = 60.0  # the longest wait, whatever Retry-After asks for


class Client:
    """A connection pool for each thread."""

    def __init__(self, limits: Limits, *, follow_redirects: bool) -> None:
        self._limits, self._follow_redirects = limits, follow_redirects
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._bodies: set[requests.Response] = set()

    def abort(self) -> None:
        """End every thread that waits for bytes."""
        for response in list(self._bodies):
            with suppress(OSError, RuntimeError, ValueError):  # it may be closing at this moment
                response.raw.shutdown()

    def close(self) -> None:
        """Close all connections."""
        for session in self._sessions:
            session.close()

    def download(self, address: Address, url: str, part: Part) -> None:
        """Bring ``part`` to its full length, going on from where it ends.

        Raises:
            TryError: this try came to nothing.
            StorageError: the part cannot be written.
        """
        import requests
        import urllib3

        known = part.known
        have, tag = part.resume_point(url)
        if have and have == known.size:
            part.check(resumed=True)
            return
        asked = {"Range": f"bytes={have}-"} if have else {}
        if have and tag:
            asked["If-Range"] = tag
        try:
            response = self._get(url, headers=asked)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _explain(error, self._limits) from None
        with response:
            start, total = self._read_head(response, have, part)
            part.note_etag(url, response.headers.get("ETag", ""))
            whole = total if known.size is None else known.size
            part.report(Event("start", known.name, start, whole, address.label, part.key))
            self._bodies.add(response)
            try:
                length = part.append(_read_body(response, self._limits), start, whole)
            finally:
                self._bodies.discard(response)
        if not length or (whole is not None and length < whole):
            of = "" if whole is None else f" of {whole}"
            raise TryError(f"the body ended after {length}{of} bytes", can_retry=True)
        part.check(resumed=start > 0)

    def read_text(self, url: str) -> str | None:
        """Return a small text that no hash proves, or None where it cannot be had.

        Raises:
            SourceError: a hop on the way is plain http, where others may have written it; this machine's own is let in.
        """
        import urllib3

        try:
            with self._get(url) as response:
                if not response.ok or response.is_redirect:
                    return None
                if why := _find_unproven_hop(_list_hops(response)):
                    hint = "set ZOO_MIRROR to an https address that does not redirect to http, or to a folder"
                    raise SourceError(f"{why}: not used", where=redact_url(url), hint=hint)
                return response.text
        except (OSError, urllib3.exceptions.HTTPError):  # those of requests are OSErrors
            return None

    def _get(self, url: str, headers: dict[str, str] | None = None) -> requests.Response:
        timeout = (self._limits.connect_s, self._limits.read_s)
        follow = self._follow_redirects
        return self._session().get(url, headers=headers, stream=True, timeout=timeout, allow_redirects=follow)

    def _session(self) -> requests.Session:
        from utils.sources.session import Session

        if not hasattr(self._local, "session"):
            self._local.session = session = Session()
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
        ranged = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", ""))
        first, told = ranged.groups() if ranged else (None, headers.get("Content-Length", ""))
        total = int(told) if told.isdecimal() else None
        if ranged and total is not None and size not in (None, total):
            part.discard()
            raise TryError(f"the server's file has {total} bytes, not {size}", is_corrupt=True)
        if status != HTTPStatus.OK and (status, first) != (206, str(have)):
            part.discard()
            raise TryError(f"HTTP {status} for a range that it does not have", can_retry=True, wait_s=0)
        if total is not None and size is not None and total > size:
            raise TryError(f"the body has {total} bytes, not {size}", is_corrupt=True)
        return (have if status == HTTPStatus.PARTIAL_CONTENT else 0), total


_LEAVES_HTTPS = "it redirects from https to http"


def _find_unsafe_hop(response: requests.Response, known: Source) -> str:
    """Say why the way that a response came cannot be trusted; an empty text if it can.

    Whoever can change one answer over plain http chooses where the next request goes, https or not.
    """
    hops = _list_hops(response)
    if known.sha256 or known.md5:  # whatever happened on the way, the hash proves the bytes
        return _LEAVES_HTTPS if _leaves_https([hops[0], hops[-1]]) else ""
    why = _find_unproven_hop(hops)
    return why if why in ("", _LEAVES_HTTPS) else f"{why}: pin its sha256"


def _find_unproven_hop(hops: list[SplitResult]) -> str:
    """Say why the way of a body that no hash proves cannot be trusted; an empty text if it can."""
    if _leaves_https(hops):
        return _LEAVES_HTTPS
    for hop in hops:
        if not is_protected(hop.geturl()):
            return f"{hop.scheme}://{hop.hostname} is plain http, and there is no hash to check what it sends"
    return ""


def _leaves_https(hops: list[SplitResult]) -> bool:
    return any(one.scheme == "https" != other.scheme for one, other in pairwise(hops))


def _list_hops(response: requests.Response) -> list[SplitResult]:
    """Return every URL that was asked, from the first to the one that answered."""
    return [split_url(one.url) for one in (*response.history, response)]


def parse_retry_after(value: str, longest_s: float) -> float | None:
    """Return the seconds that a Retry-After header (seconds, or a date) asks for, at most ``longest_s``."""
    if value.isdecimal():
        return min(float(value), longest_s)
    try:
        wait_s = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(wait_s, 0.0), longest_s)


def _read_body(response: requests.Response, limits: Limits) -> Iterator[bytes]:
    import urllib3

    try:
        # As sent: a .gz served with "Content-Encoding: gzip" must stay a .gz.
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise _explain(error, limits) from None


def _explain(error: Exception, limits: Limits) -> TryError:
    """Put a failure of the network into words of our own: its text may hold credentials."""
    import requests
    import urllib3

    text, errors = str(error), requests.exceptions
    certificate = "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text
    address = isinstance(error, (ValueError, urllib3.exceptions.LocationParseError))
    silent = isinstance(error, (errors.Timeout, urllib3.exceptions.TimeoutError))
    for found, why, can_retry in (
        (isinstance(error, errors.TooManyRedirects), "its redirects go in a circle", False),
        (certificate, "its TLS certificate is not trusted (REQUESTS_CA_BUNDLE names a site's own CA)", False),
        (address, "this is no http(s) address", False),
        (isinstance(error, errors.ProxyError), "the proxy refused or cannot be reached", True),
        (isinstance(error, errors.ConnectTimeout), f"no connection within {limits.connect_s:g} s", True),
        (silent, f"no data for {limits.read_s:g} s", True),
        ("NameResolutionError" in text or "Failed to resolve" in text, "the host name is unknown", True),
        ("Connection refused" in text, "the connection was refused", True),
    ):
        if found:
            return TryError(why, can_retry)
    return TryError("the connection was cut", can_retry=True)
