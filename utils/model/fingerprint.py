"""Identify weights: name, size and sha256 of a weights file, or of the folder of a SavedModel."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from utils import files
from utils.errors import DataError
from utils.model.stored import FOLDER, quote

__all__ = ["fingerprint_weights", "list_members", "listing"]


def fingerprint_weights(path: Path) -> dict[str, Any]:
    """Get ``{"name", "size", "sha256"}`` of a weights file or folder, without interpreting any weight.

    A folder's size is the sum of its files, its sha256 that of its ``listing``: the same files give the same hash
    anywhere.

    Raises:
        DataError: it is missing, unreadable, neither file nor folder, or a folder that contains a symbolic link.
    """
    try:
        if path.is_dir():
            found = list_members(path)
            size = sum(file.stat().st_size for file in found.values())
            digest = hashlib.sha256(listing({name: files.sha256(file) for name, file in found.items()})).hexdigest()
            return {"name": path.absolute().name, "size": size, "sha256": digest}
        if path.exists() and not path.is_file():
            raise DataError("is neither a file nor a folder", where=str(path), hint="give the weights file itself")
        return {"name": path.absolute().name, **files.describe_file(path)}
    except OSError as error:
        hint = "check the path and its permissions"
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), hint=hint) from None


def listing(digests: dict[str, str]) -> bytes:
    """Write a folder as one JSON object, {relative path: sha256}, sorted by name."""
    return files.dump_json(digests).encode("utf-8", "surrogateescape")


def list_members(folder: Path) -> dict[str, Path]:
    """List every file in a folder by its relative path; raises DataError for anything but files and folders."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink():
            raise DataError(
                f"{quote(name)} is a symbolic link", where=str(folder), hint="replace it with a copy of its target"
            )
        if file.is_file():
            found[name] = file
        elif not file.is_dir():
            raise DataError(f"{quote(name)} is neither a file nor a folder", where=str(folder), hint=FOLDER)
    return found
