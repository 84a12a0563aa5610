"""What a zoo of 208 models costs against one of 8, where all is up to date.

docker/run pytest -m bench -s tests/bench/test_large.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.checkouts import NOTHING, Checkout, clean_env, copy_project
from tests.support.zoos import make_zoo
from utils import environment

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

FEW, MANY = 8, 208
MODEL = "pair0000_nearest"

#: What docker/run starts for `doit`: alone it knows --check without a word that is a name.
DOIT = "utils.front"


@pytest.fixture(scope="module")
def zoos(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Checkout]:
    """A small zoo and a large one, each with its index."""
    made = {count: make_zoo(copy_project(tmp_path_factory.mktemp("zoo") / "zoo"), count) for count in (FEW, MANY)}
    time.sleep(2.1)  # files that are younger than 2 s are not in the index
    for zoo in made.values():
        assert NOTHING in zoo.doit().stdout
    return made


def cpu_s(zoo: Checkout, *words: str, env: dict[str, str] | None = None, times: int = 7) -> tuple[float, float]:
    """The CPU time of a program in a zoo in s, and its memory in MB: the best of some runs."""
    spent = []
    for _ in range(times):
        command = [sys.executable, "-m", *words]
        process = subprocess.Popen(command, cwd=zoo.root, env=env or clean_env(), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        spent.append((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3))
    return min(spent)


@pytest.mark.parametrize("words", [(), ("--check",), ("list",), (MODEL,)], ids=" ".join)
def test_nothing_to_do(zoos: dict[int, Checkout], words: tuple[str, ...]) -> None:
    (few, _), (many, memory) = (cpu_s(zoos[count], DOIT, *words) for count in (FEW, MANY))
    each_ms = 1000 * (many - few) / (MANY - FEW)
    print(f"\n{' '.join(['doit', *words])}: {few:.2f} s of CPU with {FEW} models, {many:.2f} s with {MANY}")
    print(f"{each_ms:.1f} ms a model; {memory:.0f} MB with {MANY}")


@pytest.mark.parametrize(("module", "step"), [("train", "train"), ("evaluate", "evaluate"), ("card", "card")])
def test_a_step_starts(zoos: dict[int, Checkout], module: str, step: str) -> None:
    """A step that finds itself up to date: it has read its recipe, its code and its files."""
    env = {key: value for key, value in environment.pinned().items() if not key.startswith(("ZOO_", "PYTEST"))}
    few, many = (cpu_s(zoos[count], f"utils.steps.{module}", MODEL, step, env=env)[0] for count in (FEW, MANY))
    print(f"\nthe step {step} starts: {few:.3f} s of CPU with {FEW} models, {many:.3f} s with {MANY}")


def test_large_files(tmp_path: Path) -> None:
    """20 models with 0.4 GB each."""
    zoo = make_zoo(copy_project(tmp_path / "zoo"), 20, large=100_000_000)
    size = sum(file.stat().st_size for file in zoo.root.glob("*/*/*.tflite"))
    time.sleep(2.1)
    first, _ = cpu_s(zoo, DOIT, times=1)
    later, checked = cpu_s(zoo, DOIT)[0], cpu_s(zoo, DOIT, "--check", times=3)[0]
    print(f"\n{size / 1e9:.1f} GB: {first:.2f} s of CPU the first time, then {later:.2f} s; --check {checked:.2f} s")


def test_a_recipe_is_edited(zoos: dict[int, Checkout]) -> None:
    """All code is read once more, for a recipe is a file beside it."""
    for count, zoo in zoos.items():
        file = zoo.root / "recipes/pair0001/recipe.toml"
        file.write_text(f"{file.read_text()}\n# A comment.\n")
        print(f"\n{count} models, one with a new comment: {cpu_s(zoo, DOIT, times=1)[0]:.2f} s of CPU")
