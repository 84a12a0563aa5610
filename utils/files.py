"""Hashes of files, JSON with reproducible bytes, and files and folders that appear whole or not at all.

A reader sees the old file or folder, or the new one, even after a kill. A writer holds a lock (flock) on what it
writes into, and the kernel frees the lock of a dead process: so the remains of a kill can be told from live work.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from utils import limits, paths
from utils.errors import DataError, storage_error
from utils.hashes import describe_file, sha256
from utils.untrusted import parse_json, read_bounded

__all__ = [
    "SUMS",
    "Staging",
    "copy_folder",
    "describe_file",
    "dump_json",
    "is_plain",
    "load_json",
    "locked_folder",
    "make_sums",
    "parse_sums",
    "replace_folder",
    "restore_folder",
    "restore_folders",
    "sha256",
    "staging",
    "sums_hold",
    "take_lock",
    "write_whole",
    "writing_whole",
]

#: The file that lists the sha256 of all other files in its folder, in the form that ``sha256sum -c`` reads.
SUMS = "SHA256SUMS"

_SUM = re.compile(r"([0-9a-f]{64})  (\S.*)")


def dump_json(value: Any) -> str:
    """Write a value as JSON: sorted, indented, one newline at the end; equal values give equal bytes."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def load_json(file: Path) -> dict[str, Any]:
    """Read an object that ``dump_json`` wrote.

    Raises:
        DataError: the file holds no JSON object.
        OSError: it cannot be read.
    """
    hint = "delete the file, then run doit again"
    where = paths.relative(file)
    value = parse_json(read_bounded(file, limits.JSON_BYTES), where=where, error=DataError, hint=hint)
    if not isinstance(value, dict):
        raise DataError("should be an object", where=where, hint=hint)
    return value


# Checksums


def make_sums(folder: Path) -> str:
    """Make the text of a folder's SHA256SUMS: a line for each other file, sorted by name as text."""
    names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return "".join(f"{sha256(folder / name)}  {name}\n" for name in sorted(names) if name != SUMS)


def parse_sums(text: str, *, skip_malformed: bool = False) -> dict[str, str]:
    """Parse the text of a SHA256SUMS into file name -> sha256.

    Raises:
        ValueError: a line is malformed or its path leaves the folder, and ``skip_malformed`` is not set.
    """
    found = {}
    for line in text.splitlines():
        if (match := _SUM.fullmatch(line)) and is_plain(match[2]):
            found[match[2]] = match[1]
        elif not skip_malformed:
            raise ValueError(f"{SUMS} has a malformed line: {line[:80]!r}")
    return found


def is_plain(name: str) -> bool:
    """Whether a name is a relative path inside its folder, without ``..``, backslashes or control characters."""
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(name.split("/"))


def sums_hold(folder: Path) -> bool:
    """Whether every file that the folder's SHA256SUMS names is there and unchanged."""
    try:
        sums = parse_sums((folder / SUMS).read_text(encoding="utf-8"))
        return all(sha256(folder / name) == digest for name, digest in sums.items())
    except (OSError, ValueError):
        return False


# Whole files


