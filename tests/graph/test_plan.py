"""The steps of every model: exact about what they read, write and depend on; planned without heavy imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkouts import ROOT, Checkout, clean_env
from utils import paths
from utils.graph import layout, plan
from utils.recipe.load import find_recipe, load_recipes
from utils.recipe.schema import Recipe
from utils.recipe.tables import Gate

MODELS = sorted(load_recipes())


def names(files: tuple[Path, ...]) -> set[str]:
    return {paths.relative(file) for file in files}


def test_no_two_steps_write_one_file() -> None:
    written = [file for found in load_recipes().values() for step in plan.steps_of(found) for file in step.writes]
    assert len(written) == len(set(written))


@pytest.mark.parametrize("model", MODELS)
def test_every_read_is_written_before(model: str) -> None:
    found = find_recipe(model)
    written = {paths.LOCK, *filter(None, map(found.list_file, found.datasets))}
    written |= {*layout.board_reports(model), *layout.rebuild_files(model)}
    for step in plan.steps_of(found):
        assert set(step.reads) <= written, step.name
        assert paths.LOCK in step.reads
        assert all(file.is_file() for file in step.code)
        written |= set(step.writes)
    bundle = {file for file in written if file.is_relative_to(paths.bundle(model))}
    assert {file.name for file in bundle} >= {"README.md", "SHA256SUMS", "manifest.json", "model.json", "example.py"}


@pytest.mark.parametrize("model", ["demo_nearest", "demo_bilinear"])
def test_a_build_writes_exactly_the_planned_files(built_once: Checkout, model: str) -> None:
    """And nothing else but records, logs and locks."""
    planned = {Path(paths.relative(file)) for step in plan.steps_of(find_recipe(model)) for file in step.writes}
    for folder in ("artifacts", "build"):
        there = {file.relative_to(built_once.root) for file in (built_once.root / folder / model).rglob("*")}
        files = {file for file in there if (built_once.root / file).is_file() and file.parent.name != "records"}
        assert files == {file for file in planned if file.parts[0] == folder}


def changed(**updates: dict[str, Any]) -> set[str]:
    """The steps whose configuration differs when keys of these tables have other values."""
    found = find_recipe("mnist_nearest")
    tables = {key: getattr(found, key).model_copy(update=values) for key, values in updates.items()}
    return _differ(found, found.model_copy(update=tables))


def _differ(one: Recipe, other: Recipe) -> set[str]:
    pairs = zip(plan.steps_of(one), plan.steps_of(other), strict=True)
    return {a.name for a, b in pairs if (a.config, a.code, a.reads, a.writes) != (b.config, b.code, b.reads, b.writes)}


@pytest.mark.parametrize(
    ("updates", "steps"),
    [
        ({}, set()),
        ({"train": {"label_smoothing": 0.1}}, {"train"}),
        ({"train": {"epochs": 1}}, {"train"}),
        ({"calibration": {"count": 7}}, {"int8"}),
        ({"tolerance": {"int8_steps": 1}}, {"validate"}),
        ({"evaluation": {"gate": Gate(float32=1, int8=1, loss=1)}}, {"evaluate"}),
        ({"expected": {"int8_bytes": 1}}, {"float32", "int8"}),
        ({"expected": {"parameters": 1}}, {"train", "float32", "int8"}),
        ({"card": {"introduction": "x"}}, set()),
        ({"input": {"std": [1.0]}}, {"train", "float32", "int8", "evaluate", "validate"}),
    ],
)
def test_a_change_touches_what_depends_on_it(updates: dict[str, Any], steps: set[str]) -> None:
    """Besides these only the card, which shows the whole recipe."""
    assert changed(**updates) == (steps | {"card"} if updates else set())


def test_other_aliases_are_validated_again() -> None:
    """The names that example.py knows a file by stand in the model.json that validation tries."""
    found = find_recipe("mobilenet_v2")
    other = found.model_copy(update={"aliases": {"int8": ["another.tflite"]}})
    assert _differ(found, other) == {"validate", "card"}


def test_planning_imports_nothing_heavy() -> None:
    """What `doit` does before it knows that there is nothing to do."""
    code = (
        "import sys, dodo\n"
        "tasks = [*dodo.task_models(), dodo.task_demo()]\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'PIL', 'matplotlib', 'ai_edge_litert', 'requests', 'jinja2'}\n"
        "print(len(tasks), sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, heavy = done.stdout.split(maxsplit=1)
    assert int(count) > len(MODELS) * 6
    assert heavy == "[]\n"
