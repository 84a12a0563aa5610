"""Statements about rebuilds on their way to where a release is published: read, checked, and held against it.

They are made by others and at other times than the release. So a published version does not change, but statements are
added to it: beside its folder, as referrers of its manifest, or beside its card on a hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import files
from utils.catalogue.facts import is_name
from utils.errors import PublishError, ReleaseError
from utils.release import signer
from utils.release.versions import precedence_of
from utils.untrusted import as_text

if TYPE_CHECKING:
    from utils.attest.rebuilds import Rebuild

__all__ = ["Statement", "of_release", "read_folder", "require_fit", "write_beside"]

#: How a statement calls a release.
_RELEASE = "urn:nxp-model-zoo:release:"

#: The folder of public keys beside the models' folders.
_KEYS = "keys"

_REMOVE = "remove it; ask its owner for another"


@dataclass(frozen=True)
class Statement:
    """A signed statement, whose signature is that of the key that it names.

    Attributes:
        name: of its file, which its key decides.
        text: its bytes.
        version: of the release that it is about.
        facts: what it says.
    """

    name: str
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
        models = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name != _KEYS)
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
            require_fit(statement, index["version"], artifacts, index["commit"], where=f"{folder}/{model}")
    return {model: statements for model, statements in found.items() if statements}


def require_fit(
    statement: Statement, version: str, artifacts: Mapping[str, str], commit: str = "", *, where: str
) -> None:
    """Refuse a statement that is not about this release of a model. That it found other bytes is no reason.

    Args:
        statement: about any release.
        version: of the release.
        artifacts: file -> sha256, as the release has them.
        commit: of the release; empty where the place does not say it.
        where: the place, for the message.

    Raises:
        PublishError: the version, the commit, or a file is another one.
    """
    facts, wrong = statement.facts, ""
    others = sorted(file for file, sha256 in facts.subjects.items() if artifacts.get(file) != sha256)
    if statement.version != version:
        wrong = f"is about release {as_text(statement.version)}, not {version}"
    elif commit and facts.commit != commit:
        wrong = f"is about commit {facts.commit[:12]}, and the release is of {commit[:12]}"
    elif others:
        wrong = f"is about other bytes of {as_text(others[0], 100)} than this release has"
    if wrong:
        hint = "remove it, or name the release that it is about"
        raise PublishError(wrong, where=f"{where}: {statement.name}", hint=hint)


def write_beside(release: Path, model: str, statements: Iterable[Statement], *, dry_run: bool) -> None:
    """Copy statements about one model to the folder beside a published release; a newer one of a key replaces its own.

    Raises:
        OSError: it cannot be written.
    """
    from utils.attest import rebuilds

    folder = rebuilds.folder_of(release) / model
    new = [each for each in statements if _content(folder / each.name) != each.text]
    if new and not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
        for each in new:
            files.write_whole(folder / each.name, each.text)
    verb = "would be added" if dry_run else "added"
    print(f"{folder}: rebuilds: {f'{len(new)} {verb}' if new else 'all were there'}", flush=True)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _read(folder: Path, model: str) -> list[Statement]:
    """Read the statements about one model.

    Raises:
        PublishError: one is not about a release.
        ReleaseError: one is damaged, or not what its name says.
    """
    from utils.attest import rebuilds

    found = []
    for name, text in rebuilds.files_of(folder, model).items():
        where = f"{folder}/{model}/{as_text(name, 100)}"
        facts, signed = rebuilds.read_rebuild(text, where)
        if facts.signer not in signer.find_keys(signed.message, signed.signature):
            raise ReleaseError("was signed with another key than it names, or is damaged", where=where, hint=_REMOVE)
        wanted = f"{facts.signer[:16]}.json"
        if name != wanted:
            raise ReleaseError("is not named after its key", where=where, hint=f"call it {wanted}")
        if facts.model != model:
            raise ReleaseError(f"is about {as_text(facts.model, 100)}", where=where, hint=_REMOVE)
        version = facts.resource.removeprefix(_RELEASE)
        if not facts.resource.startswith(_RELEASE) or precedence_of(version) is None:
            hint = "`doit verify release=PATH key=FILE` makes a statement about a release"
            raise PublishError(f"is about {as_text(facts.resource, 100)}, not a release", where=where, hint=hint)
        found.append(Statement(name, text, version, facts))
    return found
