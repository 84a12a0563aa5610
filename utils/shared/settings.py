"""Settings of shared building: the variables ``ZOO_STEPS...``, read once, refused where they contradict each other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UsageError
from utils.sources.source import is_protected, redact_url, split_url
from utils.untrusted import as_text

__all__ = ["TLS_FILES", "Settings", "find_tls", "read_settings"]

#: The files in the folder of ``ZOO_TLS``: the site's own CA, this machine's certificate and its private key.
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")

_OFF, _ON = ("", "0"), "1"

#: What the header of a request may hold: a bearer token of RFC 6750.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True)
class Settings:
    """What the user asks for.

    Attributes:
        server: address of the step cache, without a slash at its end; empty: there is none.
        token: bearer token for it; empty: credentials of ~/.netrc or of the address, if there are any.
        writes: whether results of this machine go there.
        key: the private key that signs them.
        public: the public keys that are trusted; None: any result is taken, signed or not.
        own: whether results that are made of user-supplied weights are shared, too.
        tls: the folder of ``TLS_FILES``, for a server that wants a certificate or has one of the site's own CA.
    """

    server: str = ""
    token: str = ""
    writes: bool = False
    key: Path | None = None
    public: Path | None = None
    own: bool = False
    tls: Path | None = None

    @property
    def label(self) -> str:
        """The server for a message, without credentials."""
        return redact_url(self.server)


def read_settings(env: Mapping[str, str] = os.environ) -> Settings:
    """Read the variables. An empty ``ZOO_STEPS`` switches the rest off.

    Raises:
        UsageError: a value is malformed, a file is missing, or two variables contradict each other.
    """
    server = env.get("ZOO_STEPS", "").rstrip("/")
    if not server:
        if "ZOO_STEPS" not in env and env.get("ZOO_STEPS_WRITE", "") not in _OFF:
            raise UsageError(
                "ZOO_STEPS_WRITE is set, but no step cache is named",
                where="ZOO_STEPS",
                hint="set ZOO_STEPS=https://...",
            )
        return Settings()
    found = Settings(
        server=_check_address(server),
        token=_check_token(env.get("ZOO_STEPS_TOKEN", "")),
        writes=_read_switch(env, "ZOO_STEPS_WRITE"),
        key=_find_file(env, "ZOO_STEPS_KEY"),
        public=_find_file(env, "ZOO_STEPS_PUBKEY"),
        own=_read_switch(env, "ZOO_STEPS_OWN"),
        tls=find_tls(env),
    )
    _refuse_contradictions(found)
    return found


def _check_address(server: str) -> str:
    parts = split_url(server)
    where, hint = (
        f"ZOO_STEPS={redact_url(server)}",
        "set it to the folder above /ac and /cas: https://HOST[:PORT][/PATH]",
    )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError("is not the http(s) address of a step cache", where=where, hint=hint)
    if not is_protected(server) and (parts.username or parts.password):
        hint = "use https, or take user and password out of the address"
        raise UsageError("sends a password over plain http to another machine", where=where, hint=hint)
    return server


def _check_token(token: str) -> str:
    if token and not _TOKEN.fullmatch(token):
        hint = "a token has letters, digits and ._~+/-= only"
        raise UsageError("is not a bearer token", where="ZOO_STEPS_TOKEN", hint=hint)
    return token


def _read_switch(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "")
    if value not in (*_OFF, _ON):
        raise UsageError(f"is {as_text(value, 40)!r}: 0, 1 or unset", where=name, hint=f"set {name}=1, or unset it")
    return value == _ON


def _find_file(env: Mapping[str, str], name: str) -> Path | None:
    value = env.get(name, "")
    if not value:
        return None
    file = Path(value).expanduser().absolute()
    if not file.is_file():
        raise UsageError(
            "there is no such file", where=f"{name}={as_text(value)}", hint="correct the path, or unset it"
        )
    return file


def find_tls(env: Mapping[str, str]) -> Path | None:
    """Find the folder of ``ZOO_TLS``; None where it is not set.

    Raises:
        UsageError: it lacks one of ``TLS_FILES``.
    """
    value = env.get("ZOO_TLS", "")
    if not value:
        return None
    folder = Path(value).expanduser().absolute()
    for name in TLS_FILES:
        if not os.access(folder / name, os.R_OK):
            hint = f"the folder holds {', '.join(TLS_FILES)}; docker/cluster/make-tls makes all three"
            raise UsageError(f"{name} is missing or cannot be read", where=f"ZOO_TLS={as_text(value)}", hint=hint)
    return folder


def _refuse_contradictions(found: Settings) -> None:
    if not is_protected(found.server):
        where = f"ZOO_STEPS={found.label}"
        if found.writes or found.token:
            hint = "use https: over plain http no credentials are sent to another machine"
            raise UsageError("is plain http, and it is to be written", where=where, hint=hint)
        if found.public is None:
            hint = "use https, or set ZOO_STEPS_PUBKEY=FILE: then only signed results count"
            raise UsageError("is plain http, where others may change a result on its way", where=where, hint=hint)
    if found.key and not found.writes:
        hint = "set ZOO_STEPS_WRITE=1 to write, or unset ZOO_STEPS_KEY"
        raise UsageError("signs what is written, and nothing is written", where="ZOO_STEPS_KEY", hint=hint)
    if found.writes and found.public and not found.key:
        hint = "set ZOO_STEPS_KEY=FILE, or unset one of the two"
        what = "takes signed results only, and ZOO_STEPS_WRITE would write unsigned ones"
        raise UsageError(what, where="ZOO_STEPS_PUBKEY", hint=hint)
