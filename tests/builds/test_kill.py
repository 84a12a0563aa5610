"""kill -9 at random moments: the next doit ends with the same bytes, and nothing half-made was ever shown."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout, clean_env, copy_project, make_small, read_until

KILLS = 6  # the campaign kills on


def check_no_half_made_bundle(checkout: Checkout) -> None:
    """What is in artifacts/ is whole bundles, each true to its own SHA256SUMS."""
    artifacts = checkout.root / "artifacts"
    for bundle in artifacts.iterdir() if artifacts.is_dir() else ():
        sums = dict(reversed(line.split("  ")) for line in (bundle / "SHA256SUMS").read_text().splitlines())
        assert set(sums) == {file.relative_to(bundle).as_posix() for file in bundle.rglob("*") if file.is_file()} - {
            "SHA256SUMS"
        }
        for name, value in sums.items():
            assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == value


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_change_nothing(built_once: Checkout, tmp_path: Path) -> None:
    rng = random.Random(20)
    checkout = make_small(copy_project(tmp_path / "zoo"))
    for _ in range(KILLS):
        build = subprocess.Popen(
            [sys.executable, "-m", "doit", "demo"], cwd=checkout.root, env=clean_env(), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            build.wait(timeout=rng.uniform(0.1, 12))
        except subprocess.TimeoutExpired:
            build.send_signal(signal.SIGKILL)  # doit alone: its steps must not live on
            build.wait()
        check_no_half_made_bundle(checkout)
        if (checkout.root / "artifacts/demo_bilinear/SHA256SUMS").is_file() and rng.random() < 0.5:
            victim = rng.choice(sorted((checkout.root / "build/demo_bilinear").glob("*.*")))
            victim.unlink()  # so that there is something to build, and to kill
    done = checkout.doit("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    check_no_half_made_bundle(checkout)
    assert checkout.hashes("artifacts/*/*") == built_once.hashes("artifacts/*/*")
    assert not list((checkout.root / "build").glob("*/records/.*"))


@pytest.mark.slow
def test_a_killed_doit_leaves_no_step_running(small: Checkout) -> None:
    build = small.start("-n", "1", "demo_nearest:train")
    read_until(build, "epoch 1")
    children = Path(f"/proc/{build.pid}/task").glob("*/children")
    steps = [int(pid) for file in children for pid in file.read_text().split()]
    assert steps
    os.kill(build.pid, signal.SIGKILL)
    build.wait()
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in steps):
        assert time.monotonic() < deadline, "a step outlived doit"
        time.sleep(0.05)
    build.communicate()


def test_a_step_whose_doit_is_gone_ends_by_itself(small: Checkout) -> None:
    """doit may die before the step can ask the kernel to tell it."""
    before = sorted((small.root / "build").rglob("*"))
    env = {"ZOO_PARENT": "1"}
    done = small.run(sys.executable, "-m", "utils.steps.train", "demo_nearest", "train", env=env, timeout=60)
    assert done.returncode == 137
    assert sorted((small.root / "build").rglob("*")) == before


@pytest.mark.slow
def test_ctrl_c_is_answered_in_one_line(small: Checkout) -> None:
    build = small.start("demo")
    read_until(build, "epoch 1")
    os.killpg(build.pid, signal.SIGINT)  # as a terminal does: doit and its steps
    said, _ = build.communicate(timeout=30)
    assert "interrupted: finished steps are kept" in said
    assert "Traceback" not in said
    assert build.returncode == -signal.SIGINT


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
