"""Source: one upstream file, its addresses, and the hashes that identify it."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from utils.untrusted import as_text

__all__ = ["Address", "Source", "hash_url", "is_loopback", "is_offline", "is_protected", "redact_url", "split_url"]

_SECRET = re.compile(r"([^&=]*(?:token|key|sig|secret|pass|auth|cred)[^&=]*)=[^&]*", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One upstream file: its addresses, and the hashes that identify it."""

    name: str  # file name
    urls: tuple[str, ...]  # origin first, then its mirrors
    size: int | None  # bytes
    sha256: str | None  # lower-case hex
    md5: str | None  # only if upstream publishes no sha256
    licence: str  # SPDX id or a plain name
    what: str

    @property
    def unpinned(self) -> bool:
        """True if the recipe has no sha256: the first fetch records one, and a release refuses the source."""
        return self.sha256 is None

    @property
    def key(self) -> str:
        """The name of its lock, part and record: a hash that is known before the bytes arrive."""
        if self.sha256:
            return self.sha256
        return f"md5-{self.md5}" if self.md5 else hash_url(next(iter(self.urls), self.name))


@dataclass(frozen=True)
class Address:
    """One place that may have a source: a URL, or a file in a mirror folder."""

    place: str | Path
    is_mirror: bool = False

    @property
    def label(self) -> str:
        """The short name of a file's origin: the host, or "mirror"."""
        return "mirror" if self.is_mirror else split_url(str(self.place)).hostname or str(self)

    @property
    def host(self) -> str:
        """The host and the port that a URL names; empty for a file."""
        return split_url(str(self.place)).netloc.rpartition("@")[2].lower() if isinstance(self.place, str) else ""

    def __str__(self) -> str:
        shown = redact_url(self.place) if isinstance(self.place, str) else as_text(self.place)
        return f"mirror {shown}" if self.is_mirror else shown


def hash_url(url: str) -> str:
    """Return a file name for ``url``; its user and password are ignored."""
    parts = split_url(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return f"url-{hashlib.sha256(bare.encode()).hexdigest()[:32]}"


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine, by name or by address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_offline() -> bool:
    """Return whether ``ZOO_OFFLINE`` leaves no network but the mirror."""
    return os.environ.get("ZOO_OFFLINE", "").lower() not in ("", "0", "no", "false")


def is_protected(url: str) -> bool:
    """Return whether the connection is protected: https, or to this machine."""
    parts = split_url(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def redact_url(url: str) -> str:
    """Return ``url`` for a message, without credentials."""
    parts = split_url(url)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"***@{host}" if at and user else parts.netloc
    return as_text(parts._replace(netloc=netloc, query=_SECRET.sub(r"\1=***", parts.query)).geturl())


def split_url(url: str) -> SplitResult:
    """Return the parts of ``url``; those of a placeholder if it is malformed."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("unreadable-address")
