"""verify: build again in a clean folder, and compare every artifact with ``artifacts.lock``."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from utils import files, paths
from utils.errors import ReleaseError
from utils.graph import record
from utils.recipe.load import find_recipe
from utils.release import clean, git, lock
from utils.release.parts import constants

__all__ = ["compare", "differs_from_lock", "locked_models", "tensors", "verify"]


def verify(models: list[str], *, takes_restored: bool = False) -> None:
    """Build ``models`` (none: all in the lock) from the tracked files of the checkout only.

    The sources come from the same cache and mirror. A build that differs is kept, so that you can look for the cause.
    No step comes from a step cache, and none is given to one.

    Args:
        models: names.
        takes_restored: take from the step cache what it has. This compares the cache with the lock.

    Raises:
        ReleaseError: an artifact differs, a build fails, nothing is locked.
    """
    if takes_restored and not os.environ.get("ZOO_STEPS"):
        raise ReleaseError("no step cache is named", where="restored=1", hint="set ZOO_STEPS=https://...")
    names, locked = locked_models(models)
    with clean.folder(_copy_tracked) as built:
        _build_and_compare(names, locked, built, takes_restored=takes_restored)


def locked_models(models: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The names of ``models`` (none: all in the lock), and the lock's entries.

    Raises:
        RecipeError: no recipe has this name.
        ReleaseError: one of them is not locked, or none is.
    """
    locked = lock.load()["models"]
    names = list(dict.fromkeys(find_recipe(name).name for name in models or locked))
    unlocked = [name for name in names if name not in locked]
    if unlocked or not names:
        raise ReleaseError(
            f"not locked: {', '.join(unlocked) or 'no model'}",
            where=paths.relative(paths.ARTIFACTS_LOCK),
            hint="build, check the result, then run `doit lock`",
        )
    return names, locked


def _copy_tracked(to: Path) -> Path:
    for name in git.tracked():
        if (paths.ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(paths.ROOT / name, to / name)
    return to


def _build_and_compare(names: list[str], locked: dict[str, Any], built: clean.Clean, *, takes_restored: bool) -> None:
    built.build(names, takes_restored=takes_restored)
    wrong = [line for name in names for line in compare(name, locked[name], built.bundle(name))]
    if takes_restored:
        for line in _describe_restored(names, built.root):
            print(line, flush=True)
    if wrong:
        raise differs_from_lock(wrong, built.root)


def differs_from_lock(wrong: list[str], kept: Path) -> ReleaseError:
    """The error for artifacts that are not those of the lock."""
    return ReleaseError(
        "\n  ".join(["the artifacts differ from the lock:", *wrong]),
        where=paths.relative(paths.ARTIFACTS_LOCK),
        hint=f"run `doit lock` only if the difference is intended; {paths.relative(kept)} is kept",
    )


def _describe_restored(names: list[str], root: Path) -> list[str]:
    """Say what was restored, by whom it is signed, and what equal hashes show then."""
    signers: Counter[str] = Counter()
    count = 0
    for name in names:
        for file in (root / "build" / name / "records").glob("*.json"):
            count += 1
            if (origin := record.load_origin(file)) is not None:
                signers[origin.get("signer", "")] += 1
    by = [f"{number} signed by {key}" if key else f"{number} unchecked" for key, number in sorted(signers.items())]
    lines = [f"{signers.total()} of {count} steps were restored from the step cache{': ' if by else ''}{', '.join(by)}"]
    if signers:
        lines += [
            "  shown: for this checkout, the step cache gives what artifacts.lock says",
            "  not shown: that this checkout's code makes these bytes; doit verify without restored=1 builds them",
        ]
    return lines


def compare(name: str, old: dict[str, Any], folder: Path) -> list[str]:
    """Say which artifacts of a bundle are those of its entry in the lock; returns how the others differ."""
    new = lock.entry(folder)
    wrong = []
    for file in sorted(old["artifacts"].keys() | new["artifacts"].keys()):
        before, after = old["artifacts"].get(file), new["artifacts"].get(file)
        if before is None or after is None:
            wrong.append(f"{file}: {'is not in the lock' if before is None else 'was not built'}")
        elif lines := lock.differences(before, after):
            wrong.append(f"{file}: {lines[0]}")
            wrong += [f"  {line}" for line in (*lines[1:], *_tensors(name, file, before, folder))]
        else:
            print(f"{file}: identical, {after['size']:,} bytes, {after['accuracy']:.2f} % {after['metric']}")
    if wrong:
        for key in ("image", "requirements_sha256", "tools"):
            if old[key] != new[key]:
                wrong.append(f"{name}: {_environment_change(key, old[key], new[key])}")
    return wrong


def _environment_change(key: str, old: Any, new: Any) -> str:
    if not isinstance(old, dict):
        return f"{key} was {old}, is {new}"
    moved = [
        f"{tool} {old.get(tool)} -> {new.get(tool)}" for tool in sorted(old | new) if old.get(tool) != new.get(tool)
    ]
    return f"{key}: {', '.join(moved)}"


def _tensors(name: str, file: str, before: dict[str, Any], folder: Path) -> list[str]:
    """List the tensors that differ, if artifacts/ still has the file of the lock."""
    at_hand = paths.bundle(name) / file
    if not at_hand.is_file() or files.sha256(at_hand) != before["sha256"]:
        return []
    return tensors(at_hand, folder / file)


def tensors(old_file: Path, new_file: Path) -> list[str]:
    """List the constant tensors that differ between two .tflite files."""
    old, new = constants(old_file), constants(new_file)
    lines = []
    for tensor in sorted(old.keys() | new.keys()):
        a, b = old.get(tensor, b""), new.get(tensor, b"")
        if a != b:
            count = sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
            lines.append(f"{tensor}: {count:,} of {max(len(a), len(b)):,} bytes")
    return [*lines[:8], *([f"and {len(lines) - 8} more tensors"] if len(lines) > 8 else [])]
