"""Rebuilders: keys of their own, and signed statements about what they have rebuilt, without building anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.releases import write_public
from utils.attest import envelope, rebuilds, statement
from utils.keys import fingerprint_of

COMMIT = "c" * 40

#: What a rebuilder's machine calls its processor.
CPU = "A CPU @ 2.40GHz"

#: When it rebuilt.
TIME = "2026-10-01T12:00:00Z"


def new_key() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


def file_of(key: Any) -> str:
    """What the statement of a key is called."""
    return f"{fingerprint_of(key.public_key())[:16]}.json"


def state(
    key: Any,
    model: str,
    artifacts: Mapping[str, str],
    *,
    version: str = "",
    commit: str = COMMIT,
    rebuilt: Mapping[str, str] | None = None,
    cpu: str = CPU,
    time: str = TIME,
    files: Mapping[str, str] | None = None,
) -> bytes:
    """A signed statement: about a release, or without ``version`` about artifacts.lock.

    ``files`` are those of release.json: what does not list a provenance gets one of other bytes.
    """
    made = statement.make(
        model,
        commit,
        statement.release_uri(version) if version else statement.LOCK,
        artifacts,
        artifacts if rebuilt is None else rebuilt,
        {file: provenance_of(file, files or {}) for file in artifacts} if version else {},
        statement.Environment(kind="image", requirements_sha256="d" * 64, cpu=cpu, python="3.13.5"),
        {"tensorflow": "2.21.0"},
        time,
    )
    return envelope.seal(made, key)


def provenance_of(file: str, files: Mapping[str, str]) -> str:
    return files.get(f"provenance/{file}.json", hashlib.sha256(file.encode()).hexdigest())


def put(folder: Path, model: str, key: Any, text: bytes) -> Path:
    """Put a statement where one of this key belongs."""
    file = folder / model / file_of(key)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text)
    return file


def put_beside(release: Path, index: Mapping[str, Any], model: str, key: Any, **changes: Any) -> Path:
    """Put a statement about a released model beside the release."""
    artifacts = {file: facts["sha256"] for file, facts in index["models"][model]["artifacts"].items()}
    facts = {"version": index["version"], "commit": index["commit"], "files": index["files"], **changes}
    return put(rebuilds.folder_of(release), model, key, state(key, model, artifacts, **facts))


def know(folder: Path, name: str, key: Any) -> None:
    """Make a key that of a known rebuilder."""
    (folder / "keys").mkdir(parents=True, exist_ok=True)
    write_public(folder / "keys" / f"{name}.pub", key)
