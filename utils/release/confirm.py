"""release:check rebuilders=: who has rebuilt a release, and whether k of n independent keys say so.

Statements are files that anybody can put there. One counts if a listed key has signed it, about this release, its
commit and these bytes; each key counts once, and the key that signed the release does not count. A listed key that has
built other bytes makes the check fail, however many others agree: one of them is wrong, and a count cannot say which.
So does a file that may hold such a statement and cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils import keys
from utils.attest import rebuilds
from utils.attest.count import Asked, Counted, count_statements
from utils.attest.rebuilds import Rebuild
from utils.attest.statement import release_uri
from utils.errors import ReleaseError, UsageError
from utils.release import sign, statement
from utils.release.index import index_of
from utils.untrusted import as_text

__all__ = ["confirm", "read_list", "threshold_of"]


@dataclass(frozen=True)
class _Keys:
    """The rebuilders that count.

    Attributes:
        publics: fingerprint -> key.
        names: fingerprint -> what messages call it.
        signer: the fingerprint of the one that signed the release; empty if none of them did.
        notes: what was said about them twice.
    """

    publics: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    signer: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def others(self) -> int:
        """How many of them did not sign the release."""
        return len(self.publics) - bool(self.signer)


def read_list(text: str) -> list[Path]:
    """Split files with commas, without the spaces around them; a file whose own name has commas is found as well.

    Raises:
        UsageError: a name is empty.
    """
    words, found = text.split(","), []
    while words:
        tried = (",".join(words[:end]) for end in range(1, len(words) + 1))
        name = next((name for name in tried if _is_file(name.strip())), words[0])
        if not name.strip():
            raise UsageError("a name is empty", where="rebuilders=", hint="rebuilders=FILE,FILE")
        found.append(Path(name.strip()))
        words = words[name.count(",") + 1 :]
    return found


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # longer than a name may be
        return False


def threshold_of(text: str | None, count: int) -> int:
    """How many rebuilders have to agree; default: all.

    Args:
        text: the option.
        count: how many could agree.

    Raises:
        UsageError: nobody could, or it is not a number from 1 to ``count``.
    """
    counted = "the number of different keys in rebuilders= that did not sign the release"
    if not count:
        hint = "add the keys of others: rebuilders=FILE,FILE"
        raise UsageError("names no other key than the one that signed the release", where="rebuilders=", hint=hint)
    if text is None:
        return count
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= count):
        what = f"{as_text(text, 40)!r} is not a number from 1 to {count}, {counted}"
        raise UsageError(what, where="threshold=", hint=f"threshold={count} asks all of them")
    return int(text)


def confirm(release: Path, rebuilders: Iterable[Path], threshold: str | None, folder: Path | None) -> list[str]:
    """Check who has rebuilt a release that ``check.check`` found whole; returns a line for each finding.

    Args:
        release: its folder.
        rebuilders: files of public keys.
        threshold: how many of these keys have to confirm each artifact, without the one that signed the release; None:
            all.
        folder: of the statements; None: beside the release.

    Raises:
        UsageError: ``folder`` is none, or the threshold is not a number that these keys can reach.
        ReleaseError: a key cannot be used, a rebuilder has built other bytes, what a rebuilder said cannot be read, or
            too few have confirmed an artifact.
    """
    if folder is not None and not _is_folder(folder):
        hint = "name a folder of statements, which has FOLDER/MODEL/KEY.json"
        raise UsageError("is not a folder", where=f"rebuilds={as_text(folder)}", hint=hint)
    listed = _load(rebuilders, release)
    needed = threshold_of(threshold, listed.others)
    index = index_of(release)
    place = folder or rebuilds.folder_of(release)
    notes, other, hidden, lines, few = [*listed.notes], [], [], [], []
    for model, facts in index["models"].items():
        artifacts = {file: entry["sha256"] for file, entry in facts["artifacts"].items()}
        counted = count_statements(place, _asked(model, index, artifacts), listed.publics, listed.names)
        notes += [f"not counted: {note}" for note in counted.notes]
        hidden += _hidden(counted, listed)
        for key, rebuild in counted.rebuilds.items():
            other += _differences(listed.names[key], rebuild, artifacts)
        agree = sorted((key for key, found in counted.rebuilds.items() if found.passed), key=listed.names.__getitem__)
        count = len({*agree} - {listed.signer})
        who = "; ".join(_describe(counted.rebuilds[key], key, listed) for key in agree) or "nobody"
        lines += [f"{file}: rebuilt by {count} of {listed.others}: {who}" for file in artifacts]
        if count < needed:
            named = ", ".join(listed.names[key] for key in agree if key != listed.signer) or "nobody"
            few += [f"{file}: {count} of {needed} ({named})" for file in artifacts]
    if other:
        what = "\n  ".join(["a rebuilder has built other bytes:", *other, *notes])
        raise ReleaseError(what, where=str(release), hint="do not use it before you know which of them is wrong")
    if hidden:
        what = "\n  ".join(["what a rebuilder has said cannot be read:", *hidden, *notes])
        hint = "ask that rebuilder for the statement again, and keep other files out of this folder"
        raise ReleaseError(what, where=as_text(place), hint=hint)
    if few:
        what = "\n  ".join([f"fewer than {needed} rebuilders confirm:", *few, *notes])
        fewer = ", or ask for fewer: threshold=N" if needed > 1 else ""
        hint = f"put more statements into {as_text(place)}, as MODEL/KEY.json{fewer}"
        raise ReleaseError(what, where=str(release), hint=hint)
    keys_asked = f"{needed} of {listed.others} keys were asked for"
    return [*notes, *lines, f"rebuilds: {keys_asked}, and confirm every artifact: {len(lines)}"]


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except OSError:  # a name that is longer than it may be
        return False


def _load(rebuilders: Iterable[Path], release: Path) -> _Keys:
    publics: dict[str, Any] = {}
    names: dict[str, str] = {}
    notes = []
    for file in rebuilders:
        for public in keys.load_publics(file, "rebuilders", ReleaseError):
            key = keys.fingerprint_of(public)
            if key in publics:
                notes.append(f"{as_text(file)}: is the key of {names[key]} again, and counts once")
                continue
            name = as_text(file.stem, 80)
            publics[key] = public
            names[key] = f"{name} ({key[:8]})" if name in names.values() else name
    return _Keys(publics, names, _find_signer(release, publics), notes)


def _find_signer(release: Path, publics: Mapping[str, Any]) -> str:
    """The fingerprint of the key that made the release's signature, whichever key that names; empty if none did."""
    signature = release / sign.SIGNATURE
    if not signature.is_file():
        return ""
    signed = statement.read(signature)
    found = (key for key, public in publics.items() if keys.has_signed(public, signed.message, signed.signature))
    return next(found, "")


