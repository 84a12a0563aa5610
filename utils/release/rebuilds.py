"""Statements about rebuilds on their way to where a release is published: read, checked, and held against it.

They are made by others and at other times than the release. So a published version does not change, but statements are
added to it: beside its folder, as referrers of its manifest, or beside its card on a hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import files, limits, paths
from utils.attest.statement import version_of_uri
from utils.catalogue.facts import is_name
from utils.errors import PublishError, ReleaseError
from utils.release import signer
from utils.release.versions import precedence_of
from utils.untrusted import as_text, read_bounded

if TYPE_CHECKING:
    from utils.attest.rebuilds import Rebuild

__all__ = [
    "Statement",
    "describe_added",
    "of_release",
    "read_folder",
    "require_fit",
    "select_for_folder",
    "select_new",
    "tell_refuted",
    "write_beside",
]

_REMOVE = "remove it; ask its owner for another"


@dataclass(frozen=True)
class Statement:
    """A signed statement, whose signature is that of the key that it names.

    Attributes:
        name: of its file, which its key decides.
        file: where it was read, for messages.
        text: its bytes.
        version: of the release that it is about.
        facts: what it says.
    """

    name: str
    file: str
    text: bytes
    version: str
    facts: Rebuild


def read_folder(folder: Path) -> dict[tuple[str, str], list[Statement]]:
    """Read every statement of ``FOLDER/MODEL/KEY.json``; model and version -> statements.

    Raises:
        PublishError: there is none, or one is not about a release.
        ReleaseError: one is damaged, or not what its name says.
    """
    try:
        models = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name != paths.REBUILD_KEYS)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise PublishError(what, where=f"rebuilds={folder}", hint="name a folder of statements") from None
    found: dict[tuple[str, str], list[Statement]] = {}
    for model in filter(is_name, models):
        for statement in _read(folder, model):
            found.setdefault((model, statement.version), []).append(statement)
    if not found:
        hint = "`doit verify release=PATH key=FILE` makes PATH.rebuilds/MODEL/KEY.json"
        raise PublishError("has no statement", where=f"rebuilds={folder}", hint=hint)
    return found


def of_release(release: Path, index: dict[str, Any]) -> dict[str, list[Statement]]:
    """Read the statements beside a release, and hold each against it; model -> statements.

    Raises:
        PublishError: one is about something else.
        ReleaseError: one is damaged.
    """
    from utils.attest import rebuilds

    folder = rebuilds.folder_of(release)
    found = {model: _read(folder, model) for model in index["models"]} if folder.is_dir() else {}
    for model, statements in found.items():
        artifacts = {file: facts["sha256"] for file, facts in index["models"][model]["artifacts"].items()}
        for statement in statements:
            require_fit(
                statement, index["version"], artifacts, index["commit"], index["files"], where=f"{folder}/{model}"
            )
    return {model: statements for model, statements in found.items() if statements}


def require_fit(
    statement: Statement,
    version: str,
    artifacts: Mapping[str, str],
    commit: str = "",
    provenance: Mapping[str, str] | None = None,
    *,
    where: str,
) -> None:
    """Refuse a statement that is not about this release of a model. That it found other bytes is no reason.

    Args:
        statement: about any release.
        version: of the release.
        artifacts: file -> sha256 of all artifacts of the model, as the release has them.
        commit: of the release; empty where the caller compares it.
        provenance: ``provenance/FILE.json`` -> sha256, also of more files; None where the caller compares it.
        where: the place, for the message.

    Raises:
        PublishError: the version, the commit, a file or its provenance is another one, or a file is not in the
            statement.
    """
    facts, wrong = statement.facts, ""
    hint = "remove it, or name the release that it is about"
    others = sorted(file for file, sha256 in facts.subjects.items() if artifacts.get(file) != sha256)
    missing = sorted(artifacts.keys() - facts.subjects.keys())
    if statement.version != version:
        wrong = f"is about release {as_text(statement.version)}, not {version}"
    elif commit and facts.commit != commit:
        wrong = f"is about commit {facts.commit[:12]}, and the release is of {commit[:12]}"
    elif others:
        wrong = f"is about other bytes of {as_text(others[0], 100)} than this release has"
    elif missing:
        wrong = f"is not about {as_text(missing[0], 100)}, which this release has"
        hint = "ask its owner for one about all artifacts of the model"
    elif provenance is not None and (names := sorted(facts.inputs.items() - provenance.items())):
        wrong = f"was made with another {as_text(names[0][0], 200)} than this release has"
    if wrong:
        raise PublishError(wrong, where=f"{where}: {statement.name}", hint=hint)


def tell_refuted(model: str, statements: Iterable[Statement]) -> None:
    """Say which statements are that a rebuild made other bytes: a line for each."""
    for statement in statements:
        facts = statement.facts
        if not facts.passed:
            names = ", ".join(sorted(name for name, sha256 in facts.subjects.items() if facts.rebuilt[name] != sha256))
            print(f"{model}: {Path(statement.name).stem} has built other bytes of {names}", flush=True)


def select_new(
    statements: Iterable[Statement], find_published: Callable[[Statement], bytes | None], where: str
) -> tuple[list[Statement], int]:
    """Select the statements that a place does not have yet; an older one does not replace a newer one of its key.

    Args:
        statements: about one model; each fits the release that is published there.
        find_published: finds the content of the file there that has the name of a statement; None if there is none.
        where: the folder of these files, for messages.

    Returns:
        those to write, and how many were left out because a newer one of their key is there.

    Raises:
        PublishError: one says ``PASSED``, and the one there of the same key says that it made other bytes.
    """
    from utils.attest import rebuilds

    new, older = [], 0
    for statement in statements:
        text, facts = find_published(statement), statement.facts
        if text == statement.text:
            continue
        before = _read_published(text)
        if before is not None and (names := rebuilds.find_retracted(before, facts)):
            what = (
                f"this key has built other bytes of {', '.join(names)} before, and {statement.file} says the same bytes"
            )
            hint = "remove the earlier statement there if it was wrong, then publish again"
            raise PublishError(what, where=f"{where}/{statement.name}", hint=hint)
        if before is not None and before.resource == facts.resource and before.time > facts.time:
            older += 1
        else:
            new.append(statement)
    return new, older


def describe_added(new: int, older: int, *, dry_run: bool) -> str:
    """Say how many statements are added to a place, and how many are older than what it has."""
    added = f"{new} {'would be added' if dry_run else 'added'}" if new or older else "all were there"
    return f"{added}, {older} left out: newer ones of their keys are there" if older else added


def select_for_folder(release: Path, model: str, statements: Iterable[Statement]) -> tuple[list[Statement], int]:
    """Select the statements about one model that the folder beside a published release does not have yet.

    Raises:
        PublishError: one must not replace what is there, or what is there cannot be read.
    """
    from utils.attest import rebuilds

    folder = rebuilds.folder_of(release) / model

    def read(statement: Statement) -> bytes | None:
        try:
            return read_bounded(folder / statement.name, limits.REBUILD_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            what, hint = f"cannot be read: {error.strerror}", "remove it, or make it readable"
            raise PublishError(what, where=f"{folder}/{statement.name}", hint=hint) from None

    return select_new(statements, read, str(folder))


def write_beside(release: Path, model: str, statements: Iterable[Statement], *, dry_run: bool) -> None:
    """Copy statements about one model to the folder beside a published release; a newer one of a key replaces its own.

    Raises:
        OSError: it cannot be written.
        PublishError: one must not replace what is there, or what is there cannot be read.
    """
    from utils.attest import rebuilds

    folder = rebuilds.folder_of(release) / model
    new, older = select_for_folder(release, model, statements)
    if new and not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
        for each in new:
            files.write_whole(folder / each.name, each.text)
    print(f"{folder}: rebuilds: {describe_added(len(new), older, dry_run=dry_run)}", flush=True)


def _read_published(text: bytes | None) -> Rebuild | None:
    """What a file that is published says; None if it is no statement whose signature is that of the key it names."""
    from utils.attest import rebuilds

    try:
        facts, signed = rebuilds.read_rebuild(text or b"", "")
    except ReleaseError:
        return None
    return facts if facts.signer in signer.find_keys(signed.message, signed.signature) else None


def _read(folder: Path, model: str) -> list[Statement]:
    """Read the statements about one model.

    Raises:
        PublishError: one is not about a release.
        ReleaseError: one cannot be read, is damaged, or is not what its name says.
    """
    from utils.attest import rebuilds

    found = []
    there, left_out = rebuilds.scan(folder, model)
    if left_out:
        raise ReleaseError(
            "\n  ".join(["not every statement can be read:", *left_out]), where=str(folder), hint=_REMOVE
        )
    for name, text in there.items():
        where = f"{folder}/{model}/{as_text(name, 100)}"
        facts, signed = rebuilds.read_rebuild(text, where)
        if facts.signer not in signer.find_keys(signed.message, signed.signature):
            raise ReleaseError("was signed with another key than it names, or is damaged", where=where, hint=_REMOVE)
        wanted = rebuilds.name_of(facts.signer)
        if name != wanted:
            raise ReleaseError("is not named after its key", where=where, hint=f"call it {wanted}")
        if facts.model != model:
            raise ReleaseError(f"is about {as_text(facts.model, 100)}", where=where, hint=_REMOVE)
        version = version_of_uri(facts.resource)
        if version is None or precedence_of(version) is None:
            hint = "`doit verify release=PATH key=FILE` makes a statement about a release"
            raise PublishError(f"is about {as_text(facts.resource, 100)}, not a release", where=where, hint=hint)
        found.append(Statement(name, where, text, version, facts))
    return found
