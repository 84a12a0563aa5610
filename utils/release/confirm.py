"""release:check rebuilders=: who has rebuilt a release, and whether k of n independent keys say so.

Statements are files that anybody can put there. One counts if a listed key has signed it, about this release, its
commit and these bytes; each key counts once. A listed key that has built other bytes makes the check fail, however many
others agree: one of them is wrong, and a count cannot say which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.attest import envelope, rebuilds
from utils.attest.rebuilds import Rebuild
from utils.attest.statement import release_uri
from utils.errors import ReleaseError, UsageError
from utils.keys import fingerprint_of, load_publics
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
        notes: what was said about them twice.
    """

    publics: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_list(text: str) -> list[Path]:
    """Split files with commas; a file whose own name has commas is found as well.

    Raises:
        UsageError: a name is empty.
    """
    words, found = text.split(","), []
    while words:
        tried = (",".join(words[:end]) for end in range(1, len(words) + 1))
        name = next((name for name in tried if Path(name).is_file()), words[0])
        if not name.strip():
            raise UsageError("a name is empty", where="rebuilders=", hint="rebuilders=FILE,FILE")
        found.append(Path(name))
        words = words[name.count(",") + 1 :]
    return found


def threshold_of(text: str | None, count: int) -> int:
    """How many rebuilders have to agree; default: all.

    Raises:
        UsageError: it is not a number from 1 to ``count``.
    """
    if text is None:
        return count
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= count):
        what = f"{as_text(text, 40)!r} is not a number from 1 to {count}, the number of different keys in rebuilders="
        raise UsageError(what, where="threshold=", hint=f"threshold={count} asks all of them")
    return int(text)


def confirm(release: Path, rebuilders: Iterable[Path], threshold: str | None, folder: Path | None) -> list[str]:
    """Check who has rebuilt a release that ``check.check`` found whole; returns a line for each finding.

    Args:
        release: its folder.
        rebuilders: files of public keys.
        threshold: how many of these keys have to confirm each artifact; None: all.
        folder: of the statements; None: beside the release.

    Raises:
        UsageError: the threshold is not a number that these keys can reach.
        ReleaseError: a key cannot be used, a rebuilder has built other bytes, or too few have confirmed an artifact.
    """
    keys = _load(rebuilders)
    needed = threshold_of(threshold, len(keys.publics))
    index = index_of(release)
    place = folder or rebuilds.folder_of(release)
    signer = _signer_of(release)
    notes, other, lines, few = [*keys.notes], [], [], []
    for model, facts in index["models"].items():
        artifacts = {file: entry["sha256"] for file, entry in facts["artifacts"].items()}
        counted, left = _count(place, model, index, artifacts, keys)
        notes += left
        agree = {key: rebuild for key, rebuild in counted.items() if rebuild.passed}
        for key, rebuild in counted.items():
            other += _differences(keys.names[key], rebuild, artifacts)
        who = "; ".join(
            _describe(keys.names[key], agree[key], is_signer=key == signer)
            for key in sorted(agree, key=keys.names.__getitem__)
        )
        lines += [f"{file}: rebuilt by {len(agree)} of {len(keys.publics)}: {who or 'nobody'}" for file in artifacts]
        if len(agree) < needed:
            named = ", ".join(sorted(keys.names[key] for key in agree)) or "nobody"
            few += [f"{file}: {len(agree)} of {needed} ({named})" for file in artifacts]
    if other:
        what = "\n  ".join(["a rebuilder has built other bytes:", *other, *notes])
        raise ReleaseError(what, where=str(release), hint="do not use it before you know which of them is wrong")
    if few:
        what = "\n  ".join([f"fewer than {needed} rebuilders confirm:", *few, *notes])
        hint = f"ask for more statements ({as_text(place)} has them), or trust fewer: threshold=N"
        raise ReleaseError(what, where=str(release), hint=hint)
    return [
        *notes,
        *lines,
        f"rebuilds: {needed} of {len(keys.publics)} keys were asked for, and confirm every artifact",
    ]


def _load(rebuilders: Iterable[Path]) -> _Keys:
    found = _Keys()
    for file in rebuilders:
        for public in load_publics(file, "rebuilders", ReleaseError):
            key = fingerprint_of(public)
            if key in found.publics:
                found.notes.append(f"{as_text(file)}: is the key of {found.names[key]} again, and counts once")
                continue
            name = as_text(file.stem, 80)
            found.publics[key] = public
            found.names[key] = f"{name} ({key[:8]})" if name in found.names.values() else name
    return found


def _signer_of(release: Path) -> str:
    """The key that the release's signature names; empty without one."""
    signature = release / sign.SIGNATURE
    return statement.read(signature).key if signature.is_file() else ""


def _count(
    place: Path, model: str, index: Mapping[str, Any], artifacts: Mapping[str, str], keys: _Keys
) -> tuple[dict[str, Rebuild], list[str]]:
    """The statements of listed keys about one model, by key, and why the other files do not count.

    Of two statements of one key, that which found other bytes stays.
    """
    found: dict[str, Rebuild] = {}
    texts, notes = rebuilds.scan(place, model)
    for name, text in texts.items():
        where = as_text(f"{model}/{name}", 150)
        try:
            rebuild, signed = rebuilds.read_rebuild(text, where)
        except ReleaseError as error:
            notes.append(f"{where}: {error.what}")
            continue
        public = keys.publics.get(rebuild.signer)
        if public is None:
            notes.append(f"{where}: is signed by the key {rebuild.signer[:16]}..., which is not in rebuilders=")
        elif not envelope.is_signed_by(signed, public):
            notes.append(f"{where}: is not signed by the key of {keys.names[rebuild.signer]}, which it names")
        elif reason := _is_of_another(rebuild, model, index, artifacts):
            notes.append(f"{where}: {keys.names[rebuild.signer]} {reason}")
        elif rebuild.signer not in found or not rebuild.passed:
            found[rebuild.signer] = rebuild
    return found, [f"not counted: {note}" for note in notes]


def _is_of_another(rebuild: Rebuild, model: str, index: Mapping[str, Any], artifacts: Mapping[str, str]) -> str:
    """Why a statement is not about this release's model; empty if it is."""
    if rebuild.model != model:
        return f"speaks of the model {as_text(rebuild.model, 80)}"
    if rebuild.resource != release_uri(index["version"]):
        return f"speaks of {as_text(rebuild.resource, 100)}"
    if rebuild.commit != index["commit"]:
        return f"has built another commit, {rebuild.commit[:12]}"
    if rebuild.subjects != dict(artifacts):
        return "speaks of other artifacts than the release has"
    return ""


def _differences(name: str, rebuild: Rebuild, artifacts: Mapping[str, str]) -> list[str]:
    return [
        f"{file}: released is sha256 {sha256}, {name} has built {made or 'none'}"
        for file, sha256 in artifacts.items()
        if (made := rebuild.rebuilt[file]) != sha256
    ]


def _describe(name: str, rebuild: Rebuild, *, is_signer: bool) -> str:
    also = ", also signed the release" if is_signer else ""
    return f"{name} ({rebuild.builder}, {as_text(rebuild.cpu)}{also})"
