"""Statements of rebuilds about the small release of the tests: honest ones, and others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.releases import FIRST_MODEL, Keys, make_fit, write_private, write_public
from utils import files
from utils.attest import rebuilds, statement
from utils.errors import ReleaseError
from utils.keys import load_private
from utils.release.check import index_of

ENVIRONMENT = statement.Environment(
    kind="venv", requirements_sha256="a" * 64, cpu="Some CPU (R) @ 2.00GHz", python="3.11.2"
)


def make_rebuilder(folder: Path, name: str) -> Keys:
    """A key pair whose files are called by its owner's name."""
    folder.mkdir(parents=True, exist_ok=True)
    keys, key = Keys(folder / f"{name}.key", folder / f"{name}.pub"), ec.generate_private_key(ec.SECP256R1())
    write_private(keys.private, key)
    write_public(keys.public, key)
    return keys


def private_of(keys: Keys) -> Any:
    """The private key itself."""
    return load_private(keys.private, "key", ReleaseError)


def artifacts_of(release: Path, model: str = FIRST_MODEL) -> dict[str, str]:
    """File -> sha256 of a model's artifacts in a release."""
    artifacts = index_of(release)["models"][model]["artifacts"]
    return {file: facts["sha256"] for file, facts in artifacts.items()}


def facts_of(release: Path) -> dict[str, Any]:
    """What ``statement.make`` takes for a rebuild of the first model, with the same bytes."""
    index, artifacts = index_of(release), artifacts_of(release)
    return {
        "model": FIRST_MODEL,
        "commit": index["commit"],
        "resource": statement.release_uri(index["version"]),
        "subjects": artifacts,
        "rebuilt": artifacts,
        "provenance": {file: files.sha256(release / f"provenance/{file}.json") for file in artifacts},
        "environment": ENVIRONMENT,
        "tools": {"numpy": "2.4.0"},
        "time": "2026-01-31T12:00:00Z",
    }


def put(
    release: Path,
    keys: Keys,
    edit: Callable[[dict[str, Any]], object] | None = None,
    *,
    folder: Path | None = None,
    **changes: Any,
) -> Path:
    """Sign and write a statement about a release; ``edit`` changes it after it was made, before it is signed."""
    made = statement.make(**{**facts_of(release), **changes})
    if edit:
        edit(made)
    return rebuilds.write(folder or rebuilds.folder_of(release), made, FIRST_MODEL, private_of(keys))


def move_to(release: Path, commit: str) -> None:
    """Let an unsigned release say that it was made of another commit."""
    old = index_of(release)["commit"]
    for file in (release / "release.json", *(release / "provenance").iterdir()):
        file.write_text(file.read_text().replace(old, commit))
    make_fit(release)
