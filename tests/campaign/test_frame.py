"""The campaign's frame: each way a case can end is told from the others."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaign import driver
from tests.campaign.case import Case, Outcome
from tests.campaign.frame import Campaign
from tests.support.checkouts import ROOT

pytestmark = pytest.mark.slow


def tried(run: Callable[[], Outcome], folder: Path) -> tuple[str, str]:
    answer = driver.run_case(Case("toys", "a toy", run), folder / "case")
    assert not (folder / "case").exists()
    return answer["outcome"], answer["said"]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_a_case_says_of_itself_counts(outcome: Outcome, tmp_path: Path) -> None:
    assert tried(lambda: outcome, tmp_path)[0] == outcome.value


def test_an_exception_is_a_traceback(tmp_path: Path) -> None:
    outcome, said = tried(lambda: Outcome(1 / 0), tmp_path)
    assert outcome == "traceback"
    assert "ZeroDivisionError" in said


def test_a_signal_is_a_traceback(tmp_path: Path) -> None:
    faulthandler.disable()  # in the case it would write on pytest's own terminal
    try:
        outcome, said = tried(lambda: ctypes.string_at(1) and Outcome.RIGHT, tmp_path)
    finally:
        faulthandler.enable()
    assert outcome == "traceback"
    assert "ended by signal 11" in said


def test_a_case_that_does_not_end_is_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIMIT_S", 0.5)
    assert tried(lambda: time.sleep(600) or Outcome.RIGHT, tmp_path)[0] == "hang"


def test_too_much_memory_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "MEMORY_BYTES", 1)
    outcome, said = tried(lambda: Outcome.RIGHT, tmp_path)
    assert outcome == "wrong"
    assert "GB of memory" in said


def test_nothing_that_a_case_starts_outlives_it(tmp_path: Path) -> None:
    def run() -> Outcome:
        left = subprocess.Popen(["sleep", "600"], start_new_session=False)
        (tmp_path / "pid").write_text(str(left.pid))
        return Outcome.RIGHT

    assert tried(run, tmp_path)[0] == "right"
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    end = time.monotonic() + 10  # whoever inherits it may not have taken note yet
    while stat.exists() and stat.read_text().split()[2] not in "ZX":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_seed_gives_the_same_cases(tmp_path: Path) -> None:
    def cases(words: str) -> list[str]:
        command = [sys.executable, "-m", "tests.campaign.driver", "core", "7", str(tmp_path / words[:3])]
        done = subprocess.run(command, cwd=ROOT, input=words, capture_output=True, text=True, check=True)
        import json

        return [json.loads(line)["what"] for line in done.stdout.splitlines()]

    skipped = cases("skip\n" * 8)
    assert len(set(skipped)) > 4
    assert cases("run\n" * 8) == skipped


def test_time_is_shared_and_findings_are_kept(tmp_path: Path) -> None:
    findings = tmp_path / "findings.jsonl"
    campaign = Campaign("7", ["core", "nothing"], tmp_path / "work", findings, cores=len(os.sched_getaffinity(0)))
    try:
        campaign.run(3)
    finally:
        campaign.close()
    table = campaign.table()
    assert [line.split()[0] for line in table.splitlines()] == ["area", "core", "nothing", "all"]
    assert [found["area"] for found in campaign.found] == ["nothing"]  # there is no such module
    assert "ModuleNotFoundError" in findings.read_text()
