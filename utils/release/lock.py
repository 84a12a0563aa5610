"""``artifacts.lock``: what every artifact has to be, kept in git so that a change of bytes is a change that people see.

::

    {"format": 1,
     "models": {MODEL: {"artifacts": {FILE: {"sha256", "size", "metric", "accuracy", "parts"}},
                        "image", "requirements_sha256", "tools"}},
     "sources": {URL: {"name", "sha256", "size", "urls"}}}

``parts`` are sha256 of the weights, the graph and the metadata in a .tflite, so that a difference can be named where
the old file is gone. ``image`` is the base of the image in which the bundle was locked, null in a venv. ``sources`` are
those that nobody publishes a sha256 for, by their first address: what their first fetch brought. Both are the same
thing, hashes that this project saw and not ones that an upstream vouches for, and so one command records both.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils import files, paths
from utils.errors import STORAGE, ReleaseError, storage_error
from utils.graph import layout, plan
from utils.recipe.load import find_recipe, load_recipes
from utils.recipe.schema import Recipe
from utils.release.parts import parts
from utils.sources import cache
from utils.sources.source import Source
from utils.untrusted import parse_as, parse_json, read_untrusted

__all__ = ["FORMAT", "current", "entry", "load", "update"]

FORMAT = 1

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
    name: str = ""  # earlier locks had it for a key
    sha256: _Sha256
    size: int
    urls: Annotated[list[str], Field(min_length=1)]


class _Lock(_Closed):
    format: Literal[1]
    models: dict[str, _Model]
    sources: dict[str, _Source]


def load() -> dict[str, Any]:
    """What the lock says; nothing locked where there is none.

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
        raise ReleaseError("is no lock that this version knows", where=where, hint=hint)
    parse_as(_Lock, text, where=where, error=ReleaseError, hint=hint)
    return found


def current(recipe: Recipe) -> bool:
    """Whether the bundle in ``artifacts/`` is what this checkout builds, to the last file."""
    return all(step.is_current() for step in plan.steps_of(recipe))


def entry(folder: Path) -> dict[str, Any]:
    """What the lock says of the bundle in ``folder``."""
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
    """The base that the image around this process was built from, which the image itself says; None in a venv."""
    inside = os.environ.get("NXP_MODEL_ZOO_IMAGE")
    return (inside and os.environ.get("NXP_MODEL_ZOO_BASE")) or None


def update(models: list[str]) -> None:
    """Write the bundles that are there, and the hashes of unpinned sources, into the lock.

    Args:
        models: names; none: all that are built. What is not named, or not built here, keeps what was locked.

    Raises:
        ReleaseError: a named model is not built.
    """
    lock = load()
    known = load_recipes()
    for gone in sorted(lock["models"].keys() - known.keys()):
        del lock["models"][gone]
        print(f"{gone}: there is no recipe any more, taken out")
    for recipe in [find_recipe(name) for name in models] or known.values():
        if not current(recipe):
            if models:
                raise ReleaseError(
                    "is not built, or not from this checkout", where=recipe.name, hint=f"doit {recipe.name}"
                )
            print(f"{recipe.name}: not built here, left as it is")
            continue
        old, new = lock["models"].get(recipe.name, {}), entry(paths.bundle(recipe.name))
        if {**old, "image": None} != {**new, "image": None}:  # another image around the same bytes changes nothing
            lock["models"][recipe.name] = new
        for file, facts in new["artifacts"].items():
            print(f"{file}: {_change(old.get('artifacts', {}).get(file), facts)}")
    everywhere = [source for recipe in known.values() for source in _unpinned(recipe)]
    recorded = {source.urls[0]: fact for source in everywhere if (fact := _recorded(source))}
    before = {fact["urls"][0]: {"name": key, **fact} for key, fact in lock["sources"].items()}  # keys were file names
    for address, fact in recorded.items():
        if before.get(address, fact)["sha256"] != fact["sha256"]:
            print(f"{fact['name']}: unpinned, and no longer the file it was: {fact['sha256']}")
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
    return "as it was" if old == new else "; ".join(differences(old, new))


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two entries of one artifact, for people; empty where they are the same bytes."""
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
