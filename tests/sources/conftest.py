"""Fixtures: a cache of its own for each test, and a loopback server that does as it is told."""

from __future__ import annotations

import os
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
