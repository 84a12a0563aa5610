"""Every error that a user can meet, as one small tree.

::

    ZooError                 exit code 2   (the base; never raised itself)
    ├── UsageError           exit code 2   a word on the command line, or a variable, is unknown; nothing was done
    ├── RecipeError          exit code 3   a recipe.toml is wrong
    ├── SourceError          exit code 4   a source cannot be fetched, or is not what it should be
    │   ├── OfflineError                   sources are missing and the network is off
    │   └── CorruptError                   bytes do not match their size or hash
    ├── DataError            exit code 5   a data file cannot be read or does not fit (idx, image, archive, weights)
    ├── BuildError           exit code 6   training, loading, conversion or compiling failed, or cannot begin
    ├── GateError            exit code 7   a measured number is outside what the recipe allows
    ├── ValidationError      exit code 8   example.py found the bundle wrong
    ├── StorageError         exit code 9   disk full, read-only folder, no permission
    ├── ReleaseError         exit code 10  a release is refused, or differs from its own records
    ├── PublishError         exit code 11  the destination of a publish cannot be reached, or refuses
    ├── BoardError           exit code 12  a board cannot be reached, or lacks something
    └── EngineError          exit code 13  the cluster's scheduler cannot be reached, or no worker takes a step

A message says what happened, where (recipe, file, key) and what to do now. Exit code 0 is success,
1 is a bug in the zoo (it comes with a traceback), 130 is Ctrl-C.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import ClassVar

#: Errors of a disk that is full, read-only, broken or not ours, or that has a file where a folder belongs.
STORAGE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE),
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE),
)

__all__ = [
    "STORAGE",
    "BoardError",
    "BuildError",
    "CorruptError",
    "DataError",
    "EngineError",
    "GateError",
    "OfflineError",
    "PublishError",
    "RecipeError",
    "ReleaseError",
    "SourceError",
    "StorageError",
    "UsageError",
    "ValidationError",
    "ZooError",
    "did_you_mean",
    "storage_error",
]


class ZooError(Exception):
    """An error with a message for the user.

    Args:
        what: what happened, in one sentence.
        where: the recipe, file or key it happened in.
        hint: what to do now.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what, where, hint)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.hint:
            lines.append(f"  -> {self.hint}")
        return "\n".join(lines)


class UsageError(ZooError):
    """A task, an option, a ``name=value`` or a variable is unknown; nothing was done."""


class RecipeError(ZooError):
    """A recipe.toml is wrong: unknown key, wrong type, two recipes with one name."""

    exit_code = 3


class SourceError(ZooError):
    """A source cannot be fetched: every address failed.

    Attributes:
        details: every missing source with its addresses; the message names the first few.
    """

    exit_code = 4
    details: str = ""


class OfflineError(SourceError):
    """Sources are missing and the network is off."""

    BEGINS: ClassVar[str] = "ZOO_OFFLINE is set, "


class CorruptError(SourceError):
    """Bytes do not have the size or the hash that the recipe pins."""


class DataError(ZooError):
    """A data file cannot be read or does not fit: wrong magic, hostile archive, weights of another network."""

    exit_code = 5


class BuildError(ZooError):
    """Training, loading or conversion failed."""

    exit_code = 6


class GateError(ZooError):
    """A measured number is outside what the recipe allows."""

    exit_code = 7


class ValidationError(ZooError):
    """example.py found the bundle wrong."""

    exit_code = 8


class StorageError(ZooError):
    """A file cannot be written: disk full, read-only folder, no permission."""

    exit_code = 9


class ReleaseError(ZooError):
    """A release is refused (the message lists every reason), or a finished one differs from its own records."""

    exit_code = 10


class PublishError(ZooError):
    """The destination of a publish cannot be reached, or refuses."""

    exit_code = 11


class BoardError(ZooError):
    """A board cannot be reached, or lacks what a bundle needs; or the virtual board cannot be set up here."""

    exit_code = 12


class EngineError(ZooError):
    """The scheduler of a cluster cannot be reached or went away, or none of its workers takes a step."""

    exit_code = 13


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known names, as the end of a message that refuses ``word``; empty if none is near.

    Names that begin with the whole word come first; if none is near, names that share a beginning. At most three.
    """
    folded = {name.lower().replace("-", "_"): name for name in known}
    asked = word.lower().replace("-", "_")
    near = [name for name in folded if len(asked) >= 3 and name.startswith(f"{asked}_")]
    near = near or difflib.get_close_matches(asked, folded, n=1)
    near = near or [name for name in folded if sorted(name) == sorted(asked)]  # two letters changed places
    if not near and len(asked) >= 3:
        near = [name for name in folded if name.startswith(asked) or (len(name) >= 4 and asked.startswith(name))]
    names = [repr(folded[name]) for name in near[:3]]
    return f" (did you mean {' or '.join(names)}?)" if names else ""


def storage_error(error: OSError, where: str = "") -> StorageError:
    """Turn an OSError of a write into a message that says what to do.

    Args:
        error: the operating system's error.
        where: the file; ``error.filename`` when empty.
    """
    where = where or str(error.filename or "")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            "no space left on the disk",
            where=where,
            hint="free some space (build/ can be rebuilt), then run doit again",
        )
    if error.errno == errno.EFBIG:
        return StorageError(
            "the file would be larger than this process may write",
            where=where,
            hint="raise the limit (ulimit -f unlimited) or use a disk that holds larger files, then run doit again",
        )
    if error.errno == errno.EROFS:
        return StorageError(
            "the folder is read-only",
            where=where,
            hint="mount the workspace read-write (docker run -v, without :ro), then run doit again",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageError(
            "no permission to write",
            where=where,
            hint="make the folder writable for this user (ls -ld shows its owner), then run doit again",
        )
    return StorageError(
        f"cannot be read or written: {error.strerror or error}",
        where=where,
        hint="repair or remove what is there (ls -ld shows it), then run doit again",
    )
