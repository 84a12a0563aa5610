""".ci/run: its stages alone and together, in a checkout whose docker/run does nothing else but end as it is told."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, clean_env

STAGES = ["packages", "fast", "tests", "demo", "style", "pythons", "long", "docker", "image"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "docker").mkdir()
    return tmp_path


def docker_run(checkout: Path, script: str) -> None:
    (checkout / "docker/run").write_text(f"#!/bin/sh\n{script}\n")
    (checkout / "docker/run").chmod(0o755)


def start(checkout: Path, *words: str) -> subprocess.Popen[str]:
    """Start it where every package counts as installed: no test changes the machine."""
    (checkout / "bin").mkdir(exist_ok=True)
    (checkout / "bin/dpkg-query").write_text("#!/bin/sh\nprintf installed\n")
    (checkout / "bin/dpkg-query").chmod(0o755)
    env = {**clean_env(), "PATH": f"{checkout}/bin:{os.environ['PATH']}", "TMPDIR": str(checkout)}
    return subprocess.Popen(
        [checkout / ".ci/run", *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(checkout: Path, *words: str) -> tuple[int, str, str]:
    process = start(checkout, *words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_list_names_every_stage(checkout: Path) -> None:
    code, out, _ = run(checkout, "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == STAGES
    assert re.findall(r"^stage_(\w+)\(\)", (ROOT / ".ci/run").read_text(), re.MULTILINE) == STAGES


def test_an_unknown_stage_is_refused_before_any_stage_runs(checkout: Path) -> None:
    code, out, err = run(checkout, "fast", "slow")
    assert (code, out) == (2, "")
    assert err.startswith("ci: there is no stage 'slow'\n  -> name one of: packages fast tests ")


def test_one_stage_runs_alone_and_reports_its_time(checkout: Path) -> None:
    docker_run(checkout, 'echo "docker/run $*"')
    code, out, err = run(checkout, "tests")
    assert code == 0, err
    assert out.count("docker/run ") == 2  # the title's and ours
    assert "\ndocker/run pytest\n" in out  # as the README has it
    assert re.search(r"\n=== tests: passed, \d+ s\n", out)
    assert re.search(r"\ntests +\d+ s  passed\ntotal +\d+ s\n$", out)


def test_a_failed_stage_is_named_and_the_next_one_still_runs(checkout: Path) -> None:
    docker_run(checkout, 'case "$*" in *fast) exit 3;; esac; echo "docker/run $*"')
    code, out, err = run(checkout, "fast", "tests")
    assert code == 1
    assert re.search(r"\nfast +\d+ s  FAILED \(3\)\ntests +\d+ s  passed\n", out)
    assert "ci: failed: fast\n  -> run one alone: .ci/run fast\n" in err


def test_a_stage_ends_at_its_first_failure(checkout: Path) -> None:
    docker_run(checkout, 'echo "ran $*"; case "$*" in "ruff format"*) exit 1;; esac')
    code, out, _ = run(checkout, "style")
    assert code == 1
    assert "ran ruff check ." in out
    assert "ran mypy" not in out


def test_an_interrupted_run_leaves_no_process_and_no_folder(checkout: Path) -> None:
    docker_run(checkout, "echo $$ >pid; exec sleep 300")
    process = start(checkout, "fast")
    deadline = time.monotonic() + 30
    while not (checkout / "pid").exists() or not (checkout / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert not Path(f"/proc/{(checkout / 'pid').read_text().strip()}").exists()
    assert not list(checkout.glob("tmp.*"))
