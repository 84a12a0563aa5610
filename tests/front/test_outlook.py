"""The outlook: how long a build takes, from what earlier ones took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from utils import paths
from utils.front import outlook


@pytest.mark.parametrize(
    ("waiting", "running", "workers", "seconds"),
    [
        ({}, {}, 2, 0),
        ({"a": set()}, {}, 2, 10),
        ({"a": set(), "b": set()}, {}, 2, 20),  # side by side: as long as the longer one
        ({"a": set(), "b": set()}, {}, 1, 30),
        ({"a": set(), "b": {"a"}}, {}, 2, 30),  # one after the other
        ({"b": {"a"}}, {"a": 4}, 2, 24),  # what runs has some left
        ({"a": set(), "b": set(), "c": set()}, {}, 2, 40),
        ({"b": {"elsewhere"}}, {}, 2, 20),  # what it needs is done
    ],
)
def test_what_is_left(waiting: dict[str, set[str]], running: dict[str, float], workers: int, seconds: float) -> None:
    guesses = {"a": 10.0, "b": 20.0, "c": 30.0}
    assert outlook.remaining_s(waiting, guesses, running, workers) == seconds


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    return tmp_path / "build"


@pytest.mark.usefixtures("build")
def test_a_step_takes_as_long_as_before() -> None:
    outlook.Times().note("one:train", 12.345)
    outlook.Times().note("two:train", 20)
    assert outlook.Times().guess("one:train") == 12.35 or outlook.Times().guess("one:train") == 12.34
    assert outlook.Times().guess("three:train") == pytest.approx(16.17, abs=0.02)  # as that of others
    assert outlook.Times().guess("one:card") is None
    assert outlook.Times().guess("mirror") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a:b": "long"}', '{"a:b": -1}', '{"a:b": NaN}', "\0" * 100])
def test_damaged_times_are_begun_anew(build: Path, text: str) -> None:
    build.mkdir()
    (build / "times.json").write_text(text)
    times = outlook.Times()
    assert times.guess("a:b") is None
    times.note("a:b", 1)
    assert json.loads((build / "times.json").read_text()) == {"a:b": 1}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "about 5 s"), (42, "about 40 s"), (57, "about 1 min"), (600, "about 10 min"), (9000, "about 2.5 h")],
)
def test_an_estimate_is_no_finer_than_it_is_known(seconds: float, words: str) -> None:
    assert outlook.format_estimate(seconds) == words
