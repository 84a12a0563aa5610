"""Folders of statements: what is read of them, and which statements count as confirmations."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.rebuilds import artifacts_of, make_rebuilder, private_of, put
from tests.support.releases import FIRST_MODEL, Keys, small_release
from utils import limits
from utils.attest import rebuilds, statement
from utils.errors import ReleaseError
from utils.keys import fingerprint_of


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return small_release(tmp_path / "release")


@pytest.fixture
def ann(tmp_path: Path) -> Keys:
    return make_rebuilder(tmp_path, "ann")


@pytest.fixture
def bob(tmp_path: Path) -> Keys:
    return make_rebuilder(tmp_path, "bob")


def public_of(keys: Keys) -> Any:
    return private_of(keys).public_key()


def confirmed(release: Path, **known: Keys) -> list[str]:
    publics = {name: public_of(keys) for name, keys in known.items()}
    folder, artifacts = rebuilds.folder_of(release), artifacts_of(release)
    return [found.name for found in rebuilds.confirmations(folder, publics, FIRST_MODEL, artifacts)]


def test_statements_are_beside_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.0.0").mkdir()
    wanted = tmp_path.resolve() / "1.0.0.rebuilds"
    assert rebuilds.folder_of(tmp_path / "1.0.0") == wanted
    monkeypatch.chdir(tmp_path / "1.0.0")
    assert rebuilds.folder_of(Path()) == wanted


def test_a_statement_comes_back(release: Path, ann: Keys) -> None:
    file = put(release, ann)
    signer = fingerprint_of(public_of(ann))
    assert file == rebuilds.folder_of(release) / FIRST_MODEL / f"{signer[:16]}.json"
    assert rebuilds.files_of(rebuilds.folder_of(release), FIRST_MODEL) == {file.name: file.read_bytes()}
    found, signed = rebuilds.read_rebuild(file.read_bytes(), "here")
    assert (found.model, found.signer, found.passed, found.builder) == (FIRST_MODEL, signer, True, "venv")
    assert found.subjects == found.rebuilt == artifacts_of(release)
    assert found.resource == "urn:nxp-model-zoo:release:0.1.0"
    assert (found.file, signed.key) == ("here", signer)
    before = file.read_bytes()
    assert put(release, ann).read_bytes() == before


def test_there_may_be_none(tmp_path: Path) -> None:
    assert rebuilds.scan(tmp_path / "none", FIRST_MODEL) == ({}, [])
    assert rebuilds.known_rebuilders(tmp_path / "none") == {}


def test_only_regular_files_of_a_bounded_size_are_read(
    release: Path, ann: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = put(release, ann)
    place = good.parent
    (place / "a.json").symlink_to(good)
    (place / "b.json").mkdir()
    os.mkfifo(place / "c.json")
    (place / "d.json").write_bytes(b" " * (limits.REBUILD_BYTES + 1))
    (place / "note.txt").write_text("x")
    found, left = rebuilds.scan(rebuilds.folder_of(release), FIRST_MODEL)
    assert [*found] == [good.name]
    assert left == [
        f"{FIRST_MODEL}/a.json: is a link, not a file",
        f"{FIRST_MODEL}/b.json: is not a regular file",
        f"{FIRST_MODEL}/c.json: is not a regular file",
        f"{FIRST_MODEL}/d.json: has more than {limits.REBUILD_BYTES:,} bytes",
    ]
    monkeypatch.setattr(limits, "REBUILDS", 1)
    found, left = rebuilds.scan(rebuilds.folder_of(release), FIRST_MODEL)
    assert "has more than 1 statements: the others were not read" in left[0]
    assert len(found) <= 1


def test_each_known_key_counts_once(release: Path, ann: Keys, bob: Keys) -> None:
    assert confirmed(release, ann=ann) == []
    file = put(release, ann)
    assert confirmed(release, ann=ann, bob=bob) == ["ann"]
    assert confirmed(release, bob=bob) == []
    shutil.copy(file, file.with_name("again.json"))
    assert confirmed(release, ann=ann, bob=bob) == ["ann"]
    assert confirmed(release, ann=ann, also=ann) == ["also"]
    put(release, bob)
    assert confirmed(release, ann=ann, bob=bob) == ["ann", "bob"]


def change_result(found: dict[str, Any]) -> None:
    found["predicate"]["verificationResult"] = "FAILED"


OTHERS: dict[str, Callable[[Path, Keys], object]] = {
    "FAILED": lambda release, ann: put(release, ann, rebuilt=dict.fromkeys(artifacts_of(release), "9" * 64)),
    "of other bytes": lambda release, ann: put(
        release,
        ann,
        subjects=dict.fromkeys(artifacts_of(release), "9" * 64),
        rebuilt=dict.fromkeys(artifacts_of(release), "9" * 64),
    ),
    "of another model": lambda release, ann: put(release, ann, model="other"),
    "damaged": lambda release, ann: put(release, ann).write_bytes(b"{"),
    "contradictory": lambda release, ann: put(release, ann, change_result),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_does_not_count(release: Path, ann: Keys, bob: Keys, what: str) -> None:
    OTHERS[what](release, ann)
    put(release, bob)
    assert confirmed(release, ann=ann, bob=bob) == ["bob"]


def test_a_statement_about_some_artifacts_confirms_no_more(release: Path, ann: Keys) -> None:
    put(release, ann)
    folder, known = rebuilds.folder_of(release), {"ann": public_of(ann)}
    more = {**artifacts_of(release), "more.tflite": "1" * 64}
    assert rebuilds.confirmations(folder, known, FIRST_MODEL, more) == []
    assert rebuilds.confirmations(folder, known, FIRST_MODEL, {}) == []


def test_a_statement_about_the_lock_counts_too(release: Path, ann: Keys, tmp_path: Path) -> None:
    put(release, ann, folder=tmp_path / "rebuilds", resource=statement.LOCK, provenance={})
    known = {"ann": public_of(ann)}
    [found] = rebuilds.confirmations(tmp_path / "rebuilds", known, FIRST_MODEL, artifacts_of(release))
    assert (found.name, found.builder, found.time) == ("ann", "venv", "2026-01-31T12:00:00Z")
    assert found.cpu == "Some CPU (R) @ 2.00GHz"


def test_known_rebuilders_are_called_by_their_files(tmp_path: Path) -> None:
    ann, bob = (make_rebuilder(tmp_path / "keys", name) for name in ("ann", "bob"))
    found = rebuilds.known_rebuilders(tmp_path)
    assert {name: fingerprint_of(key) for name, key in found.items()} == {
        "ann": fingerprint_of(public_of(ann)),
        "bob": fingerprint_of(public_of(bob)),
    }
    (tmp_path / "keys/both.pub").write_bytes(ann.public.read_bytes() + bob.public.read_bytes())
    with pytest.raises(ReleaseError, match="has 2 keys"):
        rebuilds.known_rebuilders(tmp_path)
    (tmp_path / "keys/both.pub").write_text("hello")
    with pytest.raises(ReleaseError, match="is not a public EC key"):
        rebuilds.known_rebuilders(tmp_path)
