"""Key files: what is wrong with one is said as it is, and only a missing one is to be made."""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.support.checkouts import ROOT
from tests.support.releases import Keys, make_keys, write_public
from utils import paths
from utils.errors import ReleaseError
from utils.release import pack, sign

NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up root's right to read everything, for a while."""
    if os.geteuid():
        yield
        return
    for module in ("hashing", "verifying"):  # while the packages can be read
        import_module(f"model_signing.{module}")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def unreadable() -> Iterator[Keys]:
    """Keys in a folder that everybody may enter; the private one is another user's, or of nobody to read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = make_keys(Path(folder))
        for file in (made.private, made.public):
            file.chmod(0o600 if os.geteuid() == 0 else 0)
        yield made


def refused(key: Path, option: str) -> str:
    use = sign.check_private if option == "key" else partial(sign.verify, key.parent, key.parent / sign.SIGNATURE)
    with pytest.raises(ReleaseError) as caught:
        use(key)
    assert str(caught.value).startswith(f"{option}={key}: ")
    return str(caught.value)


def test_a_key_that_cards_count_as_one_of_others_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = make_keys(tmp_path / "own"), make_keys(tmp_path / "other")
    monkeypatch.setattr(paths, "REBUILDS", tmp_path / "rebuilds")
    known = tmp_path / "rebuilds/keys"
    known.mkdir(parents=True)
    (known / "lab.pub").write_bytes(other.public.read_bytes())
    pack._tell_own_key(own.private)
    assert capsys.readouterr().out == ""
    (known / "me.pub").write_bytes(own.public.read_bytes())
    pack._tell_own_key(own.private)
    [line] = capsys.readouterr().out.splitlines()
    assert "rebuilds/keys/me.pub: is the key that signs this release" in line
    (known / "me.pub").write_text("no key")
    pack._tell_own_key(own.private)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("option", ["key", "pubkey"])
def test_a_key_without_permission(unreadable: Keys, option: str) -> None:
    with unprivileged():
        said = refused(unreadable.private if option == "key" else unreadable.public, option)
        assert f"user id {os.geteuid()} has no permission to read it" in said
    assert "openssl" not in said


@pytest.mark.parametrize("option", ["key", "pubkey"])
def test_a_key_in_a_folder_without_permission(unreadable: Keys, option: str) -> None:
    folder = unreadable.private.parent
    folder.chmod(0o700 if os.geteuid() == 0 else 0)
    try:
        with unprivileged():
            assert "no permission to read it" in refused(folder / "release.key", option)
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("option", ["key", "pubkey"])
def test_a_key_that_is_a_folder_or_a_pipe(tmp_path: Path, option: str) -> None:
    said = refused(tmp_path, option)
    assert "is a folder, not a key file" in said
    assert "openssl" not in said
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refused(tmp_path / "pipe", option)


@pytest.mark.parametrize("option", ["key", "pubkey"])
def test_a_key_that_is_missing_may_be_made(tmp_path: Path, option: str) -> None:
    said = refused(tmp_path / "none", option)
    assert "the key file does not exist" in said
    assert "openssl" in said


def test_a_public_key_of_another_type(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    write_public(file, ec.generate_private_key(ec.SECP256K1()))
    assert "is a public key of another type (secp256k1)" in refused(file, "pubkey")
    write_public(file, ed25519.Ed25519PrivateKey.generate())
    assert "is a public key of another type (Ed25519PublicKey)" in refused(file, "pubkey")


def test_model_signing_is_used_by_its_public_names() -> None:
    """A private module may change in any release."""
    for file in (ROOT / "utils").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("model_signing"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not [name for name in names if name.startswith("_")], file
