"""What boards said: as it is stored, shown in a card and passed on; nothing of it is believed, and nothing acts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.boards import MODEL, make_bundle, make_report
from tests.support.checkouts import Checkout
from utils import limits, paths
from utils.bundle.board_report import dump_record, load_records, parse_record, parse_report
from utils.bundle.boards import boards_part, replace_boards_part
from utils.errors import BoardError
from utils.graph import layout, plan
from utils.recipe.load import find_recipe
from utils.recipe.schema import Recipe
from utils.release.boards import released_boards
from utils.release.model import ReleasedModel

HOSTILE = "<script>alert(1)</script>\n# top\n| a | \x1b[31m`x` ![i](http://x)"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The demo, with a bundle of noise in ``artifacts/``."""
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(paths, "ARTIFACTS", tmp_path / "artifacts")
    make_bundle(paths.bundle(MODEL))
    return find_recipe(MODEL)


def make_record(target: str = "joe@secret-host", words: str = "fine", sentence: str = "") -> dict[str, Any]:
    report = make_report(paths.bundle(MODEL))
    report["models"][0] |= {"notes": [sentence], "delegate": words}
    report["models"][0]["check"]["remedy"] = sentence
    report["models"][1]["failure"] = {"code": 5, "what": sentence or words, "remedy": sentence}
    bsp = {
        "os": {"PRETTY_NAME": words, "HOME_URL": "http://joe"}, "kernel": "6.6.36", "machine": "aarch64",
        "model": "i.MX 93", "python": "3.12.4", "delegates": {"/home/joe/libvx_delegate.so": "0" * 64},
    }  # fmt: skip
    return {
        "format": 1, "target": target, "date": "2026-01-02", "emulated": False, "bsp": bsp,
        "files": {entry["file"]: entry["sha256"] for entry in report["models"]}, "report": report,
    }  # fmt: skip


def store(name: str, content: str | bytes) -> Path:
    file = paths.work(MODEL) / "board" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_a_stored_report_that_does_not_fit_is_left_out_and_named(recipe: Recipe) -> None:
    good = make_record()
    del good["report"]["models"][0]["sha256"]  # as 0.1 stored it
    kept = store("good", json.dumps(good))
    store("liar", json.dumps({**make_record(), "report": {"models": [{"file": "../x"}]}}))
    store("none", "")
    store("latin", b'{"format": "\xe9"}')
    store("long", " " * (limits.BOARD_REPORT_BYTES + 1))
    store("deep", "[" * 10_000)
    (paths.work(MODEL) / "board" / "folder.json").mkdir()
    store("old", json.dumps({**make_record(), "files": {f"{MODEL}_int8.tflite": "0" * 64}}))
    found, wrong = load_records(recipe, paths.bundle(MODEL))
    assert list(found) == [kept]
    assert [Path(error.where).stem for error in wrong] == ["deep", "folder", "latin", "liar", "long", "none"]
    assert all("\n" not in error.what and error.hint for error in wrong)


@pytest.mark.usefixtures("recipe")
def test_it_is_written_as_it_was_read() -> None:
    text = json.dumps(make_record())
    assert json.loads(dump_record(parse_record(text.encode(), "x"))) == json.loads(text)


@pytest.mark.usefixtures("recipe")
def test_nothing_that_a_board_says_acts_in_the_card() -> None:
    part = boards_part([parse_record(json.dumps(make_record(words=HOSTILE)).encode(), "x")])
    assert "<script" not in part
    assert "![" not in part
    assert all(line.isprintable() for line in part.splitlines())
    assert [line for line in part.splitlines() if line.startswith("#")] == ["## On boards"]
    assert sum(line.startswith("|") for line in part.splitlines()) == 4
    assert boards_part([]) == ""


@pytest.mark.usefixtures("recipe")
def test_a_card_gives_its_part_back() -> None:
    part = boards_part([parse_record(json.dumps(make_record(words="<!-- boards: end -->")).encode(), "x")])
    assert replace_boards_part(f"before\n\n{part}## After\n", "") == "before\n\n## After\n"
    assert replace_boards_part("no part", part) == "no part"


def test_what_is_passed_on_does_not_say_whose_it_is(recipe: Recipe) -> None:
    for target in ("joe@secret-host", "virtual", "joe@other-host"):
        store(target, json.dumps(make_record(target, sentence="see /home/joe")))
    boards = released_boards(ReleasedModel(recipe))
    assert list(boards) == ["board/1.json", "board/2.json", "board/3.json"]
    assert sorted(record.target for record in boards.values()) == [
        *sorted(f"board {number}" for number, record in enumerate(boards.values(), 1) if record.target != "virtual"),
        "virtual",
    ]
    text = "".join(map(dump_record, boards.values())) + boards_part(boards.values())
    for word in ("joe", "-host", "/home", "HOME_URL"):
        assert word not in text
    assert "the delegate failed" in text
    assert "6.6.36" in text


def test_cleaning_leaves_no_reports_without_a_bundle(recipe: Recipe) -> None:
    copied = paths.bundle(MODEL) / "board" / "x.json"
    copied.parent.mkdir()
    copied.write_text("{}")
    mine = store("x", json.dumps(make_record()))
    for step in reversed(plan.steps_of(recipe)):
        step.clean()
    assert not copied.parent.exists()
    assert mine.is_file()  # a measurement is not made again by a build


def test_the_schema_is_what_example_py_prints(built_once: Checkout) -> None:
    bundle = built_once.root / "artifacts" / MODEL
    picture = next(iter(layout.example_files(find_recipe(MODEL))))
    for words in (["--compare"], ["--check", "--samples", "-i", picture], ["-d", "cpu"]):
        done = subprocess.run(
            [sys.executable, "example.py", "--json", "-n", "1", *words], cwd=bundle, capture_output=True, text=True
        )
        report = parse_report(done.stdout, "here")
        assert report.model_dump(mode="json", exclude_unset=True) == json.loads(done.stdout)
        assert {entry.verdict for entry in report.models} == {"PASS"}


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize("number", [10**400, 1e400, float("nan")])
def test_numbers_that_no_clock_shows(number: float) -> None:
    report = make_report(paths.bundle(MODEL))
    report["models"][0]["first_ms"] = number
    with pytest.raises(BoardError):
        parse_report(json.dumps(report), "x")
