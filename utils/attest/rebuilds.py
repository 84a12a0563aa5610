"""Signed statements of rebuilds as files: ``FOLDER/MODEL/KEY.json``, KEY being the start of the signer's fingerprint.

A release is signed as a whole, so its statements are in a folder beside it. Those of ``artifacts.lock`` are in
``rebuilds/`` of the checkout, and so are the keys of the rebuilders that its cards name: ``rebuilds/keys/NAME.pub``.
Anybody can put a file there: what counts is whose signature is on it.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from utils import files, limits, paths
from utils.attest import envelope, statement
from utils.attest.envelope import Envelope
from utils.errors import ReleaseError
from utils.keys import fingerprint_of, load_publics
from utils.untrusted import as_text, read_bounded

__all__ = [
    "KEYS",
    "Rebuild",
    "Texts",
    "files_of",
    "find_retracted",
    "folder_of",
    "is_statement_name",
    "known_rebuilders",
    "name_of",
    "read_rebuild",
    "read_texts",
    "scan",
    "write",
]

#: The folder of public keys beside the models' folders.
KEYS = paths.REBUILD_KEYS

#: Characters of a fingerprint that name a file.
_NAME = 16


@dataclass(frozen=True)
class Rebuild:
    """What a statement says; whether its signer said it, ``envelope.is_signed_by`` tells.

    Attributes:
        model: its name.
        signer: the fingerprint of the key that it claims.
        passed: whether the rebuild made the same bytes of all subjects.
        commit: what was built.
        resource: what was rebuilt: ``statement.LOCK`` or a release.
        subjects: file -> sha256 as it was released or locked.
        rebuilt: file -> sha256 that the rebuild made; empty where it made none.
        inputs: name in the release -> sha256 of the provenance that the rebuilder had; empty for the lock.
        builder: the image, or a venv of the same lock.
        cpu: the model of the CPU.
        time: RFC 3339.
    """

    model: str
    signer: str
    passed: bool
    commit: str
    resource: str
    subjects: dict[str, str]
    rebuilt: dict[str, str]
    inputs: dict[str, str]
    builder: Literal["image", "venv"]
    cpu: str
    time: str


@dataclass(frozen=True)
class Texts:
    """The files of one model's statements.

    Attributes:
        texts: file name -> content, sorted.
        unread: file name -> why it was not read.
        fault: why there may be files that nobody looked at; empty if there are none.
    """

    texts: dict[str, bytes] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    fault: str = ""


def folder_of(release: Path) -> Path:
    """The folder of the statements about a release: beside it, since nothing may be added to what is signed."""
    whole = release.resolve()
    return whole.with_name(f"{whole.name}.rebuilds")


def name_of(fingerprint: str) -> str:
    """The name of the file with the statement of a key."""
    return f"{fingerprint[:_NAME]}.json"


def read_rebuild(text: bytes, where: str) -> tuple[Rebuild, Envelope]:
    """Parse a signed statement, and check that it does not contradict itself; the signature is not checked.

    Args:
        text: the file.
        where: its name, for messages.

    Raises:
        ReleaseError: it is no such statement.
    """
    signed = envelope.read(text, where)
    subjects, found = statement.read(signed.payload, where)
    made = found.rebuild
    rebuild = Rebuild(
        model=made.model,
        signer=signed.key,
        passed=found.verificationResult == "PASSED",
        commit=made.commit,
        resource=found.resourceUri,
        subjects=subjects,
        rebuilt=dict(made.rebuilt),
        inputs={entry.uri: entry.digest.sha256 for entry in found.inputAttestations},
        builder=made.environment.kind,
        cpu=made.environment.cpu,
        time=found.timeVerified,
    )
    return rebuild, signed


def read_texts(folder: Path, model: str) -> Texts:
    """Read the files of one model's statements.

    Links, pipes, folders, too large files and those beyond ``limits.REBUILDS`` are not read.
    """
    found = Texts()
    place = folder / model
    try:
        names = sorted(file.name for file in place.iterdir() if file.suffix == ".json")
    except FileNotFoundError:
        return found
    except OSError as error:
        return Texts(fault=f"{as_text(place)}: cannot be read: {error.strerror}")
    for name in names[: limits.REBUILDS]:
        try:
            if stat.S_ISLNK((place / name).lstat().st_mode):
                found.unread[name] = "is a link, not a file"
                continue
            found.texts[name] = read_bounded(place / name, limits.REBUILD_BYTES)
        except OSError as error:
            found.unread[name] = error.strerror or "cannot be read"
    if len(names) > limits.REBUILDS:
        fault = f"{as_text(place)}: has more than {limits.REBUILDS:,} statements: the others were not read"
        return Texts(found.texts, found.unread, fault)
    return found


def scan(folder: Path, model: str) -> tuple[dict[str, bytes], list[str]]:
    """Read the files of one model's statements; returns name -> content, and what was left out and why."""
    found = read_texts(folder, model)
    left = [f"{model}/{as_text(name, 100)}: {why}" for name, why in found.unread.items()]
    return found.texts, [*filter(None, [found.fault]), *left]


