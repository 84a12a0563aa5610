"""The seam: what is special about a kind of task stands in its own places, and each kind has all of them."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

from tests.support.checkouts import ROOT
from utils import example, tasks
from utils.graph import layout, plan
from utils.recipe import schema
from utils.recipe.load import load_recipes
from utils.recipe.schema import KINDS, Recipe

#: Modules that may name a kind of task: the schema, and example.py in the kind's own section.
SCHEMA = "utils/recipe/schema.py"
EXAMPLE = "utils/example.py"

#: A kind of task that has the name of a kind of input.
ALSO_INPUTS = {"image", "audio"}


def sections(text: str) -> dict[str, str]:
    """The sections of example.py by the words of their heading."""
    parts = re.split(r"^# --- (.*?) -*$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def texts() -> dict[str, str]:
    """What git keeps of utils/: path -> text, without the names that Hugging Face gives kinds of task."""
    found = [file for file in (ROOT / "utils").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    return {file.relative_to(ROOT).as_posix(): re.sub(r'hub="[a-z-]+"', "", file.read_text()) for file in found}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ALSO_INPUTS])
def test_a_kind_is_named_in_its_own_places_alone(kind: str) -> None:
    """``grep -rn`` finds it in its package, in the schema and in its section of example.py."""
    named = {file for file, text in texts().items() if kind in text}
    assert {file for file in named if not file.startswith(f"utils/tasks/{kind}/")} == {SCHEMA, EXAMPLE}
    text = (ROOT / EXAMPLE).read_text()
    (own,) = (heading for heading in sections(text) if heading.startswith(f"{kind}:"))
    inside = text.index(f"# --- {own}")
    assert text[:inside].count(kind) == 0
    assert kind not in text[inside + len(own) + len(sections(text)[own]) :].split("\n", 1)[1]


def test_no_condition_asks_for_a_kind_by_name() -> None:
    """Not even its own module: that one is only asked for its kind."""
    for file in (ROOT / "utils").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Compare):
                values = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                assert not values & (set(KINDS) - ALSO_INPUTS), f"{file}, line {node.lineno}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_whole(kind: schema.TaskName) -> None:
    """It has its row, its words, its parts, its template and its class."""
    assert kind in get_args(schema.TaskName)
    recipe = next(found for found in load_recipes().values() if found.task == kind)
    task = tasks.task_of(recipe)
    assert task is tasks.every_task()[kind]
    assert all(getattr(task, key) for key in ("metric", "one", "many", "files", "answers", "agreement", "hub"))
    assert example.TASKS[kind].name == kind
    assert example.TASKS[kind].__doc__ != example.Task.__doc__
    parts: list[tuple[type, type]] = [
        (tasks.measure_of(recipe), tasks.Measure),
        (tasks.answers_of(recipe), tasks.Answers),
        (tasks.figures_of(recipe), tasks.Figures),
    ]
    for found, protocol in parts:
        for name, wanted in inspect.getmembers(protocol, inspect.isfunction):
            if not name.startswith("_") or name == "__init__":
                assert [*inspect.signature(getattr(found, name)).parameters] == [*inspect.signature(wanted).parameters]
    assert tasks.figures_of(recipe).template.read_text().startswith('{% extends "card" %}')
    assert (tasks.read_truth_of(recipe) is None) == (KINDS[kind].truth == "label")


def test_a_step_counts_the_code_of_its_own_kind_alone() -> None:
    for recipe in load_recipes().values():
        for step in plan.steps_of(recipe):
            code = {file.relative_to(ROOT).as_posix() for file in step.code}
            counted = {file for file in code if file.startswith("utils/tasks/")}
            part = {"evaluate": "measure", "validate": "answers", "card": "figures"}.get(step.name)
            home = f"utils/tasks/{recipe.task}"
            assert counted == ({f"{home}/__init__.py", f"{home}/{part}.py"} if part else set()), step


def test_figures_of_a_card_are_those_that_the_task_names() -> None:
    for recipe in load_recipes().values():
        drawn = {Path(name).stem for name in layout.card_files(recipe) if name.startswith("figures/")}
        named = set(tasks.task_of(recipe).figures(recipe))
        assert drawn == {"result"} | named | ({"training"} if recipe.train else set())


def test_the_feature_map_is_drawn_where_inputs_are_of_the_evaluation_set() -> None:
    demo = load_recipes()["demo_nearest"]
    assert set(figures(demo)) == {"digits", "confusion", "feature_map", "fixed_output"}
    assert set(figures(load_recipes()["demo_bilinear"])) == {"digits", "confusion", "feature_map"}
    assert not figures(load_recipes()["resnet50"])
    plain = demo.model_copy(update={"card": demo.card.model_copy(update={"feature_map": None})})
    assert set(figures(plain)) == {"digits", "confusion"}


def figures(recipe: Recipe) -> dict[str, frozenset[tasks.Shows]]:
    return dict(tasks.task_of(recipe).figures(recipe))
