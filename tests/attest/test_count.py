"""Which statements about one model count."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.rebuilds import artifacts_of, facts_of, make_rebuilder, private_of, put
from tests.support.releases import FIRST_MODEL, Keys, small_release
from utils import limits
from utils.attest import rebuilds, statement
from utils.attest.count import Asked, Counted, count_statements
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


def asked_of(release: Path) -> Asked:
    facts = facts_of(release)
    inputs = {f"provenance/{file}.json": sha256 for file, sha256 in facts["provenance"].items()}
    return Asked(FIRST_MODEL, facts["resource"], facts["subjects"], facts["commit"], inputs)


def counted(release: Path, asked: Asked | None = None, folder: Path | None = None, **known: Keys) -> Counted:
    publics = {name: private_of(keys).public_key() for name, keys in known.items()}
    names = {fingerprint_of(public): name for name, public in publics.items()}
    listed = {fingerprint_of(public): public for public in publics.values()}
    return count_statements(folder or rebuilds.folder_of(release), asked or asked_of(release), listed, names)


def said(found: Counted) -> list[bool]:
    return [rebuild.passed for rebuild in found.rebuilds.values()]


def other_bytes(release: Path) -> dict[str, str]:
    return dict.fromkeys(artifacts_of(release), "9" * 64)


def test_each_listed_key_counts_once(release: Path, ann: Keys, bob: Keys) -> None:
    assert counted(release, ann=ann) == Counted()
    file = put(release, ann)
    assert said(counted(release, ann=ann, bob=bob)) == [True]
    [note] = counted(release, bob=bob).notes
    assert "which is not listed" in note
    shutil.copy(file, file.with_name("again.json"))
    assert said(counted(release, ann=ann, bob=bob)) == [True]
    put(release, bob)
    found = counted(release, ann=ann, bob=bob)
    assert said(found) == [True, True]
    assert (found.notes, found.lost, found.fault) == ([], {}, "")


@pytest.mark.parametrize("name", ["0.json", "z.json"])
def test_of_two_statements_of_a_key_the_failed_one_stays(release: Path, ann: Keys, name: str) -> None:
    file = put(release, ann)
    kept = file.read_bytes()
    put(release, ann, rebuilt=other_bytes(release))
    file.with_name(name).write_bytes(kept)
    assert said(counted(release, ann=ann)) == [False]


OTHERS: dict[str, Callable[[Path, Keys], object]] = {
    "of other artifacts": lambda release, ann: put(
        release, ann, subjects=other_bytes(release), rebuilt=other_bytes(release)
    ),
    "of more artifacts": lambda release, ann: put(
        release,
        ann,
        **{key: {**artifacts_of(release), "more.tflite": "1" * 64} for key in ("subjects", "rebuilt", "provenance")},
    ),
    "of the lock": lambda release, ann: put(release, ann, resource=statement.LOCK, provenance={}),
    "of another release": lambda release, ann: put(release, ann, resource=statement.release_uri("9.9.9")),
    "of another commit": lambda release, ann: put(release, ann, commit="f" * 40),
    "of another model": lambda release, ann: put(release, ann, model="other"),
    "of other provenance": lambda release, ann: put(release, ann, provenance=other_bytes(release)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_does_not_count(release: Path, ann: Keys, bob: Keys, what: str) -> None:
    OTHERS[what](release, ann)
    put(release, bob)
    found = counted(release, ann=ann, bob=bob)
    assert [*found.rebuilds] == [fingerprint_of(private_of(bob).public_key())]
    assert len(found.notes) == 1
    assert found.lost == {}


def test_other_provenance_hides_no_other_bytes(release: Path, ann: Keys) -> None:
    """A publisher can write provenance anew, for the same artifacts."""
    put(release, ann, rebuilt=other_bytes(release), provenance=other_bytes(release))
    assert said(counted(release, ann=ann)) == [False]


def test_a_statement_of_fewer_artifacts_does_not_count(release: Path, ann: Keys) -> None:
    put(release, ann)
    asked = asked_of(release)
    more = replace(asked, artifacts={**asked.artifacts, "more.tflite": "1" * 64})
    assert said(counted(release, more, ann=ann)) == []
    assert said(counted(release, replace(asked, artifacts={}), ann=ann)) == []


def test_of_the_lock_any_commit_counts(release: Path, ann: Keys, tmp_path: Path) -> None:
    put(release, ann, folder=tmp_path / "rebuilds", resource=statement.LOCK, provenance={}, commit="f" * 40)
    asked = Asked(FIRST_MODEL, statement.LOCK, artifacts_of(release))
    [found] = counted(release, asked, tmp_path / "rebuilds", ann=ann).rebuilds.values()
    assert (found.builder, found.commit, found.time) == ("venv", "f" * 40, "2026-01-31T12:00:00Z")


def link(file: Path) -> None:
    file.rename(file.with_name("aside.txt"))
    file.symlink_to(file.with_name("aside.txt"))


LOST: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:500]),
    "too large": lambda file: file.write_bytes(b" " * (limits.REBUILD_BYTES + 1)),
    "a link": link,
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("what", LOST)
def test_what_is_lost_of_a_listed_key_is_named(release: Path, ann: Keys, bob: Keys, what: str) -> None:
    file = put(release, ann)
    LOST[what](file)
    put(release, bob)
    found = counted(release, ann=ann, bob=bob)
    assert found.lost == {fingerprint_of(private_of(ann).public_key()): found.notes[0]}
    assert counted(release, bob=bob).lost == {}


def test_the_statement_of_another_key_takes_no_place(release: Path, ann: Keys, bob: Keys) -> None:
    shutil.move(put(release, bob), put(release, ann))
    found = counted(release, ann=ann, bob=bob)
    assert said(found) == [True]
    [why] = found.lost.values()
    assert why.endswith("is a statement of bob")


def test_more_files_than_are_read_are_a_fault(release: Path, ann: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    put(release, ann).with_name("0.json").write_text("{}")
    monkeypatch.setattr(limits, "REBUILDS", 1)
    found = counted(release, ann=ann)
    assert said(found) == []
    assert "has more than 1 statements" in found.fault