def files_of(folder: Path, model: str) -> dict[str, bytes]:
    """The files of one model's statements: name -> content, sorted; empty where there are none."""
    return scan(folder, model)[0]


def write(folder: Path, rebuild: Mapping[str, Any], model: str, private: Any) -> Path:
    """Sign a statement of ``statement.make`` and write it to its place; returns the file.

    An earlier statement of the key is replaced, but never one that says the contrary about the same files.

    Raises:
        ReleaseError: the key has said before that its build made other bytes.
        StorageError: disk full, read-only, no permission.
    """
    file = folder / model / name_of(fingerprint_of(private.public_key()))
    text = envelope.seal(rebuild, private)
    before = _read_own(file, private.public_key())
    if before is not None and (names := find_retracted(before, read_rebuild(text, str(file))[0])):
        what = f"this key has built other bytes of {', '.join(names)} before"
        raise ReleaseError(what, where=str(file), hint="move that file away if it was wrong")
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(file, text)
    return file


def _read_own(file: Path, public: Any) -> Rebuild | None:
    """What a key has said in a file that other bytes were built; None where it has not."""
    try:
        rebuild, signed = read_rebuild(read_bounded(file, limits.REBUILD_BYTES), str(file))
    except (OSError, ReleaseError):
        return None
    return rebuild if not rebuild.passed and envelope.is_signed_by(signed, public) else None


def find_retracted(old: Rebuild, new: Rebuild) -> list[str]:
    """List files of which ``old`` says that other bytes were built, and ``new``, about the same bytes, ``PASSED``.

    Statements of other keys, and about another release, retract nothing.
    """
    if not new.passed or (old.signer, old.resource) != (new.signer, new.resource):
        return []
    return sorted(
        file
        for file, sha256 in old.subjects.items()
        if old.rebuilt[file] != sha256 and new.subjects.get(file) == sha256
    )


def is_statement_name(name: str) -> bool:
    """Whether a file is called as ``name_of`` calls the statement of a key."""
    start = name.removesuffix(".json")
    return len(start) == _NAME and set(start) <= set("0123456789abcdef") and name == name_of(start)


def known_rebuilders(folder: Path) -> dict[str, Any]:
    """The public keys of ``FOLDER/keys``: what NAME.pub is called -> its key; empty where there are none.

    Links are skipped, as statements that are links.

    Raises:
        ReleaseError: a file there is not one public key.
    """
    found = {}
    for file in sorted((folder / KEYS).glob("*.pub")):
        if file.is_symlink() or not file.is_file():  # no card depends on what is behind a link: layout.rebuild_files
            continue
        loaded = load_publics(file, "rebuilds", ReleaseError)
        if len(loaded) > 1:
            hint = "one file a key: its name is what cards call the rebuilder"
            raise ReleaseError(f"has {len(loaded)} keys", where=f"rebuilds={file}", hint=hint)
        found[file.stem] = loaded[0]
    return found
