"""Recipes, read from ``recipes/<name>/recipe.toml``.

A recipe holds every fact about one model. Where two models share a body, one file serves both: what stands
above ``[model.NAME]`` is shared, and each ``[model.NAME]`` table is laid over it. A file without
``[model.*]`` describes one model that has the folder's name.

Unknown keys, wrong types and malformed hashes are refused, all at once, each with the place it stands in.
"""

from __future__ import annotations

import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from utils import limits, paths
from utils.errors import RecipeError, did_you_mean
from utils.recipe import beside, lists
from utils.recipe.explain import explain
from utils.recipe.schema import Recipe
from utils.untrusted import as_text

__all__ = ["find_recipe", "forget_recipes", "load_recipes"]

#: Names that are taken: tasks beside the models, commands of doit, and the folder build/cache.
_TASKS = "demo vela board verify lock mirror report release publish compat cache venv"
_COMMANDS = "auto clean dumpdb forget help ignore info list run strace tabcompletion"
_TAKEN = frozenset([*_TASKS.split(), *_COMMANDS.split()])


def _merge(shared: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """One table laid over another, to any depth; a list takes the place of a list."""
    merged = dict(shared)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """The tables of each model in a file, with what they share, by the model's name.

    Raises:
        RecipeError: the file cannot be read, is not TOML, or names its models in another way.
    """
    where = paths.relative(file)
    content = beside.read_file(file, limits.RECIPE_BYTES, what="the recipe")
    try:
        shared = tomllib.loads(content.decode("utf-8-sig"))
        _check_size(shared)
    except (ValueError, RecursionError) as error:  # also of UTF-8, and of numbers with thousands of digits
        raise RecipeError(f"not valid TOML: {as_text(error)}", where=where, hint="mend the line it names") from None
    models = shared.pop("model", None)
    if models is None:
        models = {file.parent.name: {}}
    if not isinstance(models, dict) or not models or not all(isinstance(value, dict) for value in models.values()):
        hint = "write [model.NAME] for each model; leave it out if there is only one"
        raise RecipeError("[model.NAME] must be tables", where=f"{where}: model", hint=hint)
    merged = {name: _merge(shared, over) for name, over in models.items()}
    for key in ("name", "folder"):
        if any(key in tables for tables in merged.values()):
            hint = "the name is that of the folder or of [model.NAME]"
            raise RecipeError(f"unknown key {key!r}", where=where, hint=hint)
    return merged


def _check_size(value: Any) -> None:
    """Refuse what TOML has no room for, and what no recipe is; raises ValueError."""
    todo: list[tuple[Any, int]] = [(value, 0)]
    while todo:
        item, depth = todo.pop()
        if depth > limits.RECIPE_DEPTH:
            raise ValueError(f"tables and lists are more than {limits.RECIPE_DEPTH} deep in each other")
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise ValueError("a whole number has more than 64 bits")
        if isinstance(item, dict | list):
            todo += [(each, depth + 1) for each in (item.values() if isinstance(item, dict) else item)]


def _load(file: Path) -> list[Recipe]:
    """The recipes of a file.

    Raises:
        RecipeError: something in it is wrong; lists all findings, those that every model has once.
    """
    where, models = paths.relative(file), _read(file)
    recipes = []
    findings: dict[str, list[str]] = {}  # finding -> the models that have it
    for name, tables in models.items():
        identity = {"name": name, "folder": file.parent.relative_to(paths.RECIPES).as_posix()}
        try:
            recipe = Recipe.model_validate(tables | identity)
        except ValidationError as error:
            for line in explain(error):
                findings.setdefault(line, []).append(name)
            continue
        if recipe.code_file:
            _check_code(recipe, recipe.code_file, f"{where}: code")
        recipes.append(recipe)
    if findings:
        lines = [
            line if len(names) == len(models) else f"[model.{names[0]}] {line}" for line, names in findings.items()
        ]
        things = "1 thing" if len(lines) == 1 else f"{len(lines)} things"
        more = [f"and {len(lines) - limits.RECIPE_FINDINGS} more"] if len(lines) > limits.RECIPE_FINDINGS else []
        shown = [as_text(line) for line in lines[: limits.RECIPE_FINDINGS]]
        raise RecipeError(
            "\n  ".join([f"{things} to mend:", *shown, *more]),
            where=where,
            hint="utils/recipe/schema.py explains each key, or names the file beside it that does",
        )
    return recipes


def _check_code(recipe: Recipe, file: Path, where: str) -> None:
    """Refuse code that is no Python file; what stands in it, the step that runs it says."""
    name = repr(as_text(recipe.code, 80))
    if file.suffix != ".py":
        hint = "name the Python file that builds the network, seen from the recipe's folder"
        raise RecipeError(f"{name} is not a .py file", where=where, hint=hint)
    beside.read_file(file, limits.RECIPE_BYTES, what=name, where=where)


@cache
def load_recipes() -> dict[str, Recipe]:
    """Every recipe by model name, sorted.

    Raises:
        RecipeError: a recipe is wrong, or two have one name.
    """
    found: dict[str, Recipe] = {}
    errors: list[RecipeError] = []
    listed = [folder / "recipe.toml" for folder in sorted(paths.RECIPES.glob("*/"))]
    for file in filter(os.path.lexists, listed):  # a link that leads nowhere is a recipe that cannot be read
        try:
            recipes = _load(file)
        except RecipeError as error:
            errors.append(error)
            continue
        for recipe in recipes:
            if recipe.name in found:
                twice = f"two recipes have the name {recipe.name!r}: recipes/{found[recipe.name].folder} and "
                hint = "rename one of them"
                errors.append(RecipeError(f"{twice}recipes/{recipe.folder}", where=paths.relative(file), hint=hint))
            elif recipe.name in _TAKEN:
                what = f"{recipe.name!r} is the name of a task, or of a command of doit"
                errors.append(RecipeError(what, where=paths.relative(file), hint="choose another name"))
            found[recipe.name] = recipe
    if errors:
        raise errors[0] if len(errors) == 1 else RecipeError("\n".join(str(error) for error in errors))
    return dict(sorted(found.items()))


def forget_recipes() -> None:
    """Read recipes and image lists again: they may have changed."""
    load_recipes.cache_clear()
    lists.read.cache_clear()


def find_recipe(name: str) -> Recipe:
    """The recipe of the model ``name``.

    Raises:
        RecipeError: there is none.
    """
    recipes = load_recipes()
    if name not in recipes:
        raise RecipeError(
            f"there is no recipe for {as_text(name, 80)!r}{did_you_mean(name, recipes)}",
            hint="`doit list` shows what there is",
        )
    return recipes[name]