@contextlib.contextmanager
def writing_whole(file: Path) -> Iterator[BinaryIO]:
    """Write a file, then rename it into place once it is on the disk; two writers of one file take turns."""
    with _open_claimed(file.with_name(f".{file.name}.new")) as stream:
        new = Path(stream.name)
        try:
            stream.truncate(0)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            new.replace(file)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def _open_claimed(new: Path) -> BinaryIO:
    while True:
        stream = new.open("ab")  # the remains of a killed writer are overwritten
        try:
            if take_lock(stream.fileno(), new, wait=True) is None:  # no locks here: another process may write to it too
                new.unlink(missing_ok=True)
                stream.close()
                return new.with_name(f"{new.name}.{uuid.uuid4().hex}").open("xb")
            if _claims(stream.fileno(), new):
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file, then rename it into place once it is on the disk."""
    with writing_whole(file) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


# Whole folders


@dataclass
class Staging:
    """A folder that one process fills, beside the place where its contents will go.

    Attributes:
        folder: where to write.
        lock: a file descriptor; a child process that inherits it keeps the folder alive.
        keep: set it to keep the folder until the next process stages here.
    """

    folder: Path
    lock: int
    keep: bool = False


@contextlib.contextmanager
def staging(parent: Path, prefix: str) -> Iterator[Staging]:
    """Make a folder ``<prefix>XXXXXXXX`` in ``parent``, and remove those whose process is dead."""
    parent.mkdir(parents=True, exist_ok=True)
    for other in parent.glob(f"{prefix}*/"):
        _remove_dead(other)
    folder, lock = _new_staging(parent, prefix)
    made = Staging(folder, lock)
    try:
        yield made
    finally:
        if not made.keep:
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _new_staging(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with contextlib.suppress(FileNotFoundError):  # before it was locked, another process took its owner for dead
            lock = os.open(folder, os.O_RDONLY)
            try:
                if _claims(lock, folder):
                    return folder, lock
            except BaseException:
                os.close(lock)
                folder.rmdir()
                raise
            os.close(lock)


@contextlib.contextmanager
def locked_folder(folder: Path, waits: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let one process at a time write into ``folder``.

    Args:
        folder: an existing one.
        waits: called once when another process holds the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if take_lock(descriptor, folder) is False:
            waits()
            take_lock(descriptor, folder, wait=True)
        yield
    finally:
        os.close(descriptor)


def replace_folder(new: Path, final: Path) -> None:
    """Move a finished folder into place, even from another file system; the old folder goes once the new one is there.

    Where the system cannot swap two folders atomically, the old one is ``.<name>.old`` for a moment, and
    ``restore_folder`` brings it back if the process dies in that moment.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    restore_folder(final)
    for file in new.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    try:
        _replace(new, final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with staging(final.parent, f".{final.name}.new.") as near:  # a mount point: copy inside it
            copy_folder(new, near.folder / final.name)
            replace_folder(near.folder / final.name, final)


def copy_folder(folder: Path, to: Path) -> None:
    """Copy a folder; errors of the disk stay OSErrors, which ``shutil.copytree`` would turn into text."""
    to.mkdir()
    for item in folder.iterdir():
        if item.is_dir():
            copy_folder(item, to / item.name)
        else:
            shutil.copyfile(item, to / item.name)


def restore_folder(final: Path) -> None:
    """Bring back the folder that a killed ``replace_folder`` left aside; do nothing if there is none."""
    aside = _aside(final)
    if os.path.lexists(aside):
        if os.path.lexists(final):
            _remove(aside)
        else:
            aside.rename(final)


def restore_folders(parent: Path) -> None:
    """Bring back every folder in ``parent`` that a killed ``replace_folder`` left aside."""
    for aside in parent.glob(".*.old"):
        restore_folder(parent / aside.name.removeprefix(".").removesuffix(".old"))


def _replace(new: Path, final: Path) -> None:
    if not os.path.lexists(final):
        new.rename(final)
    elif _exchange(new, final):
        _remove(new)  # it is the old one now
    else:
        aside = _aside(final)
        final.rename(aside)
        try:
            new.rename(final)
        except BaseException:
            aside.rename(final)
            raise
        _remove(aside)


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths atomically; False where the system or the file system cannot (Linux only)."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: <fcntl.h>, <linux/fs.h>
    if call(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))


# Locks


#: Errors of flock on a file system without locks. NFS gives EBADF for a folder: it locks only what is open for writing.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


def take_lock(descriptor: int, path: Path, *, wait: bool = False) -> bool | None:
    """Lock an open file or folder for this process, until the descriptor is closed or the process is dead.

    Where the file system has no locks, the work goes on without one: a single process needs none.

    Args:
        descriptor: of ``path``.
        path: named in the error.
        wait: until another process frees the lock.

    Returns:
        True if the lock is ours, False if another process has it, None if the file system has no locks.

    Raises:
        StorageError: the disk or the network of the file system fails.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise storage_error(error, str(path)) from error
    return True


def _claims(descriptor: int, path: Path) -> bool:
    """Lock an open file; whether the path still names it, or another process removed it first."""
    take_lock(descriptor, path, wait=True)
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_dead(folder: Path) -> None:
    """Remove a staging folder that no process has locked; where the file system has no locks, it stays."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # gone already, or another user's
        return
    try:
        if take_lock(descriptor, folder):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
