"""Recipes, read from ``recipes/<name>/recipe.toml``.

A recipe holds every fact about one model. Where models share a network, one file serves all of them: the keys above
``[model.NAME]`` are shared, and each ``[model.NAME]`` table is laid over them. A file without ``[model.*]`` describes
one model that has the folder's name.

Unknown keys, wrong types and malformed hashes are refused, all at once, each with its place. A recipe that does not
load breaks its own models and no other: :func:`read_recipes` gives both kinds, :func:`load_recipes` needs all to load.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from utils import limits, paths
from utils.errors import RecipeError, did_you_mean
from utils.recipe import beside, lists
from utils.recipe.explain import explain
from utils.recipe.schema import NAME, Recipe
from utils.untrusted import as_text

__all__ = [
    "BrokenModel",
    "check_name",
    "find_recipe",
    "forget_recipes",
    "load_recipes",
    "models_in",
    "read_recipes",
    "refuse_broken",
]

#: Names that are taken: tasks beside the models, commands of doit, and folders in build/.
_TASKS = (
    "demo vela board verify lock matrix mirror report release publish refetch compat explain catalogue new completion "
    "steps worker scheduler cache engine venv"
)
_COMMANDS = "auto clean dumpdb forget help ignore info list reset-dep run strace tabcompletion"
_TAKEN = frozenset([*_TASKS.split(), *_COMMANDS.split()])

#: The heading of a model's table, and the group, in a file that is not valid TOML.
_HEADING = re.compile(r"^\s*\[+\s*model\s*\.\s*([a-z][a-z0-9_]*)\s*[].]", re.MULTILINE)
_GROUP = re.compile(r"""^\s*group\s*=\s*["']demo["']""", re.MULTILINE)


@dataclass(frozen=True)
class BrokenModel:
    """A model whose recipe does not load.

    Attributes:
        error: all that is wrong.
        reason: the first thing that is wrong, in one line.
        group: which group the recipe names; ``zoo`` where that cannot be read.
    """

    error: RecipeError
    reason: str
    group: str


class _Recipes(NamedTuple):
    """What was read: the models that load, those that do not, and an error for each wrong file."""

    found: dict[str, Recipe]
    broken: dict[str, BrokenModel]
    errors: list[RecipeError]


@dataclass
class _File:
    """One recipe.toml: its models that load, and what is wrong with the others."""

    folder: str
    found: list[Recipe] = field(default_factory=list)
    broken: dict[str, BrokenModel] = field(default_factory=dict)
    errors: list[RecipeError] = field(default_factory=list)


def _merge(shared: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay one table over another, to any depth; a list replaces a list."""
    merged = dict(shared)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Read the tables of each model in a file, shared keys included, by the model's name.

    Raises:
        RecipeError: the file cannot be read, is not TOML, or its ``model`` is not a table of tables.
    """
    where = paths.relative(file)
    content = beside.read_file(file, limits.RECIPE_BYTES, what="the recipe")
    try:
        shared = tomllib.loads(content.decode("utf-8-sig"))
        _check_size(shared)
    except (ValueError, RecursionError) as error:  # also invalid UTF-8, and numbers with thousands of digits
        raise RecipeError(f"not valid TOML: {as_text(error)}", where=where, hint="correct the line it names") from None
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
    """Refuse numbers over 64 bits and deep nesting; raises ValueError."""
    todo: list[tuple[Any, int]] = [(value, 0)]
    while todo:
        item, depth = todo.pop()
        if depth > limits.RECIPE_DEPTH:
            raise ValueError(f"tables and lists are more than {limits.RECIPE_DEPTH} deep")
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise ValueError("a whole number has more than 64 bits")
        if isinstance(item, dict | list):
            todo += [(each, depth + 1) for each in (item.values() if isinstance(item, dict) else item)]


def _load(file: Path) -> _File:
    """Every model of a file, whether it loads or not."""
    where, loaded = paths.relative(file), _File(file.parent.relative_to(paths.RECIPES).as_posix())
    try:
        models = _read(file)
    except RecipeError as error:
        loaded.errors.append(error)
        text = _text(file)
        names = list(dict.fromkeys(_HEADING.findall(text))) or [file.parent.name]
        loaded.broken = {name: _broken(error, "demo" if _GROUP.search(text) else "zoo") for name in names}
        return loaded
    findings: dict[str, list[str]] = {}  # of each model
    for name, tables in models.items():
        try:
            recipe = Recipe.model_validate(tables | {"name": name, "folder": loaded.folder})
            if recipe.code_file:
                _check_code(recipe, recipe.code_file, f"{where}: code")
        except ValidationError as error:
            findings[name] = explain(error)
        except RecipeError as error:
            loaded.broken[name] = _broken(error, tables.get("group"))
            if str(error) not in map(str, loaded.errors):
                loaded.errors.append(error)
        else:
            loaded.found.append(recipe)
    shared = set.intersection(*map(set, findings.values())) if len(findings) == len(models) else set()
    told: dict[str, list[str]] = {
        name: [line if line in shared else f"[model.{name}] {line}" for line in lines]
        for name, lines in findings.items()
    }
    for name, lines in told.items():
        loaded.broken[name] = _broken(_refusal(where, lines), models[name].get("group"))
    if told:
        loaded.errors.append(_refusal(where, list(dict.fromkeys(line for lines in told.values() for line in lines))))
    return loaded


def _refusal(where: str, findings: list[str]) -> RecipeError:
    things = "1 thing" if len(findings) == 1 else f"{len(findings)} things"
    more = [f"and {len(findings) - limits.RECIPE_FINDINGS} more"] if len(findings) > limits.RECIPE_FINDINGS else []
    shown = [as_text(line) for line in findings[: limits.RECIPE_FINDINGS]]
    return RecipeError(
        "\n  ".join([f"{things} to correct:", *shown, *more]),
        where=where,
        hint="correct the recipe; docs/reference/recipe.md describes each key",
    )


def _broken(error: RecipeError, group: object = None) -> BrokenModel:
    heading, *findings = error.what.split("\n  ")
    first = findings[0] if findings else heading
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return BrokenModel(error, f"{error.where}: {as_text(first, 200)}{more}", "demo" if group == "demo" else "zoo")


def _text(file: Path) -> str:
    """The text of a file that is not valid TOML; empty if it cannot be read."""
    try:
        return beside.read_file(file, limits.RECIPE_BYTES, what="the recipe").decode(errors="replace")
    except RecipeError:
        return ""


def _check_code(recipe: Recipe, file: Path, where: str) -> None:
    """Refuse code that is not a Python file; errors in it show in the step that runs it."""
    name = repr(as_text(recipe.code, 80))
    if file.suffix != ".py":
        hint = "name the Python file that builds the network, relative to the recipe's folder"
        raise RecipeError(f"{name} is not a .py file", where=where, hint=hint)
    beside.read_file(file, limits.RECIPE_BYTES, what=name, where=where)


@cache
def _read_all() -> _Recipes:
    found: dict[str, Recipe] = {}
    broken: dict[str, BrokenModel] = {}
    errors: list[RecipeError] = []
    owners: dict[str, str] = {}  # model -> the folder of its recipe
    listed = [folder / "recipe.toml" for folder in sorted(paths.RECIPES.glob("*/"))]
    for file in filter(os.path.lexists, listed):  # a dangling link is a recipe that cannot be read
        loaded, where = _load(file), paths.relative(file)
        errors += loaded.errors
        names = {recipe.name: recipe for recipe in loaded.found}
        for name in (*names, *loaded.broken):
            wrong = _name_error(name, where)
            if name in owners:
                what = f"two recipes have the name {name!r}: recipes/{owners[name]} and recipes/{loaded.folder}"
                twice = RecipeError(what, where=where, hint="rename one of them")
                errors.append(twice)
                broken[name] = _broken(twice, found.pop(name).group if name in found else broken[name].group)
            elif wrong:  # it cannot be a task: it is listed by its folder
                if name in names:
                    errors.append(wrong)
                key = "/".join(dict.fromkeys(["recipes", loaded.folder, as_text(name, 80).replace("=", "?")]))
                broken[key] = _broken(wrong) if name in names else loaded.broken[name]
            else:
                owners[name] = loaded.folder
                if name in names:
                    found[name] = names[name]
                else:
                    broken[name] = loaded.broken[name]
    return _Recipes(dict(sorted(found.items())), dict(sorted(broken.items())), errors)


def _name_error(name: str, where: str) -> RecipeError | None:
    """Why a model cannot have a name; None if it can."""
    if name in _TAKEN:
        what = f"{name!r} is the name of a task, or of a command of doit"
        return RecipeError(what, where=where, hint="choose another name")
    if not re.fullmatch(NAME, name) or len(name) > limits.NAME_CHARS:
        what = f"{as_text(name, 80)!r} cannot be the name of a model"
        hint = f"use lower-case letters, digits and _, a letter first, at most {limits.NAME_CHARS} characters"
        return RecipeError(what, where=where, hint=hint)
    return None


def check_name(name: str, where: str) -> None:
    """Refuse a name that a model cannot have.

    Raises:
        RecipeError: it is the name of a task, or is malformed.
    """
    if error := _name_error(name, where):
        raise error


def read_recipes() -> tuple[dict[str, Recipe], dict[str, BrokenModel]]:
    """The models that load, and those that do not; each by name, sorted.

    A broken model that no task can be named after has its folder as its name (``recipes/demo/Demo``).
    """
    return _read_all()[:2]


def load_recipes() -> dict[str, Recipe]:
    """Every recipe by model name, sorted.

    Raises:
        RecipeError: a recipe is wrong, or two have one name.
    """
    found, _, errors = _read_all()
    if errors:
        raise errors[0] if len(errors) == 1 else RecipeError("\n".join(str(error) for error in errors))
    return found


def models_in(words: Sequence[str], known: Iterable[str]) -> set[str]:
    """The known models that a command line names: as a task, in a task (``vela:NAME``) or in ``models=``."""
    named = [word.removeprefix("models=") for word in words if "=" not in word or word.startswith("models=")]
    return {part for text in named for part in re.split("[:, ]", text)} & set(known)


def refuse_broken(words: Sequence[str]) -> None:
    """Refuse a command line that names a model whose recipe does not load; ``doit list`` shows it.

    Raises:
        RecipeError: what is wrong with the first such recipe.
    """
    broken = read_recipes()[1]
    for name in sorted(models_in(words, broken)) if words[:1] not in (["list"], ["help"]) else []:
        raise broken[name].error


def forget_recipes() -> None:
    """Forget the recipes and image lists that were read: they may have changed."""
    _read_all.cache_clear()
    _read_one.cache_clear()
    lists.read.cache_clear()


def find_recipe(name: str) -> Recipe:
    """The recipe of the model ``name``; it does not matter whether others load.

    No other recipe is read than the one that has it, if not all are read already: a step starts as fast in a zoo of
    many models as in a small one. That two recipes have one name shows where all are read, as ``dodo.py`` does.

    Raises:
        RecipeError: there is none, or it is wrong.
    """
    found, broken = read_recipes() if _read_all.cache_info().currsize else _read_one(name)
    if name in broken:
        raise broken[name].error
    if name not in found:
        raise RecipeError(
            f"there is no recipe for {as_text(name, 80)!r}{did_you_mean(name, [*found, *broken])}",
            hint="`doit list` shows every model",
        )
    return found[name]


@cache
def _read_one(name: str) -> tuple[dict[str, Recipe], dict[str, BrokenModel]]:
    """The models of the recipe that has the model ``name``; where no recipe says so, those of all recipes."""
    if _name_error(name, "") is None:
        for file in _nearest_first(name):
            loaded = _load(file)
            found = {recipe.name: recipe for recipe in loaded.found}
            if name in found or name in loaded.broken:
                return found, loaded.broken
    return read_recipes()


def _nearest_first(name: str) -> Iterator[Path]:
    """The recipes that may have a model: in its own folder, in one that begins its name, in any that mentions it."""
    words = name.split("_")
    near = [paths.RECIPES / "_".join(words[:count]) / "recipe.toml" for count in range(len(words), 0, -1)]
    yield from filter(os.path.lexists, near)
    for file in sorted(paths.RECIPES.glob("*/recipe.toml")):
        if file not in near and name in _text(file):
            yield file
