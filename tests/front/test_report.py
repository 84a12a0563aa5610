"""What the report says of a program that failed: the message and the log of the very step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from utils import paths
from utils.front.action import ProgramFailed
from utils.front.report import _why
from utils.graph import plan
from utils.graph.step import Step
from utils.npu import bsp
from utils.recipe.load import find_recipe


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """The steps of one task, ``vela:demo_nearest`` for two BSPs, in an empty build/."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    found = [plan.vela_step(find_recipe("demo_nearest"), release) for release in list(bsp.load_bsps().values())[:2]]
    found[0].record.parent.mkdir(parents=True)
    return found


def test_a_message_is_said_again_when_much_was_said_after_it(steps: list[Step]) -> None:
    steps[1].message.write_text("vela-B: no memory\n")
    assert _why(steps, ProgramFailed(3, ""), recent=False) == "vela-B: no memory\n"
    assert _why(steps, ProgramFailed(3, ""), recent=True) == "exit code 3, its message is above"
    assert _why([], ProgramFailed(3, ""), recent=False) == "exit code 3, its message is above"


def test_a_signal_leads_to_the_log_of_the_step_that_it_ended(steps: list[Step]) -> None:
    assert _why(steps, ProgramFailed(-11, ""), recent=False) == "was ended by signal 11"
    for second, step in enumerate(steps):
        step.log.write_text("")
        os.utime(step.log, (second, second))
    log = f"build/demo_nearest/records/{steps[1].name}.log"
    assert _why(steps, ProgramFailed(-11, ""), recent=False) == f"was ended by signal 11: see {log}"
    assert "out of memory?" in _why(steps, ProgramFailed(-9, ""), recent=False)
