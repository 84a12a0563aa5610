"""Bundles of the first release, whose model.json knows neither kinds of input nor several outputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.examples import refused, run
from tests.support.releases import FIRST, FIRST_MODEL
from utils import paths
from utils.bundle.board_report import parse_report
from utils.sources.unpack import unpack

pytestmark = pytest.mark.heavy


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Its bundle with today's example.py."""
    release = unpack(FIRST, tmp_path / "first") / "0.1.0"
    bundle = unpack(release / f"{FIRST_MODEL}-0.1.0.tar.gz", tmp_path / "bundle") / f"{FIRST_MODEL}-0.1.0"
    shutil.copy(paths.EXAMPLE, bundle / "example.py")
    return bundle


def test_todays_program_runs_them(first: Path) -> None:
    facts = json.loads((first / "model.json").read_text())
    assert "kind" not in facts["input"]
    done = run(first, "--check", "--samples", "-i", "example_input.png")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 10 inputs, top-1 agrees on 100 %" in done.stdout
    assert "10 of 100 right (10.0 %)" in done.stdout  # of a model that is trained for a second


def test_what_it_prints_fits_the_report_of_a_board(first: Path) -> None:
    report = json.loads(run(first, "--json", "-i", "example_input.png").stdout)
    assert parse_report(json.dumps(report), "board").models[0].task == "classification"
    del report["models"][0]["task"]  # as the program of the first release prints it
    entry = parse_report(json.dumps(report), "board").models[0]
    assert entry.task is None
    assert entry.predictions is not None
    assert entry.predictions[0]["input"] == "example_input.png"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("output", [], "an output has no shape"),
        ("output", "scores", "output is str, not dict or list"),
        ("output", [{"name": "x"}], "an entry of output.shape is missing"),
        ("output", {"name": "probabilities", "shape": []}, "an output has no shape"),
        ("output", {"name": "probabilities", "shape": [1, 0]}, "a shape has an invalid size"),
        ("task", "tasting", "task is not one of classification, "),
        ("input", {"name": "image", "shape": [1, 28, 28, 1]}, "input.colour is missing"),
    ],
)
def test_a_wrong_value_is_named(first: Path, key: str, value: object, said: str) -> None:
    facts = json.loads((first / "model.json").read_text())
    (first / "model.json").write_text(json.dumps(facts | {key: value}))
    assert said in refused(first)
