"""``artifacts.lock``: the expected hash of every artifact, in git, so that a change of bytes shows in a review.

::

    {"format": 1,
     "models": {MODEL: {"artifacts": {FILE: {"sha256", "size", "metric", "accuracy", "parts"}},
                        "image", "requirements_sha256", "tools"}},
     "sources": {URL: {"name", "sha256", "size", "urls"}}}

``parts`` are the sha256 of the weights, the graph and the metadata in a .tflite: they locate a difference even if the
old file is gone. ``image`` is the base of the image in which the bundle was locked, null in a venv. ``sources`` are the
unpinned ones, by their first address, with the hash of their first fetch. Both are hashes that this project recorded
and no upstream vouches for, so one command records both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils import files, paths
from utils.errors import STORAGE, ReleaseError, storage_error
from utils.graph import layout, plan
from utils.graph.step import Step
from utils.recipe.load import find_recipe, load_recipes
from utils.recipe.schema import Recipe
from utils.release.parts import parts
from utils.sources import cache
from utils.sources.source import Source
from utils.untrusted import parse_as, parse_json, read_untrusted

__all__ = ["BUILD_HERE", "FORMAT", "current", "entry", "load", "restored", "update"]

FORMAT = 1

#: What to do about a model that was restored.
BUILD_HERE = "ZOO_STEPS= doit clean {model}, then ZOO_STEPS= doit {model}; or restored=1, if you trust who built it"

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Artifact(_Closed):
    sha256: _Sha256
    size: int
    metric: str
    accuracy: float
    parts: dict[Literal["graph", "metadata", "weights"], _Sha256]


class _Model(_Closed):
    artifacts: dict[str, _Artifact]
    image: str | None
    requirements_sha256: _Sha256
    tools: dict[str, str]


class _Source(_Closed):
    name: str = ""  # the key in earlier locks
    sha256: _Sha256
    size: int
    urls: Annotated[list[str], Field(min_length=1)]


class _Lock(_Closed):
    format: Literal[1]
    models: dict[str, _Model]
    sources: dict[str, _Source]


def load() -> dict[str, Any]:
    """Load the lock; empty if there is none.

    Raises:
        ReleaseError: the file cannot be read.
    """
    where = paths.relative(paths.ARTIFACTS_LOCK)
    if not os.path.lexists(paths.ARTIFACTS_LOCK):
        return {"format": FORMAT, "models": {}, "sources": {}}
    hint = f"git checkout {where}"
    text = read_untrusted(paths.ARTIFACTS_LOCK, where=where, error=ReleaseError, hint=hint)
    found = parse_json(text, where=where, error=ReleaseError, hint=hint)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ReleaseError("is a lock of an unknown format", where=where, hint=hint)
    parse_as(_Lock, text, where=where, error=ReleaseError, hint=hint)
    return found


def current(recipe: Recipe) -> bool:
    """Whether every file of the bundle in ``artifacts/`` is what this checkout builds."""
    return all(step.is_current() for step in plan.steps_of(recipe))


def restored(steps: Iterable[Step]) -> list[str]:
    """The names of those steps that were restored from a step cache: this machine has not built them."""
    return [step.name for step in steps if step.origin() is not None]


def entry(folder: Path) -> dict[str, Any]:
    """Make the lock's entry of the bundle in ``folder``."""
    manifest = files.load_json(folder / "manifest.json")
    evaluation, environment = manifest["evaluation"], manifest["environment"]
    artifacts = {}
    for variant, result in evaluation["variants"].items():
        file = folder / layout.model_name(manifest["model"], variant)
        artifacts[file.name] = {
            **files.describe_file(file),
            "metric": evaluation["metric"],
            "accuracy": result["accuracy"],
            "parts": parts(file),
        }
    return {
        "artifacts": artifacts,
        "image": base_image(),
        "requirements_sha256": environment["requirements_sha256"],
        "tools": environment["tools"],
    }


def base_image() -> str | None:
    """Get the base of the image that this process runs in, as the image states it; None in a venv."""
    inside = os.environ.get("NXP_MODEL_ZOO_IMAGE")
    return (inside and os.environ.get("NXP_MODEL_ZOO_BASE")) or None


