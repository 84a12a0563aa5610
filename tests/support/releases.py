"""Keys, commits and damaged files for the tests of releases."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.checkouts import ROOT, Checkout

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
