"""The same bytes, wherever and however a model is built."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout, copy_project, make_small

pytestmark = pytest.mark.slow


def test_same_bytes_in_another_folder_on_one_core_with_other_environment_variables(
    built_once: Checkout, tmp_path: Path
) -> None:
    """`built_once` ran with -n for every core. What a user's environment says about threads, kernels, hashing and
    language does not reach a step; the bundles are equal to the last file."""
    strange = ("env", "TF_ENABLE_ONEDNN_OPTS=0", "OMP_NUM_THREADS=2", "PYTHONHASHSEED=99", "LC_ALL=C", "TZ=Asia/Tokyo")
    other = make_small(copy_project(tmp_path / "another" / "folder"))
    done = other.run("taskset", "-c", "0", *strange, sys.executable, "-m", "doit", "-n", "1", "demo", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    for pattern, count in (("artifacts/*/*.tflite", 4), ("artifacts/*/*", 4), ("build/*/*.weights.h5", 2)):
        hashes = other.hashes(pattern)
        assert len(hashes) >= count
        assert hashes == built_once.hashes(pattern)


#: The steps of a model in one process: emulated, TensorFlow needs a minute to start.
STEPS = """
import runpy, sys
for step, module in (("train", "train"), ("float32", "convert"), ("int8", "convert")):
    sys.argv = [module, "demo_bilinear", step]
    try:
        runpy.run_module(f"utils.steps.{module}", run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.mark.qemu
@pytest.mark.timeout(1800)
def test_same_bytes_on_an_emulated_haswell(tmp_path: Path) -> None:
    """Another CPU model, without AVX-512: training and both conversions under emulation, forty times as slow."""
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if not qemu:
        pytest.skip("no qemu-x86_64: apt-get install qemu-user")
    from utils import environment

    made = []
    for name, before in (("here", []), ("haswell", [qemu, "-cpu", "Haswell"])):
        checkout = make_small(copy_project(tmp_path / name))
        for old, new in (("count = 2400", "count = 320"), ("epochs = 4", "epochs = 1"), ("steps = 60", "steps = 5")):
            checkout.change("recipes/demo/recipe.toml", old, new)
        command = [*before, sys.executable, "-c", STEPS]
        done = subprocess.run(
            command, cwd=checkout.root, env=environment.pinned(), capture_output=True, text=True, timeout=1500
        )
        assert done.returncode == 0, done.stdout + done.stderr
        made.append(checkout.hashes("build/demo_bilinear/*.weights.h5") | checkout.hashes("build/*/*.tflite"))
    assert len(made[0]) == 3
    assert made[0] == made[1]
