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
from utils import files
from utils.release import check, pack, sign
from utils.sources.unpack import unpack

#: Credentials that the tests use: none of them may ever be printed.
SECRETS = ("let me in", base64.b64encode(USER.encode()).decode(), "hf_secret", "hf_wrong", "t0ken")

#: Made by the first version that made releases: never to be made again, always to be read.
FIRST = ROOT / "tests/data/release-0.1.0.tar.xz"
FIRST_KEY = ROOT / "tests/data/release-0.1.0.pub"

#: The one model in it.
FIRST_MODEL = "demo_nearest"

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


def published(release: Path, model: str, *, card_alone: bool = False) -> dict[str, bytes]:
    return pack.published(release, check.index_of(release), model, card_alone=card_alone)


def first_release(folder: Path) -> Path:
    """A copy of the first release, to be damaged; ``FIRST_KEY`` is the key of whom to trust."""
    return unpack(FIRST, folder / "first") / "0.1.0"


def make_fit(release: Path, keys: Keys | None = None) -> None:
    """Let release.json, SHA256SUMS and, with keys, the signatures say what the files are now; without, none is left."""
    index = files.load_json(release / "release.json")
    if not keys:
        shutil.rmtree(release / "signatures", ignore_errors=True)
    else:
        top = release.parent / f"{FIRST_MODEL}-{index['version']}"
        for name, data in pack.published(release, index, FIRST_MODEL).items():
            pack.write(top / name, data)
        sign.sign(top, top / sign.SIGNATURE, keys.private)
        (top / sign.SIGNATURE).replace(release / f"signatures/{FIRST_MODEL}.sig")
        shutil.rmtree(top)
    index["files"] = {name: files.sha256(release / name) for name in index["files"] if (release / name).is_file()}
    (release / "release.json").write_text(files.dump_json(index))
    (release / sign.SIGNATURE).unlink(missing_ok=True)
    (release / files.SUMS).write_text(files.make_sums(release))
    if keys:
        sign.sign(release, release / sign.SIGNATURE, keys.private)


def change_json(file: Path, change: Callable[[Any], Any]) -> None:
    """Write a JSON file again, as the project writes it, after ``change`` did something to its value."""
    value = files.load_json(file)
    change(value)
    file.write_text(files.dump_json(value))


def small_release(folder: Path, keys: Keys | None = None) -> Path:
    """The first release with a bill of materials of one component: to look at it takes 20 ms, not a second."""

    def shorten(bom: Any) -> None:
        [part] = [part for part in bom["components"] if part["name"].endswith(".tflite")]
        del part["modelCard"]["modelParameters"]["datasets"]
        bom["components"], bom["dependencies"] = [part], []

    release = first_release(folder)
    change_json(release / "bom.json", shorten)
    make_fit(release, keys)
    return release
