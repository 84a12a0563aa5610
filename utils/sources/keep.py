"""User-supplied files in the cache: copied once, named by their sha256, checked each time they are copied out."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from utils import files, paths
from utils.errors import DataError, storage_error

__all__ = ["is_kept", "keep_file", "take_file"]

_CHUNK = 1 << 20  # bytes


def is_kept(digest: str) -> bool:
    """Whether the cache holds the file of this sha256, undamaged."""
    try:
        return files.sha256(paths.cache() / digest) == digest
    except OSError:
        return False


def keep_file(stream: BinaryIO, where: str) -> str:
    """Copy a file into the cache and return the sha256 of the bytes that were copied.

    Args:
        stream: the open file.
        where: its name for an error.

    Raises:
        DataError: the file cannot be read.
        StorageError: the cache cannot be written.
    """
    folder = paths.cache() / "partial"
    new: Path | None = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
            new = Path(name)
            with os.fdopen(descriptor, "wb") as target:
                digest = _pour(_read_chunks(stream, where), target)
                target.flush()
                os.fsync(target.fileno())
            new.chmod(0o644)
            if not is_kept(digest):
                new.replace(paths.cache() / digest)
        except OSError as error:
            raise storage_error(error, str(new or folder)) from error
    finally:
        if new is not None:
            with suppress(OSError):
                new.unlink(missing_ok=True)
    return digest


def take_file(digest: str, target: Path) -> bool:
    """Copy a file out of the cache; whether the copied bytes have this sha256.

    Raises:
        StorageError: the target cannot be written.
    """
    try:
        with (paths.cache() / digest).open("rb") as stream:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as copy:
                return _pour(_read_chunks(stream, str(stream.name)), copy) == digest
    except (FileNotFoundError, DataError):
        return False
    except OSError as error:
        raise storage_error(error, str(target)) from error


def _read_chunks(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """Read a stream; an error here is not one of the destination."""
    try:
        while chunk := stream.read(_CHUNK):
            yield chunk
    except OSError as error:
        hint = "copy it to a local disk, and give that copy"
        raise DataError(f"cannot be read: {error.strerror}", where=where, hint=hint) from None


def _pour(chunks: Iterable[bytes], target: BinaryIO) -> str:
    """Write the chunks; return their sha256."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()
