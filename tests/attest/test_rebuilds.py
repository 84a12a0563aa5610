"""Folders of statements: what is read of them, and whose keys they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.rebuilds import artifacts_of, facts_of, make_rebuilder, private_of, put
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


def public_of(keys: Keys) -> Any:
    return private_of(keys).public_key()


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
    assert found.inputs == {
        f"provenance/{file}.json": sha256 for file, sha256 in facts_of(release)["provenance"].items()
    }
    assert signed.key == signer
    before = file.read_bytes()
    assert put(release, ann).read_bytes() == before


@pytest.mark.parametrize("change", ["", "commit", "time"])
def test_a_key_does_not_take_back_what_it_has_found(release: Path, ann: Keys, change: str) -> None:
    [file] = artifacts_of(release)
    changes = {"commit": {"commit": "b" * 40}, "time": {"time": "2020-01-31T12:00:00Z"}}.get(change, {})
    place = put(release, ann, rebuilt={file: "0" * 64})
    before = place.read_bytes()
    with pytest.raises(ReleaseError) as caught:
        put(release, ann, **changes)
    assert f"{place}: this key has built other bytes of {file} before" in str(caught.value)
    assert "move that file away if it was wrong" in str(caught.value)
    assert place.read_bytes() == before
    put(release, ann, rebuilt={file: "1" * 64})  # what it finds is news
    assert place.read_bytes() != before
    place.rename(place.with_suffix(".old"))
    assert put(release, ann, **changes) == place


def test_a_statement_about_something_else_is_replaced(release: Path, ann: Keys, tmp_path: Path) -> None:
    bob = make_rebuilder(tmp_path, "bob")
    [file] = artifacts_of(release)
    failed = {"rebuilt": {file: "0" * 64}}
    others: list[dict[str, Any]] = [
        {"subjects": {file: "1" * 64}, **failed},
        {"resource": statement.release_uri("9.9.9"), **failed},
        {"resource": statement.LOCK, "provenance": {}, **failed},
    ]
    for changes in others:
        place = put(release, ann, **changes)
        assert put(release, ann) == place
        assert rebuilds.read_rebuild(place.read_bytes(), "")[0].passed
    for text in (b"damaged", put(release, bob, **failed).read_bytes()):
        place.write_bytes(text)
        put(release, ann)
        assert rebuilds.read_rebuild(place.read_bytes(), "")[0].passed


def test_names_of_statements() -> None:
    assert rebuilds.is_statement_name("0123456789abcdef.json")
    for name in ("0123456789abcde.json", "0123456789ABCDEF.json", "0123456789abcdef", "a/0123456789abcd.json", ".json"):
        assert not rebuilds.is_statement_name(name)


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


def test_known_rebuilders_are_called_by_their_files(tmp_path: Path) -> None:
    ann, bob = (make_rebuilder(tmp_path / "keys", name) for name in ("ann", "bob"))
    found = rebuilds.known_rebuilders(tmp_path)
    assert {name: fingerprint_of(key) for name, key in found.items()} == {
        "ann": fingerprint_of(public_of(ann)),
        "bob": fingerprint_of(public_of(bob)),
    }
    (tmp_path / "keys/link.pub").symlink_to(ann.public)
    (tmp_path / "keys/folder.pub").mkdir()
    assert [*rebuilds.known_rebuilders(tmp_path)] == ["ann", "bob"]
    (tmp_path / "keys/both.pub").write_bytes(ann.public.read_bytes() + bob.public.read_bytes())
    with pytest.raises(ReleaseError, match="has 2 keys"):
        rebuilds.known_rebuilders(tmp_path)
    (tmp_path / "keys/both.pub").write_text("hello")
    with pytest.raises(ReleaseError, match="is not a public EC key"):
        rebuilds.known_rebuilders(tmp_path)
