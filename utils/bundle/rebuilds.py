"""Who has rebuilt a model's artifacts: signed statements in ``rebuilds/``, by keys that count.

They are about what ``artifacts.lock`` has. One that is damaged, of an unknown key, about a release or about other
artifacts does not count, and stops no build. Cards and the catalogue warn of one that found other bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from utils import paths
from utils.errors import ZooError
from utils.untrusted import as_text

if TYPE_CHECKING:
    from utils.attest.count import Counted
    from utils.attest.rebuilds import Rebuild

__all__ = ["LockRebuilds", "find_rebuilds"]


@dataclass(frozen=True)
class LockRebuilds:
    """What known rebuilders say of a model, by the rebuilder's name.

    Attributes:
        same: those who made the same bytes of all artifacts.
        other: those who made other bytes.
        notes: what does not count, and who made other bytes; a sentence each.
    """

    same: list[tuple[str, Rebuild]] = field(default_factory=list)
    other: list[tuple[str, Rebuild]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_rebuilds(model: str, artifacts: Mapping[str, str], folder: Path = paths.REBUILDS) -> LockRebuilds:
    """Find the statements that count, and say what does not.

    Args:
        model: its name.
        artifacts: file -> sha256 of the model's artifacts.
        folder: ``MODEL/KEY.json``, and ``keys/NAME.pub``.
    """
    if not (folder / model).is_dir():
        return LockRebuilds()
    from utils.attest import rebuilds  # cryptography: only where there are statements
    from utils.attest.count import Asked, count_statements
    from utils.attest.statement import LOCK
    from utils.keys import fingerprint_of

    place = as_text(f"{folder.name}/{model}")
    try:
        known = rebuilds.known_rebuilders(folder)
        names = {fingerprint_of(key): name for name, key in sorted(known.items(), reverse=True)}
        publics = {fingerprint_of(key): key for key in known.values()}
        counted = count_statements(folder, Asked(model, LOCK, artifacts), publics, names)
    except ZooError as error:
        return LockRebuilds(notes=[f"{place}: no rebuild counts: {as_text(error.what)}"])
    except OSError as error:
        return LockRebuilds(notes=[f"{place}: no rebuild counts: {error.strerror or 'cannot be read'}"])
    if counted.fault:  # among the others may be one that found other bytes
        return LockRebuilds(notes=[f"no rebuild counts: {counted.fault}"])
    return _sort(counted, names, place)


def _sort(counted: Counted, names: Mapping[str, str], place: str) -> LockRebuilds:
    found = LockRebuilds()
    for key in sorted(counted.rebuilds, key=names.__getitem__):
        rebuild = counted.rebuilds[key]
        (found.same if rebuild.passed else found.other).append((names[key], rebuild))
    if count := len(counted.notes):
        what = f"{count} statement{'s' if count > 1 else ''} not counted"
        found.notes.append(f"{place}: {what}: an unknown key, a release, other artifacts, or damaged")
    if found.other:
        who = ", ".join(as_text(name, 80) for name, _ in found.other)
        found.notes.append(f"{place}: other bytes were built by {who} -> find out which build is wrong")
    return found
