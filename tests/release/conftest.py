"""Fixtures: a committed checkout with the small demo built and locked, keys, one release; and how to publish it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout, clean_env
from tests.support.releases import DEMO, Keys, commit, copy, make_keys
from tests.support.shared import make_once


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = make_once(tmp_path_factory, "keys", make_keys)
    return Keys(folder / "release.key", folder / "release.pub")


@pytest.fixture(scope="session")
def ready_once(built_once: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clean, committed checkout whose demo is built and locked: look, do not touch."""

    def make(folder: Path) -> None:
        checkout = copy(built_once, folder / "zoo")
        commit(checkout)
        done = checkout.doit("lock")
        assert done.returncode == 0, done.stdout + done.stderr
        commit(checkout)

    return Checkout(make_once(tmp_path_factory, "ready", make) / "zoo")


@pytest.fixture
def ready(ready_once: Checkout, tmp_path: Path) -> Checkout:
    """A copy of it that a test may change."""
    return copy(ready_once, tmp_path / "zoo")


@pytest.fixture(scope="session")
def release_once(ready_once: Checkout, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed release of both demo models: look, do not touch."""

    def make(folder: Path) -> None:
        done = copy(ready_once, folder / "zoo").doit("release", "version=1.0.0", DEMO, f"key={keys.private}")
        assert done.returncode == 0, done.stdout + done.stderr

    return make_once(tmp_path_factory, "released", make) / "zoo/release/1.0.0"


@pytest.fixture
def release(release_once: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    shutil.copytree(release_once, tmp_path / "1.0.0")
    return tmp_path / "1.0.0"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment in which nobody is logged in anywhere."""
    (tmp_path / "home").mkdir()
    places = {"HOME": tmp_path / "home", "DOCKER_CONFIG": tmp_path / "home/docker", "HF_HOME": tmp_path / "home/hf"}
    return {**clean_env(), **{name: str(place) for name, place in places.items()}, "HF_TOKEN": ""}
