"""Build a release or the lock again from its commit, compare, and sign what was found (``utils/attest``).

The bytes of a commit are the same on every machine with the promise of identical bytes, so others can confirm them with
their own machine and their own key. A difference is signed, too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from utils import environment, files, paths
from utils.attest import rebuilds, statement
from utils.errors import ReleaseError, UsageError, did_you_mean, storage_error
from utils.release import clean, git, sign, verify
from utils.release.archive import read_archive
from utils.release.check import check, index_of
from utils.release.pack import release_of
from utils.release.parts import parts
from utils.sources.unpack import unpack
from utils.untrusted import as_text

__all__ = ["rebuild"]

_HERE = "docker/run doit verify ..., on x86-64 with AVX2"


@dataclass(frozen=True)
class _Wanted:
    """What is built again.

    Attributes:
        title: for messages.
        commit: of which all of it was built.
        resource: what statements call it.
        artifacts: model -> file -> sha256.
        provenance: model -> file -> sha256 of its provenance.
        folder: where statements go.
        compare: model, folder of the new bundle, folder for more files -> how the artifacts differ.
        differs: the error for what differs, with the folder that is kept.
    """

    title: str
    commit: str
    resource: str
    artifacts: Mapping[str, Mapping[str, str]]
    provenance: Mapping[str, Mapping[str, str]]
    folder: Path
    compare: Callable[[str, Path, Path], list[str]]
    differs: Callable[[list[str], Path], ReleaseError]


def rebuild(
    models: list[str], *, key: Path | None, release: str = "", to: Path | None = None, takes_restored: bool = False
) -> None:
    """Build models again in a clean checkout of their commit, compare, and write a signed statement for each.

    Args:
        models: names; none: all.
        key: the key that signs; without it, nothing is written.
        release: the folder of a release, or ``oci:FOLDER/MODEL:VERSION`` or ``oci://HOST/REPO/MODEL:VERSION``; empty:
            artifacts.lock at this commit.
        to: where statements go.
        takes_restored: refused: what is restored is not built.

    Raises:
        UsageError: options that exclude each other.
        ReleaseError: the key cannot be used, or has said otherwise before; the commit is not in this clone, or needs
            another environment; a build fails, or differs.
        StorageError: the statements cannot be written.
    """
    if takes_restored:
        what = "key= and release= ask for a build, and restored=1 takes what others have built"
        raise UsageError(what, where="restored=1", hint="leave restored=1 out")
    if to is not None and key is None:
        raise UsageError("to= is for signed statements, and no key signs them", where="to=", hint="add key=FILE")
    private = sign.check_private(key) if key is not None else None
    wanted = _find_published(release, models) if release else _find_locked(models)
    for model, artifacts in wanted.artifacts.items():  # of strangers: refused before their names become paths
        _make_statement(wanted, model, artifacts)
    folder = to or wanted.folder
    if private is not None:
        _require_writable(folder)
    with clean.folder(lambda place: _check_out(wanted, place)) as built:
        built.build(list(wanted.artifacts), takes_weights=False)
        wrong: list[str] = []
        refused: list[str] = []
        for model, artifacts in wanted.artifacts.items():
            found = wanted.compare(model, built.bundle(model), built.root / "released")
            wrong += found
            if private is None:
                continue
            made = {file: _sha256(built.bundle(model) / file) for file in artifacts}
            if found and made == artifacts:  # PASSED would hide it
                wrong.append(f"{model}: not signed: the files of the statement are identical, and the model is not")
                continue
            try:
                file = rebuilds.write(folder, _make_statement(wanted, model, made), model, private)
            except ReleaseError as error:  # the other models are built, too
                refused.append(str(error))
                continue
            print(f"{paths.relative(file)}: {'PASSED' if made == artifacts else 'FAILED'}, signed", flush=True)
        if wrong:
            raise wanted.differs([*wrong, *refused], built.root)
        if refused:
            raise ReleaseError("\n".join(refused))
    count = sum(map(len, wanted.artifacts.values()))
    print(f"{wanted.title} of {wanted.commit[:12]}: {count} artifacts rebuilt, all identical", flush=True)


# What is built again


def _find_locked(models: list[str]) -> _Wanted:
    names, locked = verify.locked_models(models)
    lock = paths.relative(paths.ARTIFACTS_LOCK)
    ours = f"{paths.relative(paths.REBUILDS)}/"
    changed = [name for name, known in git.changed().items() if (known or name == lock) and not name.startswith(ours)]
    if changed:
        raise ReleaseError(
            f"the statement names a commit, and the checkout differs from it: {as_text(', '.join(sorted(changed)))}",
            where="key=",
            hint="commit or restore these files",
        )
    return _Wanted(
        title=lock,
        commit=git.commit(),
        resource=statement.LOCK,
        artifacts={
            name: {file: facts["sha256"] for file, facts in sorted(locked[name]["artifacts"].items())} for name in names
        },
        provenance={},
        folder=paths.REBUILDS,
        compare=lambda model, bundle, _: verify.compare(model, locked[model], bundle),
        differs=verify.differs_from_lock,
    )


def _find_published(release: str, models: list[str]) -> _Wanted:
    if release.startswith("oci:"):
        return _find_pulled(release, models)
    if "://" in release:
        hint = "name a folder, oci:FOLDER/MODEL:VERSION or oci://HOST/REPO/MODEL:VERSION"
        raise ReleaseError(f"{as_text(release)} is not a release", where="release=", hint=hint)
    return _find_released(Path(release), models)


def _find_released(release: Path, models: list[str]) -> _Wanted:
    print(check(release, None)[-1], flush=True)
    index = index_of(release)
    artifacts = {
        model: {file: facts["sha256"] for file, facts in sorted(index["models"][model]["artifacts"].items())}
        for model in _choose(models, index["models"], str(release))
    }
    provenance = {
        model: {file: files.sha256(release / "provenance" / f"{file}.json") for file in known}
        for model, known in artifacts.items()
    }

    def compare(model: str, bundle: Path, place: Path) -> list[str]:
        return _compare(
            artifacts[model], bundle, place / model, lambda: read_archive(release / index["models"][model]["archive"])
        )

    return _Wanted(
        title=f"release {index['version']}",
        commit=index["commit"],
        resource=statement.release_uri(index["version"]),
        artifacts=artifacts,
        provenance=provenance,
        folder=rebuilds.folder_of(release),
        compare=compare,
        differs=_differs(str(release)),
    )


def _find_pulled(reference: str, models: list[str]) -> _Wanted:
    from utils.release.pull import pull_model

    found = pull_model(reference)
    where = as_text(reference)
    artifacts = {
        model: dict(sorted(found.artifacts.items())) for model in _choose(models, {found.model: found.artifacts}, where)
    }
    digests = {
        PurePosixPath(name).name.removesuffix(".json"): hashlib.sha256(data).hexdigest()
        for name, data in found.provenance.items()
    }
    if missing := sorted(found.artifacts.keys() - digests.keys()):
        raise ReleaseError(f"has no provenance of {', '.join(missing)}", where=where, hint="publish it again")
    return _Wanted(
        title=f"{found.model} of release {found.version}",
        commit=found.commit,
        resource=statement.release_uri(found.version),
        artifacts=artifacts,
        provenance={found.model: {file: digests[file] for file in found.artifacts}},
        folder=rebuilds.folder_of(release_of(found.version)),
        compare=lambda model, bundle, place: _compare(artifacts[model], bundle, place / model, dict),
        differs=_differs(where),
    )


def _choose(models: list[str], known: Mapping[str, Any], where: str) -> list[str]:
    """The models that are named; none: all.

    Raises:
        ReleaseError: the release does not have one of them.
    """
    for name in models:
        if name not in known:
            what = f"the release has no model {as_text(name, 80)!r}{did_you_mean(name, known)}"
            raise ReleaseError(what, where=where, hint=f"it has {', '.join(sorted(known))}")
    return sorted({*models} or known)


# A clean checkout of its commit


def _check_out(wanted: _Wanted, place: Path) -> Path:
    """Unpack the files of the commit, and make sure that this environment can make its bytes."""
    git.require_commit(wanted.commit, where=wanted.title)
    git.archive(wanted.commit, place / "commit.tar")
    root = unpack(place / "commit.tar", place / "checkout")
    (place / "commit.tar").unlink()
    _require_lock(wanted, root)
    _require_models(wanted, root)
    return root


def _require_lock(wanted: _Wanted, root: Path) -> None:
    promised = environment.promised_lock()
    if promised is None:
        what = "this environment does not promise identical bytes: a difference would mean nothing"
        raise ReleaseError(what, where=paths.relative(paths.LOCK), hint=_HERE)
    lock = root / paths.relative(paths.LOCK)
    if not lock.is_file() or files.sha256(lock) != promised:
        commit = wanted.commit[:12]
        raise ReleaseError(
            f"the commit {commit} locks other packages than this environment has",
            where=wanted.title,
            hint=f"git clone . ../zoo-{commit}, check {commit} out there, and run docker/run doit verify there",
        )


def _require_models(wanted: _Wanted, root: Path) -> None:
    """Refuse names that are no models of the commit: doit would take them for its own words."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in sorted(root.glob("recipes/*/recipe.toml")))
    for model in wanted.artifacts:
        alone = (root / "recipes" / model / "recipe.toml").is_file()
        if not alone and not re.search(rf"^\[model\.{re.escape(model)}\]", text, re.MULTILINE):
            what = f"the commit {wanted.commit[:12]} has no model {as_text(model, 80)!r}"
            raise ReleaseError(what, where=wanted.title, hint="it was not built from this commit; do not use it")


# What was found


def _sha256(file: Path) -> str:
    return files.sha256(file) if file.is_file() else ""


def _compare(
    artifacts: Mapping[str, str], bundle: Path, place: Path, released: Callable[[], Mapping[str, bytes]]
) -> list[str]:
    """Say which artifacts are those of a release; returns how the others differ.

    Args:
        artifacts: file -> sha256.
        bundle: what was built.
        place: a folder for the released files of those that differ.
        released: reads the release's files.
    """
    wrong = []
    for file, sha256 in artifacts.items():
        made = _sha256(bundle / file)
        if made == sha256:
            print(f"{file}: identical, sha256 {sha256}", flush=True)
        elif not made:
            wrong.append(f"{file}: was not built; released is sha256 {sha256}")
        else:
            wrong += [f"{file}: released is sha256 {sha256}", f"{' ' * len(file)}  rebuilt is  sha256 {made}"]
            wrong += [f"  {line}" for line in _explain(released().get(file), bundle / file, place / file)]
    return wrong


def _explain(released: bytes | None, rebuilt: Path, place: Path) -> list[str]:
    """Say in which parts a released file differs, and keep it beside the new one; empty if it is not at hand."""
    if released is None:
        return []
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(released)
    try:
        old, new = parts(place), parts(rebuilt)
        changed = [part for part in old if old[part] != new.get(part)]
        return [
            f"{' and '.join(changed) or 'only the layout of the file'}: not the same",
            *verify.tensors(place, rebuilt),
        ]
    except Exception as error:  # a stranger's file makes its reader raise anything
        return [f"cannot be compared part by part: {as_text(error, 200)}"]


def _differs(where: str) -> Callable[[list[str], Path], ReleaseError]:
    def differs(wrong: list[str], kept: Path) -> ReleaseError:
        what = "\n  ".join(["the artifacts differ from the release:", *wrong])
        return ReleaseError(
            what, where=where, hint=f"do not use it before you know why; {paths.relative(kept)} is kept"
        )

    return differs


def _make_statement(wanted: _Wanted, model: str, made: Mapping[str, str]) -> dict[str, Any]:
    return statement.make(
        model=model,
        commit=wanted.commit,
        resource=wanted.resource,
        subjects=wanted.artifacts[model],
        rebuilt=made,
        provenance=wanted.provenance.get(model, {}),
        environment=_environment(),
        tools=environment.versions(),
        time=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _environment() -> statement.Environment:
    image = os.environ.get("NXP_MODEL_ZOO_IMAGE", "")
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        cpu = ""
    return statement.Environment(
        kind="image" if image else "venv",
        image=image.removeprefix("sha256:") if image.startswith("sha256:") else None,  # a plain docker run has none
        requirements_sha256=environment.lock_sha256(),
        cpu=statement.cpu_model(cpu),
        python=platform.python_version(),
    )


def _require_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written before an hour of building.

    Raises:
        StorageError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise storage_error(error, str(folder)) from None
