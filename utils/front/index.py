"""The index of hashes: what an earlier doit read of files that look the same today is not read again.

``build/hashes.txt`` has a line for each file: its sha256, how it looked (size, mtime_ns, ctime_ns, inode), its name.
Only the process of doit begins with it, and only to decide what has to run. A step reads all that it takes in, and so
do ``doit --check``, a release, ``doit lock`` and ``doit verify``: what a disk changed by itself is found there.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from utils import files, hashes, limits, paths
from utils.errors import StorageError
from utils.untrusted import read_bounded

__all__ = ["begin", "save"]

_HEAD = "nxp-model-zoo hashes 1\n"
_NUMBER = "([0-9]{1,20})"
_LINE = re.compile(f"^([0-9a-f]{{64}}) {_NUMBER} {_NUMBER} {_NUMBER} {_NUMBER} (.+)$", re.MULTILINE)

#: When this process began. A file that changed shortly before it was read may have changed again within the same tick
#: of the file system's clock, and look the same: the next doit reads it once more.
_STARTED_NS = time.time_ns()
_TICK_NS = 2_000_000_000

#: What this process began with; no entry where nothing asked it to begin.
_begun: list[dict[hashes.Look, str]] = []


def begin(*, reads_all: bool = False) -> None:
    """Begin with the hashes that earlier processes have read; a missing or damaged index costs time alone.

    Args:
        reads_all: begin with none, but keep for the next one what is read now.
    """
    _begun[:] = [{} if reads_all else _read()]
    hashes.known.update(_begun[0])


def save() -> None:
    """Keep what was read for the next process; where nothing was, or nothing can be written, do nothing."""
    if not _begun or not paths.BUILD.is_dir():
        return
    new = {look: digest for look, digest in hashes.known.items() if look not in _begun[0] and _is_settled(look)}
    if not new:
        return
    lines = {}
    for (name, size, mtime, ctime, inode), digest in (_read() | new).items():  # the last look at a file counts
        lines[name] = f"{digest} {size} {mtime} {ctime} {inode} {paths.relative(Path(name))}\n"
    text = "".join(line for name, line in sorted(lines.items()) if os.path.exists(name))  # noqa: PTH110  # of thousands
    with contextlib.suppress(OSError, StorageError):  # it only saves time
        files.write_whole(_file(), _HEAD + text)


def _is_settled(look: hashes.Look) -> bool:
    name, _, mtime, ctime, _ = look
    return 0 <= mtime < _STARTED_NS - _TICK_NS and ctime < _STARTED_NS - _TICK_NS and name.isprintable()


def _read() -> dict[hashes.Look, str]:
    try:
        text = read_bounded(_file(), limits.HASHES_BYTES).decode(errors="replace")
    except OSError:
        return {}
    found = _LINE.findall(text, len(_HEAD)) if text.startswith(_HEAD) else []
    return {_look(name, *numbers): digest for digest, *numbers, name in found}


def _look(name: str, size: str, mtime: str, ctime: str, inode: str) -> hashes.Look:
    path = name if name.startswith("/") else f"{paths.ROOT}/{name}"
    return path, int(size), int(mtime), int(ctime), int(inode)


def _file() -> Path:
    return paths.BUILD / "hashes.txt"