def _asked(model: str, index: Mapping[str, Any], artifacts: Mapping[str, str]) -> Asked:
    """What a statement about a model of this release has to be about."""
    names = [f"provenance/{file}.json" for file in artifacts]
    return Asked(
        model=model,
        resource=release_uri(index["version"]),
        artifacts=artifacts,
        commit=index["commit"],
        inputs={name: index["files"][name] for name in names},
    )


def _hidden(counted: Counted, listed: _Keys) -> list[str]:
    """Where a statement of a listed key may be that was not read: it may say that other bytes were built."""
    lost = [f"{why}: in the place of {listed.names[key]}'s statement" for key, why in counted.lost.items()]
    return [*filter(None, [counted.fault]), *lost]


def _differences(name: str, rebuild: Rebuild, artifacts: Mapping[str, str]) -> list[str]:
    return [
        f"{file}: released is sha256 {sha256}, {name} has built {made or 'none'}"
        for file, sha256 in artifacts.items()
        if (made := rebuild.rebuilt[file]) != sha256
    ]


def _describe(rebuild: Rebuild, key: str, listed: _Keys) -> str:
    also = ", also signed the release: not counted" if key == listed.signer else ""
    return f"{listed.names[key]} ({rebuild.builder}, {as_text(rebuild.cpu)}{also})"
