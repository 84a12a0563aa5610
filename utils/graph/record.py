"""What a step leaves behind: a record of what it read and what it wrote, by sha256.

doit checks that targets exist; a record notices that one was damaged or edited. It is removed before a step's files
are put in their places and written last, so a step that was killed is a step that was not run. doit keeps no database
of its own: after a kill it would tell of an older run, and it could be damaged, locked or too large for the disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from utils import files, limits, paths
from utils.errors import STORAGE, BuildError, StorageError, ZooError, storage_error
from utils.untrusted import parse_as, read_bounded

__all__ = ["Outputs", "intact", "is_current", "key_of", "locked", "writing"]

FORMAT = 1

#: Written to see whether a disk is full: after a failure, what a library took away again is free.
_TRIAL_BYTES = 1 << 20


class _Written(BaseModel):
    """A file that a step left."""

    model_config = ConfigDict(extra="forbid")

    size: int
    sha256: str


class _Record(BaseModel):
    """What ``writing`` leaves."""

    model_config = ConfigDict(extra="forbid")

    format: int
    key: str
    writes: dict[str, _Written]


def key_of(config: dict[str, Any], reads: tuple[Path, ...]) -> str:
    """One hash over everything a step's result depends on.

    Args:
        config: the part of the recipe, and the pins.
        reads: the files it reads and the code that runs; by content, not by time.
    """
    content = {paths.relative(file): files.sha256(file) for file in reads}
    whole = {"format": FORMAT, "config": config, "reads": content}
    # Without an indent, json's C code writes it: a no-op does this for every step.
    text = json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _load(record: Path) -> _Record | None:
    """The record; None where there is none, or it is damaged."""
    try:
        found = parse_as(_Record, read_bounded(record, limits.JSON_BYTES), where=str(record), error=BuildError)
    except (OSError, ZooError):
        return None
    return found if found.format == FORMAT else None


def intact(record: Path, targets: tuple[Path, ...]) -> bool:
    """Whether every target is there with the size and sha256 that the step recorded."""
    return _holds(_load(record), targets)


def _holds(found: _Record | None, targets: tuple[Path, ...]) -> bool:
    try:
        if found is None or len(found.writes) != len(targets):
            return False
        written = [(file, found.writes[paths.relative(file)]) for file in targets]
        return all(files.describe_file(file) == {"size": one.size, "sha256": one.sha256} for file, one in written)
    except (OSError, KeyError):  # a file is missing, or the step wrote others then
        return False


def is_current(record: Path, key: str, targets: tuple[Path, ...]) -> bool:
    """Whether the step ran with exactly these inputs and its targets are as it left them."""
    found = _load(record)
    return found is not None and found.key == key and _holds(found, targets)


@contextlib.contextmanager
def locked(record: Path, waits: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let one process at a time run a step, as ``files.take_lock`` does it.

    Args:
        record: of the step.
        waits: called once when another process holds the lock.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        lock = (path := record.with_suffix(".lock")).open("w")
    except OSError as error:
        raise storage_error(error) from error
    with lock:
        if files.take_lock(lock.fileno(), path) is False:
            waits()
            files.take_lock(lock.fileno(), path, wait=True)
        yield


class Outputs:
    """The files a step is writing: in a folder of their own until all of them are whole."""

    def __init__(self, staging: Path) -> None:
        self.staging = staging
        self._finals: dict[Path, Path] = {}

    def new(self, final: Path, name: str | None = None) -> Path:
        """Where to write the file that will be ``final``: in the staging folder, under its own name or ``name``."""
        staged = self.staging / (name or final.name)
        self._finals[final] = staged
        return staged

    def move(self) -> None:
        """Put every file in its place, each in one rename."""
        for final, staged in self._finals.items():
            with staged.open("rb") as stream:
                os.fsync(stream.fileno())
            final.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(final)


@contextlib.contextmanager
def writing(record: Path, key: str, targets: tuple[Path, ...]) -> Iterator[Outputs]:
    """Write a step's targets so that a kill at any moment leaves no half-made file and no false record.

    The caller holds the step's lock. Temporary files of the process go where the targets are written, too.

    Raises:
        StorageError: disk full, read-only, no permission.
    """
    try:
        with files.staging(record.parent, f".{record.stem}.") as staging, _temporary_in(staging.folder):
            outputs = Outputs(staging.folder)
            try:
                yield outputs
            except StorageError:
                raise
            except Exception:  # TensorFlow, HDF5 and programs tell of a full disk in words of their own
                _try_to_write(staging.folder)
                raise
            record.unlink(missing_ok=True)
            outputs.move()
            writes = {paths.relative(file): files.describe_file(file) for file in targets}
            mark = staging.folder / "record"
            mark.write_text(files.dump_json({"format": FORMAT, "key": key, "writes": writes}), encoding="utf-8")
            mark.replace(record)
    except OSError as error:
        if error.errno not in STORAGE:  # a defect of ours: its traceback is wanted
            raise
        raise storage_error(error, str(error.filename or record.parent)) from error


@contextlib.contextmanager
def _temporary_in(folder: Path) -> Iterator[None]:
    """Let libraries and child processes put temporary files into ``folder``: TMPDIR may be full or not writable.

    Matplotlib's settings and list of fonts are among them: HOME may be so, too, and a user's settings are not ours.
    """
    ours = {"TMPDIR": str(folder), "MPLCONFIGDIR": str(folder / "matplotlib")}
    before, named = tempfile.tempdir, {name: os.environ.get(name) for name in ours}
    tempfile.tempdir = str(folder)
    os.environ.update(ours)
    try:
        yield
    finally:
        tempfile.tempdir = before
        for name, value in named.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _try_to_write(folder: Path) -> None:
    """Write a little, and take it away.

    Raises:
        OSError: the disk is full, or a file in the folder is as large as this process may write.
    """
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    for file in folder.rglob("*"):
        if most != resource.RLIM_INFINITY and file.is_file() and file.stat().st_size >= most:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(file))
    with tempfile.NamedTemporaryFile(dir=folder) as stream:
        stream.write(bytes(_TRIAL_BYTES))
        stream.flush()
