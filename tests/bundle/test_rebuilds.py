"""Who has rebuilt a model: what counts, what the card says of it, and which step depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.checkouts import NOTHING, Checkout, ran
from tests.support.rebuilders import COMMIT, CPU, file_of, know, new_key, put, state
from utils import files, limits, paths
from utils.bundle.rebuilds import LockRebuilds, find_rebuilds
from utils.graph import layout, plan
from utils.recipe.load import find_recipe

MODEL = "demo_nearest"
ARTIFACTS = {f"{MODEL}_float32.tflite": "1" * 64, f"{MODEL}_int8.tflite": "2" * 64}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "rebuilds"


def test_nobody_has_rebuilt_it(folder: Path) -> None:
    assert find_rebuilds(MODEL, ARTIFACTS, folder) == LockRebuilds()
    know(folder, "lab", new_key())
    assert find_rebuilds(MODEL, ARTIFACTS, folder) == LockRebuilds()


def test_known_rebuilders_count(folder: Path) -> None:
    for name in ("one", "two"):
        key = new_key()
        know(folder, name, key)
        put(folder, MODEL, key, state(key, MODEL, ARTIFACTS))
    found = find_rebuilds(MODEL, ARTIFACTS, folder)
    assert [(name, each.commit, each.builder, each.cpu) for name, each in found.same] == [
        ("one", COMMIT, "image", CPU),
        ("two", COMMIT, "image", CPU),
    ]
    assert (found.other, found.notes) == ([], [])


def test_what_does_not_count_is_said_in_one_line(folder: Path) -> None:
    known, stranger, damaged, older, released = (new_key() for _ in range(5))
    for name, key in {"a": known, "c": damaged, "d": older, "e": released}.items():
        know(folder, name, key)
    put(folder, MODEL, known, state(known, MODEL, ARTIFACTS))
    put(folder, MODEL, stranger, state(stranger, MODEL, ARTIFACTS))
    put(folder, MODEL, damaged, state(damaged, MODEL, ARTIFACTS)[:-20])
    put(folder, MODEL, older, state(older, MODEL, dict.fromkeys(ARTIFACTS, "3" * 64)))
    put(folder, MODEL, released, state(released, MODEL, ARTIFACTS, version="1.0.0"))
    found = find_rebuilds(MODEL, ARTIFACTS, folder)
    assert [name for name, _ in found.same] == ["a"]
    assert found.other == []
    [note] = found.notes
    assert note.startswith(f"rebuilds/{MODEL}: 4 statements not counted")
    assert "\n" not in note


def test_a_statement_about_more_files_than_the_model_has_does_not_count(folder: Path) -> None:
    key = new_key()
    know(folder, "lab", key)
    put(folder, MODEL, key, state(key, MODEL, ARTIFACTS | {"more.tflite": "4" * 64}))
    assert find_rebuilds(MODEL, ARTIFACTS, folder).same == []


def test_other_bytes_are_told_and_do_not_count(folder: Path) -> None:
    key = new_key()
    know(folder, "lab", key)
    put(folder, MODEL, key, state(key, MODEL, ARTIFACTS, rebuilt=ARTIFACTS | {f"{MODEL}_int8.tflite": ""}))
    found = find_rebuilds(MODEL, ARTIFACTS, folder)
    assert found.same == []
    assert [name for name, _ in found.other] == ["lab"]
    assert found.notes == [f"rebuilds/{MODEL}: other bytes were built by lab -> find out which build is wrong"]


def test_of_more_files_than_are_read_none_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key()
    know(folder, "lab", key)
    put(folder, MODEL, key, state(key, MODEL, ARTIFACTS)).with_name("z.json").write_text("{}")
    monkeypatch.setattr(limits, "REBUILDS", 1)
    found = find_rebuilds(MODEL, ARTIFACTS, folder)
    assert found.same == []
    assert "no rebuild counts: " in found.notes[0]


def test_a_key_that_is_none_stops_no_build(folder: Path) -> None:
    key = new_key()
    know(folder, "lab", key)
    put(folder, MODEL, key, state(key, MODEL, ARTIFACTS))
    (folder / "keys/other.pub").write_text("no key")
    found = find_rebuilds(MODEL, ARTIFACTS, folder)
    assert found.same == []
    assert found.notes[0].startswith(f"rebuilds/{MODEL}: no rebuild counts: ")


def test_only_the_card_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {step.name: step.reads for step in plan.steps_of(find_recipe(MODEL))}
    monkeypatch.setattr(paths, "REBUILDS", tmp_path)
    key = new_key()
    know(tmp_path, "lab", key)
    assert layout.rebuild_files(MODEL) == []  # a key alone changes nothing
    file = put(tmp_path, MODEL, key, state(key, MODEL, ARTIFACTS))
    file.with_name("link.json").symlink_to(file)
    file.with_name("folder.json").mkdir()
    file.with_name("README.md").write_text("other")
    added = {step.name: {*step.reads} - {*before[step.name]} for step in plan.steps_of(find_recipe(MODEL))}
    assert added.pop("card") == {file, tmp_path / "keys/lab.pub"}
    assert not any(added.values())
    assert layout.rebuild_files("demo_bilinear") == []


def test_a_statement_changes_exactly_the_card(built: Checkout) -> None:
    home, rebuilds = built.root / "artifacts" / MODEL, built.root / "rebuilds"
    card = (home / "README.md").read_bytes()
    manifest = (home / "manifest.json").read_bytes()
    artifacts = {file.name: files.sha256(file) for file in home.glob("*.tflite")}
    one, two, stranger = new_key(), new_key(), new_key()
    know(rebuilds, "lab *one*", one)
    know(rebuilds, "two", two)
    assert NOTHING in built.doit(MODEL).stdout
    put(rebuilds, MODEL, one, state(one, MODEL, artifacts, cpu="<script>|`CPU`"))
    put(rebuilds, MODEL, two, state(two, MODEL, artifacts))
    put(rebuilds, MODEL, stranger, state(stranger, MODEL, artifacts))
    done = built.doit("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done) == {f"{MODEL}:card"}
    assert f"rebuilds/{MODEL}: 1 statement not counted" in done.stdout + done.stderr
    [line] = [line for line in (home / "README.md").read_text().splitlines() if "Rebuilt by" in line]
    shown = f"lab \\*one\\* (image, &lt;script&gt;\\|\\`CPU\\`), two (image, {CPU})"
    assert line == f"- Rebuilt by 2 others, with the same bytes: {shown}."
    assert (home / "manifest.json").read_bytes() == manifest
    (rebuilds / MODEL / file_of(stranger)).unlink()
    int8 = f"{MODEL}_int8.tflite"
    put(rebuilds, MODEL, two, state(two, MODEL, artifacts, rebuilt=artifacts | {int8: "9" * 64}))
    assert ran(built.doit("demo")) == {f"{MODEL}:card"}
    text = (home / "README.md").read_text()
    shown = f"> **Rebuilt with other bytes.** two (image, {CPU}) built commit `{COMMIT[:12]}`"
    assert f"{shown} and signed that it makes other bytes of `{int8}`. Do not use" in text
    assert "- Rebuilt by 1 other, with the same bytes: lab" in text
    (rebuilds / MODEL / file_of(two)).unlink()
    assert ran(built.doit("demo")) == {f"{MODEL}:card"}
    assert "- Rebuilt by 1 other, with the same bytes: lab" in (home / "README.md").read_text()
    (rebuilds / MODEL / file_of(one)).unlink()
    assert ran(built.doit("demo")) == {f"{MODEL}:card"}
    assert (home / "README.md").read_bytes() == card