def update(models: list[str], *, takes_restored: bool = False) -> None:
    """Write the built bundles, and the hashes of unpinned sources, into the lock.

    Args:
        models: names; none: all that are built. Other models keep their entries.
        takes_restored: also what a step cache has built.

    Raises:
        ReleaseError: a named model is not built, or was restored from a step cache.
    """
    lock = load()
    known = load_recipes()
    for gone in sorted(lock["models"].keys() - known.keys()):
        del lock["models"][gone]
        print(f"{gone}: has no recipe any more, removed")
    for recipe in [find_recipe(name) for name in models] or known.values():
        if not current(recipe):
            if models:
                raise ReleaseError(
                    "is not built, or not from this checkout", where=recipe.name, hint=f"doit {recipe.name}"
                )
            print(f"{recipe.name}: not built here, unchanged")
            continue
        if not takes_restored and (steps := restored(plan.steps_of(recipe))):
            what = f"was not built here: the step cache had {', '.join(steps)}"
            if models:
                raise ReleaseError(what, where=recipe.name, hint=BUILD_HERE.format(model=recipe.name))
            print(f"{recipe.name}: {what}; unchanged")
            continue
        old, new = lock["models"].get(recipe.name, {}), entry(paths.bundle(recipe.name))
        if {**old, "image": None} != {**new, "image": None}:  # the same bytes from another image change nothing
            lock["models"][recipe.name] = new
        for file, facts in new["artifacts"].items():
            print(f"{file}: {_change(old.get('artifacts', {}).get(file), facts)}")
    everywhere = [source for recipe in known.values() for source in _unpinned(recipe)]
    recorded = {source.urls[0]: fact for source in everywhere if (fact := _recorded(source))}
    before = {
        fact["urls"][0]: {"name": key, **fact} for key, fact in lock["sources"].items()
    }  # earlier keys were file names
    for address, fact in recorded.items():
        if before.get(address, fact)["sha256"] != fact["sha256"]:
            print(f"{fact['name']}: unpinned, and its content changed: {fact['sha256']}")
    used = {source.urls[0] for source in everywhere}
    lock["sources"] = {address: fact for address, fact in (before | recorded).items() if address in used}
    _write(lock)
    print(f"{paths.relative(paths.ARTIFACTS_LOCK)}: {len(lock['models'])} models, {len(lock['sources'])} sources")


def _unpinned(recipe: Recipe) -> list[Source]:
    return [source for step in plan.steps_of(recipe) for source in step.fetches if source.unpinned]


def _recorded(source: Source) -> dict[str, Any] | None:
    file = cache.cached(source)
    return {"name": source.name, **files.describe_file(file), "urls": list(source.urls)} if file else None


def _change(old: dict[str, Any] | None, new: dict[str, Any]) -> str:
    if old is None:
        return f"new, {new['accuracy']:.2f} % {new['metric']}"
    return "unchanged" if old == new else "; ".join(differences(old, new))


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Describe the differences between two entries of one artifact; empty if the bytes are equal."""
    if old["sha256"] == new["sha256"]:
        return []
    changed = [part for part in old["parts"] if old["parts"][part] != new["parts"].get(part)]
    moved = new["accuracy"] - old["accuracy"]
    what = " and ".join(changed) or "only the layout of the file"
    size = f"{old['size']:,} -> " if old["size"] != new["size"] else ""
    return [
        f"{what} differ{'' if len(changed) > 1 else 's'}",
        f"{size}{new['size']:,} bytes",
        f"{new['metric']} {old['accuracy']:.2f} % -> {new['accuracy']:.2f} % ({moved:+.2f} points)",
        f"sha256 {old['sha256'][:16]}... -> {new['sha256'][:16]}...",
    ]


def _write(lock: dict[str, Any]) -> None:
    try:
        files.write_whole(paths.ARTIFACTS_LOCK, files.dump_json(lock))
    except OSError as error:
        if error.errno not in STORAGE:
            raise
        raise storage_error(error, paths.relative(paths.ARTIFACTS_LOCK)) from None
