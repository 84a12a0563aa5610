"""The sha256 of files; in one process, a file that did not change is read once."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

__all__ = ["Look", "describe_file", "known", "look_at", "sha256"]

#: What a stat tells of a file: its path, size in bytes, mtime_ns, ctime_ns and inode. A change of the content changes
#: the ctime too, whatever time a program gives the file.
Look = tuple[str, int, int, int, int]

#: The sha256 of each file that was read, by how it looked before that. A process that only decides what has to run
#: begins with those of the one before it (``utils/front/index.py``); every other one begins with none.
known: dict[Look, str] = {}

#: More than a zoo of thousands of models has; a process that runs for weeks begins anew then.
_MOST_KNOWN = 1 << 20


def sha256(file: Path) -> str:
    """The sha256 of a regular file, in hex."""
    return _sha256(file, file.stat())


def describe_file(file: Path) -> dict[str, Any]:
    """``{"size": bytes, "sha256": hex}`` of a file."""
    status = file.stat()
    return {"size": status.st_size, "sha256": _sha256(file, status)}


def look_at(name: str, status: os.stat_result) -> Look:
    """How the file ``name`` looks, by its stat."""
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _sha256(file: Path, status: os.stat_result) -> str:
    look = look_at(str(file), status)
    digest = known.get(look)
    if digest is None:
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
            raise OSError(errno.EISDIR, "is not a regular file", str(file))
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[look] = digest
    return digest
