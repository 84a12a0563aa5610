"""The same bytes, wherever and however a model is built."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout, copy_project, make_small

pytestmark = pytest.mark.slow


def build(root: Path, *before: str, arguments: tuple[str, ...] = ()) -> dict[str, str]:
    """Build the small demo in a fresh checkout; the sha256 of every .tflite and of the weights."""
    checkout = make_small(copy_project(root))
    done = checkout.run(*before, sys.executable, "-m", "doit", *arguments, "demo", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    hashes = checkout.hashes() | checkout.hashes("build/*/*.weights.h5")
    assert len(hashes) == 6
    return hashes


def test_same_bytes_in_another_folder_one_at_a_time(built_once: Checkout, tmp_path: Path) -> None:
    """`built_once` ran with -n for every core; the bundles are equal to the last file."""
    other = make_small(copy_project(tmp_path / "another" / "folder"))
    done = other.doit("-n", "1", "demo")
    assert done.returncode == 0, done.stderr
    assert other.hashes("artifacts/*/*") == built_once.hashes("artifacts/*/*")
    assert other.hashes("build/*/*.weights.h5") == built_once.hashes("build/*/*.weights.h5")


def test_same_bytes_on_one_core_with_other_environment_variables(built_once: Checkout, tmp_path: Path) -> None:
    """What a user's environment says about threads, kernels, hashing and language does not reach a step."""
    strange = ("env", "TF_ENABLE_ONEDNN_OPTS=0", "OMP_NUM_THREADS=2", "PYTHONHASHSEED=99", "LC_ALL=C", "TZ=Asia/Tokyo")
    one = build(tmp_path / "one", "taskset", "-c", "0", *strange)
    assert one == built_once.hashes() | built_once.hashes("build/*/*.weights.h5")


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
