"""verify: build again in a clean folder, and compare every artifact with ``artifacts.lock``."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from utils import files, paths
from utils.errors import ReleaseError, storage_error
from utils.graph import record
from utils.recipe.load import find_recipe
from utils.release import git, lock
from utils.release.parts import constants

__all__ = ["verify"]


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
    locked = lock.load()["models"]
    names = [find_recipe(name).name for name in models or locked]
    unlocked = [name for name in names if name not in locked]
    if unlocked or not names:
        raise ReleaseError(
            f"not locked: {', '.join(unlocked) or 'no model'}",
            where=paths.relative(paths.ARTIFACTS_LOCK),
            hint="build, check the result, then run `doit lock`",
        )
    with contextlib.ExitStack() as stack:
        try:
            staging = stack.enter_context(files.staging(paths.BUILD, "verify."))
            _copy_tracked(staging.folder)
        except OSError as error:
            raise storage_error(error) from error
        staging.keep = True
        _build_and_compare(names, locked, staging, takes_restored=takes_restored)
        staging.keep = False


def _copy_tracked(clean: Path) -> None:
    for name in git.tracked():
        if (paths.ROOT / name).is_file():
            (clean / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(paths.ROOT / name, clean / name)


def _build_and_compare(
    names: list[str], locked: dict[str, Any], staging: files.Staging, *, takes_restored: bool
) -> None:
    clean = staging.folder
    verb = "building or restoring" if takes_restored else "building"
    print(f"{verb} {', '.join(names)} in {paths.relative(clean)}", flush=True)
    build = [sys.executable, "-m", "doit", *names]
    env = _environment(takes_restored=takes_restored)
    done = subprocess.run(build, cwd=clean, env=env, pass_fds=(staging.lock,))  # in use while it builds
    if done.returncode:
        raise ReleaseError("the build in a clean folder failed; see above", where=paths.relative(clean))
    wrong = [line for name in names for line in _compare(name, locked[name], clean / "artifacts" / name)]
    if takes_restored:
        for line in _describe_restored(names, clean):
            print(line, flush=True)
    if wrong:
        raise ReleaseError(
            "\n  ".join(["the artifacts differ from the lock:", *wrong]),
            where=paths.relative(paths.ARTIFACTS_LOCK),
            hint=f"run `doit lock` only if the difference is intended; {paths.relative(clean)} is kept",
        )


def _describe_restored(names: list[str], clean: Path) -> list[str]:
    """Say what was restored, by whom it is signed, and what equal hashes show then."""
    signers: Counter[str] = Counter()
    count = 0
    for name in names:
        for file in (clean / "build" / name / "records").glob("*.json"):
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


def _environment(*, takes_restored: bool) -> dict[str, str]:
    """Make the paths of cache and mirror absolute; all steps run here.

    A step cache is only read, and only when it was asked for.
    """
    found = {
        key: value
        for key, value in os.environ.items()
        if key not in ("ZOO_PARENT", "ZOO_ENGINE", "ZOO_STEPS_WRITE", "ZOO_STEPS_KEY")
        and (takes_restored or not key.startswith("ZOO_STEPS"))
    }
    for name in ("ZOO_STEPS_PUBKEY", "ZOO_TLS"):
        if found.get(name):
            found[name] = str(Path(found[name]).expanduser().absolute())
    found["ZOO_CACHE"] = str(paths.cache().absolute())
    mirror = found.get("ZOO_MIRROR", "")
    if mirror and not mirror.lower().startswith(("http://", "https://")):
        found["ZOO_MIRROR"] = str(Path(mirror).absolute())
    return found


def _compare(name: str, old: dict[str, Any], folder: Path) -> list[str]:
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
    old, new = constants(at_hand), constants(folder / file)
    lines = []
    for tensor in sorted(old.keys() | new.keys()):
        a, b = old.get(tensor, b""), new.get(tensor, b"")
        if a != b:
            count = sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
            lines.append(f"{tensor}: {count:,} of {max(len(a), len(b)):,} bytes")
    return [*lines[:8], *([f"and {len(lines) - 8} more tensors"] if len(lines) > 8 else [])]
