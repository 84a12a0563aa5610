"""Which statements about one model count: those of listed keys, about the bytes that are asked for, each key once.

``release:check`` counts statements about a release, cards and the catalogue those about ``artifacts.lock``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.attest import envelope, rebuilds
from utils.attest.rebuilds import Rebuild
from utils.errors import ReleaseError
from utils.untrusted import as_text

__all__ = ["Asked", "Counted", "count_statements"]


@dataclass(frozen=True)
class Asked:
    """What a statement has to be about.

    Attributes:
        model: its name.
        resource: ``statement.LOCK`` or a release.
        artifacts: file -> sha256: all of them, and no others.
        commit: what was built; empty: any.
        inputs: name in the release -> sha256 of each artifact's provenance; empty for the lock.
    """

    model: str
    resource: str
    artifacts: Mapping[str, str]
    commit: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Counted:
    """What the files of one model's statements say.

    Attributes:
        rebuilds: fingerprint of a key -> its statement; of two statements of a key, one that is ``FAILED`` stays.
        notes: why the other files do not count, a line each.
        lost: fingerprint of a key -> why the file in its place is no statement of this key: what it said is not known.
        fault: why there may be files that nobody looked at; empty if there are none.
    """

    rebuilds: dict[str, Rebuild] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    fault: str = ""


def count_statements(folder: Path, asked: Asked, publics: Mapping[str, Any], names: Mapping[str, str]) -> Counted:
    """Read the statements about one model, and count those of listed keys.

    Args:
        folder: of the statements.
        asked: what they have to be about.
        publics: fingerprint -> key: the rebuilders that count.
        names: fingerprint -> what messages call the key.
    """
    found = rebuilds.read_texts(folder, asked.model)
    counted = Counted(fault=found.fault)
    places = {rebuilds.name_of(key): key for key in publics}
    for name in sorted(found.texts.keys() | found.unread.keys()):
        where = as_text(f"{asked.model}/{name}", 150)
        signer, why = "", found.unread.get(name, "")
        if not why:
            signer, why = _read_counted(found.texts[name], where, asked, counted.rebuilds, publics, names)
        if why:
            counted.notes.append(f"{where}: {why}")
        owner = places.get(name)
        if owner is not None and signer != owner:
            counted.lost[owner] = f"{where}: {why or f'is a statement of {names[signer]}'}"
    return counted


def _read_counted(
    text: bytes,
    where: str,
    asked: Asked,
    counted: dict[str, Rebuild],
    publics: Mapping[str, Any],
    names: Mapping[str, str],
) -> tuple[str, str]:
    """Add a statement to those that count; returns the listed key that signed it, and why it does not count."""
    try:
        rebuild, signed = rebuilds.read_rebuild(text, where)
    except ReleaseError as error:
        return "", error.what
    public = publics.get(rebuild.signer)
    if public is None:
        return "", f"is signed by the key {rebuild.signer[:16]}..., which is not listed"
    name = names[rebuild.signer]
    if not envelope.is_signed_by(signed, public):
        return "", f"is not signed by the key of {name}, which it names"
    if why := _why_not(rebuild, asked):
        return rebuild.signer, f"{name} {why}"
    if rebuild.signer not in counted or not rebuild.passed:
        counted[rebuild.signer] = rebuild
    return rebuild.signer, ""


def _why_not(rebuild: Rebuild, asked: Asked) -> str:
    """Why a statement is not about what is asked for; empty if it is."""
    if rebuild.model != asked.model:
        return f"speaks of the model {as_text(rebuild.model, 80)}"
    if rebuild.resource != asked.resource:
        return f"speaks of {as_text(rebuild.resource, 100)}"
    if asked.commit and rebuild.commit != asked.commit:
        return f"has built another commit, {rebuild.commit[:12]}"
    if rebuild.subjects != dict(asked.artifacts):
        return "speaks of other artifacts than are asked for"
    # Other bytes of the same commit are other bytes, whatever its provenance says: a new one must not hide them.
    if rebuild.passed and rebuild.inputs != dict(asked.inputs):
        return "had other provenance of the same artifacts"
    return ""
