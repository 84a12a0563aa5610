"""The table at the end of a build: what each model has become, and what to type next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from utils import limits, paths
from utils.errors import BuildError, ZooError
from utils.graph import layout
from utils.recipe.load import read_recipes
from utils.recipe.schema import Recipe
from utils.terminal import format_size
from utils.untrusted import parse_json, read_bounded

__all__ = ["Facts", "find_facts", "make_table", "name_next_commands"]

#: What is known of a built model: accuracy in % by variant, ``bytes`` of the file for boards, ``verdict``.
Facts = dict[str, Any]


def find_facts(recipe: Recipe) -> Facts:
    """What the last build of a model measured; empty where it was not built, or cannot be read."""
    evaluation, validation = _load(recipe, "evaluation"), _load(recipe, "validation")
    try:
        variants = evaluation["variants"]
        verdicts = [entry["check"]["verdict"] for entry in validation["models"]]
        return {
            "accuracy": {name: float(result["accuracy"]) for name, result in variants.items()},
            "metric": str(evaluation["metric"]),
            "count": int(evaluation["count"]),
            "bytes": (paths.bundle(recipe.name) / layout.deployed(recipe)).stat().st_size,
            "verdict": next((verdict for verdict in verdicts if verdict != "PASS"), "PASS"),
        }
    except (OSError, KeyError, TypeError, ValueError):
        return {}


def _load(recipe: Recipe, name: str) -> dict[str, Any]:
    file = paths.work(recipe.name) / f"{name}.json"
    try:
        found = parse_json(read_bounded(file, limits.JSON_BYTES), where=file.name, error=BuildError)
    except (OSError, ZooError):
        return {}
    return found if isinstance(found, dict) else {}


def make_table(steps: Iterable[str], spent: Mapping[str, float], failed: Collection[str]) -> list[str]:
    """The lines of the table; a model of which no step ran well has none: what failed is told below.

    Args:
        steps: all that were asked for, ``model:step``.
        spent: seconds of those that ran.
        failed: those that failed.
    """
    recipes = read_recipes()[0]
    names = [name for name in dict.fromkeys(step.partition(":")[0] for step in steps) if name in recipes]
    rows: list[tuple[str, ...]] = [("bundle", "float32", "int8", "size", "verdict", "seconds")]
    for name in names:
        facts = find_facts(recipes[name])
        ran = [step for step in spent if step.partition(":")[0] == name]
        wrong = next((step.partition(":")[2] for step in failed if step.partition(":")[0] == name), "")
        if wrong and set(ran) <= set(failed):
            continue
        seconds = sum(spent[step] for step in ran)
        accuracy = facts.get("accuracy", {}) if not wrong else {}
        floats = next((f"{value:.2f} %" for key, value in accuracy.items() if key == "float32"), "-")
        integers = next((f"{value:.2f} %{' (uint8)' if key == 'uint8' else ''}" for key, value in accuracy.items()
                         if key != "float32"), "-")  # fmt: skip
        rows.append((
            paths.relative(paths.bundle(name)) if not wrong else name,
            floats,
            integers,
            format_size(facts["bytes"]) if facts and not wrong else "-",
            f"FAILED: {wrong}" if wrong else facts.get("verdict", "-"),
            f"{seconds:.1f}" if seconds else "-",
        ))  # fmt: skip
    return [""] + [line.rstrip() for line in _align(rows)] if len(rows) > 1 else []


def _align(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (
            cell.ljust(width) if column in (0, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]))
    return lines


def name_next_commands(steps: Iterable[str]) -> list[str]:
    """What to type after a build, with what it does."""
    names = [step.partition(":")[0] for step in steps if step.endswith(":card")]
    if not names:
        return []
    bundle = paths.relative(paths.bundle(names[-1]))
    commands = [
        (f"docker/run python {bundle}/example.py", "check it here"),
        (f"docker/run doit board:{names[-1]} target=root@HOST", "on your board"),
    ]
    width = max(len(command) for command, _ in commands)
    head = ("next: ", "      ")
    return [f"{head[n > 0]}{command:<{width}}  {what}" for n, (command, what) in enumerate(commands)]
