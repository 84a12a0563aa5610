"""Fixtures: a step cache on the loopback, two machines that share it, and keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.releases import Keys, make_keys
from tests.support.step_caches import Machine, StepServer, serving_steps
from utils.shared import wire


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no setting and no ~/.netrc from outside; and no patience."""
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name.startswith("ZOO_") or name == "NETRC":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "sources"))
    monkeypatch.setattr(wire, "PATIENCE", replace(wire.PATIENCE, read_s=2.0, backoff_s=0.01, longest_s=0.2))


@pytest.fixture
def server() -> Iterator[StepServer]:
    with serving_steps() as found:
        yield found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Machine]:
    """Makes a machine of a name; the process works in the one that was used last."""
    return lambda name: Machine(tmp_path / name, monkeypatch)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("stranger"))
