"""HTTP for publishing: https at every hop, http only on this machine, credentials for one origin only.

Redirects are followed here, one by one. requests would follow them to http, and would add credentials from ~/.netrc.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import NamedTuple
from urllib.parse import urljoin

import requests
import urllib3
from urllib3.util import parse_url

from utils.release.answers import AnswerError, allowed_s, join_chunks, within
from utils.sources import source
from utils.untrusted import as_text

__all__ = [
    "AddressError",
    "Answer",
    "Client",
    "Origin",
    "is_loopback",
    "join_address",
    "origin_of",
    "refuse_unprotected",
]

#: Seconds to connect, and of silence.
_TIMEOUT_S = (10, 60)

#: Most redirects of one request.
_HOPS = 5

_PORTS = {"http": 80, "https": 443}


class AddressError(AnswerError):
    """A server redirects to an address that must not be used."""


class Origin(NamedTuple):
    """The owner of credentials: scheme, host and port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{as_text(self.host, 100)}{port}"


@dataclass(frozen=True)
class Answer:
    """A server's answer, complete."""

    code: int
    headers: Mapping[str, str]
    url: str  # that answered
    body: bytes


def origin_of(url: str) -> Origin:
    """Get the origin of an absolute address, with the parser that is used to connect.

    Raises:
        AddressError: it is not http or https, or contains a user.
    """
    try:
        parts = parse_url(url)
    except ValueError:
        raise AddressError("redirects to a malformed address") from None
    if parts.scheme not in _PORTS or not parts.host:
        raise AddressError("redirects to an address that is neither http nor https")
    if parts.auth is not None:
        raise AddressError(f"redirects to an address with a user in it, at {as_text(parts.host, 100)}")
    return Origin(parts.scheme, parts.host, parts.port or _PORTS[parts.scheme])


def is_loopback(host: str) -> bool:
    """Whether a host (with or without a port) is this machine."""
    try:
        return source.is_loopback((parse_url(f"https://{host}").host or "").strip("[]"))
    except ValueError:
        return False


def refuse_unprotected(url: str, start: Origin) -> Origin:
    """Get the origin of ``url``, if a request that began at ``start`` may go there.

    Raises:
        AddressError: it is http, and one of the two is another machine.
    """
    origin = origin_of(url)
    if origin.scheme != "https" and not (is_loopback(origin.host) and is_loopback(start.host)):
        raise AddressError(f"redirects to an unprotected address ({origin})")
    return origin


class _Session(requests.Session):
    """Ignores redirects: requests would read the whole body of one, and raise for a malformed address."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Report no redirect: ``Client`` follows them."""


class Client:
    """Sends requests to one server that the user named."""

    def __init__(self, start: Origin) -> None:
        self.start = start
        self._session = _Session()  # trust_env: the site's proxies and CA bundles
        self._session.auth = _leave_as_is
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        authorization: str = "",
        owner: Origin | None = None,
    ) -> Answer:
        """Send one request and follow its redirects; ``authorization`` goes to ``owner`` (the start) only.

        After a redirect away from the owner, later hops go without it, even those back to the owner.

        Raises:
            AddressError: a hop is unprotected or malformed, or there are too many.
            AnswerError: an answer is too large, or does not end.
            requests.RequestException: no answer.
        """
        for _ in range(_HOPS + 1):
            origin = refuse_unprotected(url, self.start)
            if origin != (owner or self.start):
                authorization = ""
            asked = {**(headers or {}), **({"Authorization": authorization} if authorization else {})}
            hop = partial(self._send_once, method, url, origin, asked, data)
            answer = within(allowed_s(len(data or b"")), hop)
            if not _is_to_follow(method, answer):
                return answer
            url = join_address(answer)
        raise AddressError(f"redirects more than {_HOPS} times")

    def _send_once(
        self, method: str, url: str, origin: Origin, headers: Mapping[str, str], data: bytes | None
    ) -> Answer:
        with self._session.request(
            method,
            parse_url(url).url,
            headers={**headers, "Accept-Encoding": "identity"},  # compressed, a small body could become a large one
            data=data,
            timeout=_TIMEOUT_S,
            allow_redirects=False,
            proxies={"no_proxy": origin.host.strip("[]")} if origin.scheme == "http" else None,
            stream=True,
        ) as answer:
            return Answer(answer.status_code, answer.headers, answer.url, join_chunks(_read_body(answer)))


def _read_body(answer: requests.Response) -> Iterator[bytes]:
    """Read the body as it was sent.

    Raises:
        requests.RequestException: the connection broke.
    """
    try:
        while chunk := answer.raw.read1(1 << 16, decode_content=False):
            yield chunk
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.ConnectionError(error) from None


def _is_to_follow(method: str, answer: Answer) -> bool:
    """Whether the same request is to be sent elsewhere; 301 to 303 would turn a PUT into a GET."""
    codes = (301, 302, 303, 307, 308) if method in ("GET", "HEAD") else (307, 308)
    return answer.code in codes and "Location" in answer.headers


def join_address(answer: Answer) -> str:
    """Get the absolute address in an answer's Location.

    Raises:
        AddressError: there is none.
    """
    location = answer.headers.get("Location")
    if not location:
        raise AddressError("redirects without an address")
    try:
        return urljoin(answer.url, location)
    except ValueError:
        raise AddressError("redirects to a malformed address") from None


def _leave_as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Replace the login that requests reads from ~/.netrc: these credentials come only from Docker's files."""
    return request
