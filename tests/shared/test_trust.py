"""Signatures: whose results count, and what a signature cannot be moved to."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.releases import Keys, write_private, write_public
from tests.support.step_caches import digest
from utils.errors import CorruptError, UsageError
from utils.shared.trust import Signer, Trusted

ACTION, FILES = "a" * 64, {"build/a": digest(b"a"), "build/b": digest(b"b")}


def refused(trusted: Trusted, signature: bytes, action: str = ACTION, files: object = FILES) -> str:
    with pytest.raises(CorruptError) as caught:
        trusted.check(signature, action, files, "here")  # type: ignore[arg-type]
    return str(caught.value)


def test_what_is_signed_is_trusted(keys: Keys) -> None:
    signer, trusted = Signer(keys.private), Trusted(keys.public)
    signature = signer.sign(ACTION, FILES)
    assert trusted.check(signature, ACTION, dict(reversed(FILES.items())), "here") == signer.fingerprint
    assert signer.fingerprint in trusted
    assert signature == signer.sign(ACTION, FILES)  # two machines with one key store the same bytes


def test_a_signature_holds_for_its_key_and_its_bytes_only(keys: Keys) -> None:
    signature, trusted = Signer(keys.private).sign(ACTION, FILES), Trusted(keys.public)
    for action, files in (
        ("b" * 64, FILES),
        (ACTION, {**FILES, "build/a": digest(b"other")}),
        (ACTION, {"build/a": FILES["build/b"], "build/b": FILES["build/a"]}),
        (ACTION, {"build/a": FILES["build/a"]}),
        (ACTION, {**FILES, "build/c": digest(b"c")}),
    ):
        assert "for another step or other bytes" in refused(trusted, signature, action, files)


def test_a_stranger_is_named(keys: Keys, stranger: Keys) -> None:
    theirs = Signer(stranger.private)
    said = refused(Trusted(keys.public), theirs.sign(ACTION, FILES))
    assert f"is signed by the key {theirs.fingerprint[:16]}..., which is not trusted" in said


def test_a_stranger_who_uses_our_name_is_refused(keys: Keys, stranger: Keys) -> None:
    found = json.loads(Signer(stranger.private).sign(ACTION, FILES))
    found["key"] = Signer(keys.private).fingerprint
    assert "for another step or other bytes" in refused(Trusted(keys.public), json.dumps(found).encode())


@pytest.mark.parametrize(
    "signature",
    [b"", b"{}", b"[1]", b'{"format": 2, "key": "", "signature": ""}', b"\xff" * 100, b"[" * 10_000],
)
def test_a_malformed_signature_is_refused(keys: Keys, signature: bytes) -> None:
    refused(Trusted(keys.public), signature)


@pytest.mark.parametrize("made", ["", "!", "AA==", base64.b64encode(b"0" * 70).decode()])
def test_a_signature_that_is_no_signature_is_refused(keys: Keys, made: str) -> None:
    found = {"format": 1, "key": Signer(keys.private).fingerprint, "signature": made}
    assert "for another step or other bytes" in refused(Trusted(keys.public), json.dumps(found).encode())


def test_a_file_may_hold_several_keys(keys: Keys, stranger: Keys, tmp_path: Path) -> None:
    """A new key is trusted before the old one goes."""
    both = tmp_path / "both.pub"
    both.write_bytes(keys.public.read_bytes() + stranger.public.read_bytes())
    for one in (keys, stranger):
        signer = Signer(one.private)
        assert Trusted(both).check(signer.sign(ACTION, FILES), ACTION, FILES, "here") == signer.fingerprint


def test_keys_that_cannot_be_used(keys: Keys, tmp_path: Path) -> None:
    shown = tmp_path / "shown.key"
    shown.write_bytes(keys.private.read_bytes())
    shown.chmod(0o644)
    with pytest.raises(UsageError, match=r"ZOO_STEPS_KEY=.*others can read this key"):
        Signer(shown)
    with pytest.raises(UsageError, match=r"ZOO_STEPS_PUBKEY=.*is not a public EC key"):
        Trusted(keys.private)
    other = ec.generate_private_key(ec.SECP384R1())
    write_private(tmp_path / "other.key", other)
    write_public(tmp_path / "other.pub", other)
    with pytest.raises(UsageError, match=r"another type .secp384r1."):
        Signer(tmp_path / "other.key")
    with pytest.raises(UsageError, match=r"another type .secp384r1."):
        Trusted(tmp_path / "other.pub")
