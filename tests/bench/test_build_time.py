"""How long the two MNIST models take, against the demo notebook's procedure on the same machine in the same run.

ZOO_MIRROR=/path/to/mirror docker/run pytest -m bench -s tests/bench/test_build_time.py
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, Checkout
from utils.recipe.load import find_recipe

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


def measure(checkout: Checkout, *command: str, env: dict[str, str]) -> tuple[float, str]:
    begin = time.monotonic()
    done = checkout.run(*command, env=env, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - begin, done.stdout


def test_both_models_against_the_notebook(project: Checkout, mirror: Path, tmp_path: Path) -> None:
    idx = tmp_path / "idx"
    idx.mkdir()
    for source in find_recipe("mnist_nearest").sources.values():
        (idx / source.file).symlink_to(mirror.resolve() / str(source.sha256))
    notebook, said = measure(
        project,
        sys.executable,
        "-m",
        "tests.bench.notebook_recipe",
        str(idx),
        str(tmp_path),
        env={"PYTHONPATH": str(ROOT)},
    )
    print("\n" + said, end="")
    models = ("mnist_nearest", "mnist_bilinear")
    env = {"ZOO_MIRROR": str(mirror)}
    ours, _ = measure(project, sys.executable, "-m", "doit", "-n", "2", *models, env=env)
    for model in models:
        results = json.loads((project.root / "build" / model / "evaluation.json").read_text())["variants"]
        print(f"ours {model}: " + ", ".join(f"{r['accuracy']:.2f} % ({v})" for v, r in results.items()))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"notebook {notebook:.1f} s, ours {ours:.1f} s (from download to bundle): ratio {ours / notebook:.2f}")
    print(f"largest process {peak:.2f} GB, {os.cpu_count()} cores")


def test_nothing_to_do(built: Checkout) -> None:
    spent = [measure(built, sys.executable, "-m", "doit", "demo", env={})[0] for _ in range(10)]
    print(f"\nnothing to do: {min(spent):.2f} s (best of {len(spent)})")
