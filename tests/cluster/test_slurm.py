"""A worker as a batch job of a real Slurm, with the very script of docker/cluster/."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, Checkout
from tests.support.clusters import Machines, wait_until
from tests.support.slurm import running_slurm

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SCRIPT = ROOT / "docker/cluster/worker.sbatch"


def test_a_batch_job_builds_the_demo(
    cluster: Machines, coordinator: Checkout, built_once: Checkout, tmp_path: Path
) -> None:
    nodes = cluster.clone(coordinator, "node")
    # docker/run would make an environment of its own; this is the one that the tests run in.
    (nodes.root / "docker/run").write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -m doit "$@"\n')
    shutil.copy(SCRIPT, nodes.root / "docker/cluster/worker.sbatch")
    with running_slurm(tmp_path / "slurm") as slurm:
        script = nodes.root / "docker/cluster/worker.sbatch"
        options = ("--export=ALL", "--mem=1000", "--cpus-per-task=1")
        said = slurm.run("sbatch", *options, script, cwd=nodes.root, **cluster.env("worker"))
        job = re.search(r"Submitted batch job (\d+)", said)
        assert job
        log = nodes.root / f"zoo-worker-{job[1]}.log"
        wait_until(lambda: log.is_file() and "Registered to:" in log.read_text(), why=slurm.log())
        done = coordinator.doit("-n", "2", "demo", env=cluster.env(), timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"on slurm-{job[1]}" in done.stdout
        assert coordinator.hashes("artifacts/**/*") == built_once.hashes("artifacts/**/*")
        slurm.run("scancel", job[1])
        wait_until(lambda: not slurm.run("squeue", "-h").strip(), 60, slurm.log())
