"""Cluster: where the scheduler is, and by which certificate this machine takes part (``ZOO_ENGINE``, ``ZOO_TLS``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from utils import paths
from utils.errors import UsageError
from utils.shared.settings import TLS_FILES, find_tls
from utils.sources.source import is_loopback
from utils.untrusted import as_text

__all__ = ["Cluster", "find_cluster", "find_engine_folder"]

_ADDRESS = "ZOO_ENGINE is the address of a scheduler: tls://HOST:PORT"


@dataclass(frozen=True)
class Cluster:
    """A scheduler, and how to talk to it.

    Attributes:
        address: ``tls://HOST:PORT``, or ``tcp://`` and a loopback address.
        host: of the address.
        port: of the address.
        tls: the folder of the certificate; None for plain TCP.
    """

    address: str
    host: str
    port: int
    tls: Path | None

    @property
    def certificate(self) -> list[str]:
        """The paths of the CA, the certificate and its key; empty for plain TCP."""
        return [str(self.tls / name) for name in TLS_FILES] if self.tls else []

    @property
    def dask_words(self) -> list[str]:
        """What Dask's own programs take to use the certificate."""
        options = ("--tls-ca-file", "--tls-cert", "--tls-key")
        return [word for pair in zip(options, self.certificate, strict=False) for word in pair]


def find_cluster(env: Mapping[str, str] = os.environ) -> Cluster | None:
    """Find the cluster that the environment names; None where it names none.

    Raises:
        UsageError: the address is malformed, is plain TCP to another machine, or lacks its certificate.
    """
    address = env.get("ZOO_ENGINE", "")
    if not address:
        return None
    scheme, host, port = _split(address)
    if scheme == "tcp":
        if not is_loopback(host):
            hint = "use tls://, and set ZOO_TLS to the folder of this machine's certificate"
            raise UsageError("plain TCP is for this machine alone", where=f"ZOO_ENGINE={as_text(address)}", hint=hint)
        return Cluster(address, host, port, None)
    folder = find_tls(env)
    if folder is None:
        hint = "set ZOO_TLS to a folder with ca.pem, cert.pem and key.pem: docker/cluster/make-tls makes it"
        raise UsageError("tls:// needs a certificate", where=f"ZOO_ENGINE={as_text(address)}", hint=hint)
    return Cluster(address, host, port, folder)


def _split(address: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        bare = not (parts.username or parts.password or parts.path or parts.query or parts.fragment)
    except ValueError:
        scheme, host, port, bare = "", "", None, False
    if scheme not in ("tls", "tcp") or not host or not port or not bare:
        raise UsageError(_ADDRESS, where=f"ZOO_ENGINE={as_text(address)}", hint="correct it, or unset it to build here")
    return scheme, host, port


def find_engine_folder() -> Path:
    """Find the environment that has Dask: ``build/engine``, or ``/opt/engine`` in the image.

    Raises:
        UsageError: it is not installed. It is never installed implicitly.
    """
    inside = "NXP_MODEL_ZOO_IMAGE" in os.environ  # there, build/engine belongs to the host's Python
    folders = [*([] if inside else [paths.BUILD / "engine"]), Path("/opt/engine")]
    for folder in folders:
        if (folder / "bin" / "dask").is_file():
            return folder
    hint = "ZOO_ENGINE=tls://HOST:PORT docker/run doit ... adds it, to build/ or to the image"
    raise UsageError("the engine is not installed", where=paths.relative(folders[0]), hint=hint)
