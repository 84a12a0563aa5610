"""Fixtures: a committed checkout with the small demo built and locked, keys, one release; and how to publish it."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import ROOT, Checkout, clean_env
from tests.support.registries import USER
from utils.release import check, pack

DEMO = "models=demo_nearest,demo_bilinear"

#: Credentials that the tests use: none of them may ever be printed.
SECRETS = ("let me in", base64.b64encode(USER.encode()).decode(), "hf_secret", "hf_wrong", "t0ken")


@dataclass(frozen=True)
class Keys:
    """A key pair as the README makes it."""

    private: Path
    public: Path


def write_private(file: Path, key: Any, password: str = "") -> None:
    """As ``openssl ecparam -genkey -noout`` and its like leave it, readable by nobody else."""
    hidden = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    if isinstance(key, ec.EllipticCurvePrivateKey) and not password:
        kind = serialization.PrivateFormat.TraditionalOpenSSL
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, hidden))
    file.chmod(0o600)


def write_public(file: Path, key: Any) -> None:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    file.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, kind))


def make_keys(folder: Path) -> Keys:
    folder.mkdir(parents=True, exist_ok=True)
    keys, key = Keys(folder / "release.key", folder / "release.pub"), ec.generate_private_key(ec.SECP256R1())
    write_private(keys.private, key)
    write_public(keys.public, key)
    return keys


def git(checkout: Checkout, *arguments: str) -> str:
    named = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    done = subprocess.run(["git", *named, *arguments], cwd=checkout.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(checkout: Checkout) -> None:
    """Make a git repository of the checkout if it is none, and commit all that is there."""
    if not (checkout.root / ".git").is_dir():
        shutil.copy(ROOT / ".gitignore", checkout.root)
        git(checkout, "init", "-q")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "State")


def copy(checkout: Checkout, to: Path) -> Checkout:
    shutil.copytree(checkout.root, to, symlinks=True)
    return Checkout(to)


def flip(file: Path, at: int) -> None:
    """Change one bit of the byte at ``at`` (from the end if negative)."""
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def ready_once(built_once: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clean, committed checkout whose demo is built and locked: look, do not touch."""
    checkout = copy(built_once, tmp_path_factory.mktemp("ready") / "zoo")
    commit(checkout)
    done = checkout.doit("lock")
    assert done.returncode == 0, done.stdout + done.stderr
    commit(checkout)
    return checkout


@pytest.fixture
def ready(ready_once: Checkout, tmp_path: Path) -> Checkout:
    """A copy of it that a test may change."""
    return copy(ready_once, tmp_path / "zoo")


@pytest.fixture(scope="session")
def release_once(ready_once: Checkout, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed release of both demo models: look, do not touch."""
    checkout = copy(ready_once, tmp_path_factory.mktemp("released") / "zoo")
    done = checkout.doit("release", "version=1.0.0", DEMO, f"key={keys.private}")
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout.root / "release/1.0.0"


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


def command(release: Path, to: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "utils.release", "publish", f"path={release}", f"to={to}", *more]


def publish(release: Path, to: str, env: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(release, to, *more), cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    return done


def killed(release: Path, to: str, env: dict[str, str], enough: Callable[[], bool]) -> None:
    """Publish, and end the process with SIGKILL once ``enough`` of it has happened."""
    process = subprocess.Popen(
        command(release, to), cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not enough():
        assert process.poll() is None, "it was done before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()


def published(release: Path, model: str) -> dict[str, bytes]:
    return pack.published(release, check.index_of(release), model)
