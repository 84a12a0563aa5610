"""Vela's answers: kept, asked anew, and what becomes of a Vela that refuses, hangs, crashes or prints nothing."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from tests.support.corpus import GRAPHS
from utils import paths, tflite
from utils.npu import asked, bsp, compat, vela

DEFAULT = bsp.find_default_bsp()

#: Before a test moves build/.
INSTALLED = vela.installed()


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build/ of its own, with no Vela but what a test puts there: the image has one elsewhere."""
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(vela, "_folders", lambda: [tmp_path / "build/vela"])
    return tmp_path / "build"


def install(build: Path, version: str, program: str) -> None:
    """A Vela of this version that is a Python program."""
    home = build / "vela" / version
    (home / "bin").mkdir(parents=True)
    (home / f"lib/python3/site-packages/ethos_u_vela-{version}.dist-info").mkdir(parents=True)
    file = home / "bin/vela"
    file.write_text(f"#!{sys.executable}\n{program}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def examined(name: str, release: bsp.Bsp = DEFAULT) -> compat.Examined:
    data = GRAPHS[name]()
    return compat.examine(tflite.parse(data, name), "ethos_u", release, lambda asked_of: asked.ask(data, asked_of))


@pytest.mark.usefixtures("build")
def test_without_that_vela_the_tables_predict() -> None:
    assert asked.ask(GRAPHS["square"](), DEFAULT) is None
    assert examined("square").by == compat.TABLES
    assert [finding.id for finding in examined("square").findings] == ["not-on-the-accelerator"]


COPIES = """
import pathlib, sys
words = sys.argv
given = pathlib.Path(words[-1])
made = pathlib.Path(words[words.index("--output-dir") + 1]) / f"{given.stem}_vela.tflite"
made.write_bytes(given.read_bytes())
count = pathlib.Path(__file__).with_name("count")
count.write_text(count.read_text() + "x" if count.exists() else "x")
print("Warning: SQUARE 't5' is not supported on the NPU. Placing on CPU instead\\n - Because\\n   of this")
"""


def test_an_answer_is_asked_once(build: Path) -> None:
    """It takes nothing: all operators are left, in a file that it has only copied."""
    install(build, DEFAULT.vela, COPIES)
    first = asked.ask(GRAPHS["square"](), DEFAULT)
    assert first
    assert (first.by, first.refusal) == (f"Vela {DEFAULT.vela}", "")
    assert set(first.on_cpu) == {0, 1}
    assert "Vela gives no reason" in first.on_cpu.values()
    assert asked.ask(GRAPHS["square"](), DEFAULT) == first
    counter = build / "vela" / DEFAULT.vela / "bin/count"
    assert counter.read_text() == "x"
    # Another file, and a record that is damaged, are asked anew.
    asked.ask(GRAPHS["sqrt"](), DEFAULT)
    assert counter.read_text() == "xx"
    for kept in (build / "vela-answers").iterdir():
        kept.write_text("{}x")
    assert asked.ask(GRAPHS["square"](), DEFAULT) == first
    assert counter.read_text() == "xxx"
    assert any(
        kept.read_text() != "{}x" and json.loads(kept.read_text()) for kept in (build / "vela-answers").iterdir()
    )


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import sys; sys.exit('too deep')", "failed with exit code 1: too deep"),
        ("import os; os.kill(os.getpid(), 11)", "failed with exit code -11; it printed nothing"),
        ("", "left no readable result"),
        ("import time; time.sleep(60)", "took longer than 0.5 s; it printed nothing"),
    ],
)
def test_a_vela_that_refuses_is_no_prediction(
    build: Path, monkeypatch: pytest.MonkeyPatch, program: str, says: str
) -> None:
    monkeypatch.setattr(asked, "TIMEOUT_S", 0.5 if "sleep" in program else 60)
    install(build, DEFAULT.vela, program)
    found = examined("conv 3x3 relu")
    assert (found.placed, found.by) == (0, f"Vela {DEFAULT.vela}")
    (finding,) = found.findings
    assert finding.id == "vela-refuses"
    assert says in finding.what
    assert finding.operators == {"CONV_2D": 2}
    assert str(build) not in finding.what
    assert not (build / "vela-answers").exists()


def test_a_rule_that_places_nothing_explains_nothing() -> None:
    """An operator with a dynamic batch that Vela leaves on the CPU has Vela's own reason too."""
    graph = tflite.parse(GRAPHS["dynamic batch"](), "x")
    answer = asked.Answer("Vela 0", {0: "because of this"})
    found = compat.examine(graph, "ethos_u", DEFAULT, lambda _: answer)
    assert {finding.id: finding.what for finding in found.findings}["vela-cpu"] == "because of this"
    assert "dynamic-shape" in {finding.id for finding in found.findings}


def test_unnamed_tensors_are_told_apart(build: Path) -> None:
    """Vela's own words name tensors: without names, 9 of 15 operators on the CPU were taken for 0."""
    if DEFAULT.vela not in INSTALLED:
        pytest.skip(f"no Vela {DEFAULT.vela} here")
    (build / "vela").mkdir(parents=True)
    (build / "vela" / DEFAULT.vela).symlink_to(INSTALLED[DEFAULT.vela].parent.parent)
    for name in ("unnamed tensors", "one name for all tensors"):
        graph = tflite.parse(GRAPHS[name](), name)
        answer = asked.ask(GRAPHS[name](), DEFAULT)
        assert answer
        left = {graph.operators[index].name for index in answer.on_cpu}
        assert left & {"SPACE_TO_DEPTH", "DEPTH_TO_SPACE"}
        assert "CONV_2D" not in left
        assert "this Vela has no such NPU operator" in answer.on_cpu.values()
