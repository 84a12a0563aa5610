"""Keys, commits and damaged files for the tests of releases."""

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

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.checkouts import ROOT, Checkout
from tests.support.registries import USER
from utils.release import check, pack

#: Credentials that the tests use: none of them may ever be printed.
SECRETS = ("let me in", base64.b64encode(USER.encode()).decode(), "hf_secret", "hf_wrong", "t0ken")

DEMO = "models=demo_nearest,demo_bilinear"


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
