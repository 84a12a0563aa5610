"""Fixtures: a cache of its own for each test, and a loopback server that does as it is told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import Server, serving


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own cache, and no proxy, mirror or switch from outside."""
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name.startswith("ZOO_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def loopback() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(loopback: Server) -> Server:
    loopback.routes.clear()
    loopback.requests.clear()
    return loopback


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate that nobody has signed."""
    path = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=zoo -addext subjectAltName=IP:127.0.0.1"
    try:
        subprocess.run(
            [*command.split(), "-keyout", path, "-out", path.with_suffix(".crt")],
            check=True,
            capture_output=True,
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("needs the openssl program")
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path
