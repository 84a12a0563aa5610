"""Signed statements of rebuilds as files: ``FOLDER/MODEL/KEY.json``, KEY being the start of the signer's fingerprint.

A release is signed as a whole, so its statements are in a folder beside it. Those of ``artifacts.lock`` are in
``rebuilds/`` of the checkout, and so are the keys of the rebuilders that its cards name: ``rebuilds/keys/NAME.pub``.
Anybody can put a file there: what counts is whose signature is on it.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from utils import files, limits
from utils.attest import envelope, statement
from utils.attest.envelope import Envelope
from utils.errors import ReleaseError
from utils.keys import fingerprint_of, load_publics
from utils.untrusted import as_text, read_bounded

__all__ = [
    "Confirmation",
    "Rebuild",
    "confirmations",
    "covers",
    "files_of",
    "folder_of",
    "known_rebuilders",
    "name_of",
    "read_rebuild",
    "scan",
    "write",
]

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
        builder: the image, or a venv of the same lock.
        cpu: the model of the CPU.
        time: RFC 3339.
        file: name for messages.
    """

    model: str
    signer: str
    passed: bool
    commit: str
    resource: str
    subjects: dict[str, str]
    rebuilt: dict[str, str]
    builder: Literal["image", "venv"]
    cpu: str
    time: str
    file: str


@dataclass(frozen=True)
class Confirmation:
    """A known rebuilder has made all artifacts of a model again, with the same bytes.

    Attributes:
        name: of the rebuilder.
        commit: what was built.
        builder: ``image`` or ``venv``.
        cpu: the model of the CPU.
        time: RFC 3339.
    """

    name: str
    commit: str
    builder: str
    cpu: str
    time: str


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
        builder=made.environment.kind,
        cpu=made.environment.cpu,
        time=found.timeVerified,
        file=where,
    )
    return rebuild, signed


def scan(folder: Path, model: str) -> tuple[dict[str, bytes], list[str]]:
    """Read the files of one model's statements; returns name -> content, and what was left out and why.

    Links, pipes, folders, too large files and those beyond ``limits.REBUILDS`` are left out.
    """
    found: dict[str, bytes] = {}
    left: list[str] = []
    place = folder / model
    try:
        names = sorted(file.name for file in place.iterdir() if file.suffix == ".json")
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [f"{as_text(place)}: cannot be read: {error.strerror}"]
    if len(names) > limits.REBUILDS:
        left.append(f"{as_text(place)}: has more than {limits.REBUILDS:,} statements: the others were not read")
    for name in names[: limits.REBUILDS]:
        try:
            if stat.S_ISLNK((place / name).lstat().st_mode):
                left.append(f"{model}/{as_text(name, 100)}: is a link, not a file")
                continue
            found[name] = read_bounded(place / name, limits.REBUILD_BYTES)
        except OSError as error:
            left.append(f"{model}/{as_text(name, 100)}: {error.strerror}")
    return found, left


def files_of(folder: Path, model: str) -> dict[str, bytes]:
    """The files of one model's statements: name -> content, sorted; empty where there are none."""
    return scan(folder, model)[0]


def write(folder: Path, rebuild: Mapping[str, Any], model: str, private: Any) -> Path:
    """Sign a statement of ``statement.make`` and write it to its place; returns the file.

    Raises:
        StorageError: disk full, read-only, no permission.
    """
    file = folder / model / name_of(fingerprint_of(private.public_key()))
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(file, envelope.seal(rebuild, private))
    return file


def known_rebuilders(folder: Path) -> dict[str, Any]:
    """The public keys of ``FOLDER/keys``: what NAME.pub is called -> its key; empty where there are none.

    Raises:
        ReleaseError: a file there is not one public key.
    """
    found = {}
    for file in sorted((folder / "keys").glob("*.pub")):
        loaded = load_publics(file, "rebuilds", ReleaseError)
        if len(loaded) > 1:
            hint = "one file a key: its name is what cards call the rebuilder"
            raise ReleaseError(f"has {len(loaded)} keys", where=f"rebuilds={file}", hint=hint)
        found[file.stem] = loaded[0]
    return found


def covers(rebuild: Rebuild, artifacts: Mapping[str, str]) -> bool:
    """Whether a statement is about all of these artifacts (file -> sha256), with these hashes."""
    return bool(artifacts) and all(rebuild.subjects.get(file) == sha256 for file, sha256 in artifacts.items())


def confirmations(
    folder: Path, keys: Mapping[str, Any], model: str, artifacts: Mapping[str, str]
) -> list[Confirmation]:
    """List the rebuilders that have made all artifacts of a model again, each key once, by name.

    Statements that are damaged, of an unknown key, of other bytes, or ``FAILED`` do not count.

    Args:
        folder: of the statements.
        keys: name -> public key: the rebuilders that count.
        model: its name.
        artifacts: file -> sha256.
    """
    names = {fingerprint_of(key): name for name, key in sorted(keys.items(), reverse=True)}
    publics = {fingerprint_of(key): key for key in keys.values()}
    found: dict[str, Confirmation] = {}
    for file, text in files_of(folder, model).items():
        try:
            rebuild, signed = read_rebuild(text, f"{model}/{file}")
        except ReleaseError:
            continue
        public = publics.get(rebuild.signer)
        if public is None or not envelope.is_signed_by(signed, public):
            continue
        if rebuild.model != model or not rebuild.passed or not covers(rebuild, artifacts):
            continue
        name = names[rebuild.signer]
        found.setdefault(name, Confirmation(name, rebuild.commit, rebuild.builder, rebuild.cpu, rebuild.time))
    return [found[name] for name in sorted(found)]
