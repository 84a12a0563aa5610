"""Why a release is refused: every reason at once, each with what to do."""

from __future__ import annotations

import re
from typing import Any

from utils import paths
from utils.release import git, lock
from utils.release.model import ReleasedModel
from utils.tasks import task_of

__all__ = ["reasons"]

#: Files of a dirty tree that a message names.
_SHOWN = 5

#: Start of a private key, in the first bytes of a file.
_PRIVATE = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----|^PuTTY-User-Key-File-\d", re.MULTILINE)
_READ = 1 << 16


def reasons(models: list[ReleasedModel], *, takes_restored: bool = False) -> list[str]:
    """List the reasons against a release of these models; empty if there are none.

    ``takes_restored``: that a step cache has built a model is none.
    """
    found = _tree()
    locked = lock.load()["models"]
    for model in models:
        found += [f"{model.name}: {reason}" for reason in _model(model, locked.get(model.name))]
        if not takes_restored and (steps := lock.restored(model.steps())):
            hint = lock.BUILD_HERE.format(model=model.name)
            found.append(f"{model.name}: was not built here, the step cache had {', '.join(steps)}: {hint}")
    return found


def _tree() -> list[str]:
    changed = git.changed()
    keys = [name for name in changed if _is_private_key(name)]
    edited = [name for name, known in changed.items() if known and name not in keys]
    unknown = [name for name, known in changed.items() if not known and name not in keys]
    found = [f"{name} holds a private key, which must not be committed: move it out of the checkout" for name in keys]
    if edited:
        found.append(f"the tree is not clean: commit or restore {_some(edited)}")
    if unknown:
        found.append(
            f"git does not track {_some(unknown)}: commit it, move it out of the checkout, or add it to .gitignore"
        )
    return found


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _is_private_key(name: str) -> bool:
    """Whether a file contains a private key in PEM or PuTTY format, whatever its name."""
    try:
        with (paths.ROOT / name).open("rb") as stream:
            return _PRIVATE.search(stream.read(_READ)) is not None
    except OSError:  # removed, or not readable
        return False


def _model(model: ReleasedModel, locked: dict[str, Any] | None) -> list[str]:
    found = []
    if not lock.current(model.recipe):
        found.append(f"not built, or not what this checkout builds: doit {model.name}")
    try:
        manifest = model.manifest
    except (FileNotFoundError, ValueError):  # not built, or damaged: reported above
        return found + _sources(model, {})
    try:
        found += _sources(model, manifest["sources"])
        found += _verdicts(model, manifest["validation"]) + _accuracy(model, manifest["evaluation"])
        found += _lock(model, locked)
    except (KeyError, TypeError) as error:
        found.append(f"its manifest cannot be read ({type(error).__name__}: {error}): doit {model.name}")
    return found


def _sources(model: ReleasedModel, used: dict[str, Any]) -> list[str]:
    own = {key for key, source in used.items() if source.get("own")}
    replaced = set(model.weights) if own else set()
    found = [
        f"{used[key]['name']} are user-supplied weights without a licence: state it with weights_licence=NAME"
        for key in sorted(own)
        if not used[key].get("licence")
    ]
    where = f"recipes/{model.recipe.folder}/recipe.toml"
    found += [
        f"the source {source.file} is unpinned: put its sha256 into {where}: sources.{key}"
        for key, source in model.recipe.sources.items()
        if source.sha256 is None and key not in replaced
    ]
    forbidden = {licence for key, licence in model.withheld().items() if key in model.weights and key not in replaced}
    found += [
        f"the licence of its weights ({licence}) forbids redistribution: release it without this model"
        for licence in sorted(forbidden)
    ]
    return found


def _verdicts(model: ReleasedModel, validation: dict[str, Any]) -> list[str]:
    verdicts = {entry["file"]: entry["check"]["verdict"] for entry in validation["models"]}
    return [
        f"{file}: {'validation failed: ' + verdicts[file] if file in verdicts else 'was not validated'}"
        for file in model.artifacts
        if verdicts.get(file) != "PASS"
    ]


def _accuracy(model: ReleasedModel, evaluation: dict[str, Any]) -> list[str]:
    gate, metric = model.recipe.evaluation.gate, task_of(model.recipe).metric
    found = []
    for variant, result in evaluation["variants"].items():
        least = gate.least(variant) or 0.0
        if result["accuracy"] < least:
            found.append(f"{variant}: {result['accuracy']:.2f} % {metric} is below the gate of {least} %")
    return found


def _lock(model: ReleasedModel, locked: dict[str, Any] | None) -> list[str]:
    if locked is None:
        return ["is not in artifacts.lock: doit lock, look at the difference, commit"]
    wanted = {file: facts["sha256"] for file, facts in locked["artifacts"].items()}
    found = []
    for file in sorted(wanted.keys() | model.artifacts.keys()):
        sha256 = model.artifacts.get(file, {}).get("sha256")
        if sha256 != wanted.get(file):
            found.append(f"{file}: sha256 {sha256}, but artifacts.lock has {wanted.get(file)}: doit verify says more")
    return found
