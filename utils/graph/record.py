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
from typing import Any, TextIO

from pydantic import BaseModel, ConfigDict

from utils import files, limits, paths
from utils.errors import STORAGE, BuildError, StorageError, ZooError, storage_error
from utils.graph.folder import Folder
from utils.untrusted import parse_as, read_bounded

__all__ = ["Outputs", "Record", "intact", "is_current", "key_of", "load", "load_origin", "locked", "origin_file",
           "replacing", "trying", "writing"]  # fmt: skip

FORMAT = 1

#: Written to see whether a disk is full: after a failure, what a library took away again is free.
_TRIAL_BYTES = 1 << 20


class _Written(BaseModel):
    """A file that a step left."""

    model_config = ConfigDict(extra="forbid")

    size: int
    sha256: str


class Record(BaseModel):
    """What ``writing`` leaves.

    Attributes:
        format: of the record.
        key: of the step, when it ran.
        writes: size and sha256 of each file, by its path in the checkout.
    """

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


def load(record: Path) -> Record | None:
    """The record; None where there is none, or it is damaged."""
    try:
        found = parse_as(Record, read_bounded(record, limits.JSON_BYTES), where=str(record), error=BuildError)
    except (OSError, ZooError):
        return None
    return found if found.format == FORMAT else None


class _Origin(BaseModel):
    """Where the results of a step come from that did not run here."""

    model_config = ConfigDict(extra="forbid")

    format: int
    record: str  # sha256 of the step's record
    origin: dict[str, str]


def origin_file(record: Path) -> Path:
    """Where it is kept that a step was restored; beside its record, which is the same as after a run."""
    return record.with_suffix(".restored")


def load_origin(record: Path) -> dict[str, str] | None:
    """What ``replacing`` was told of the origin of a step's files; None where the step ran here."""
    file = origin_file(record)
    try:
        text = read_bounded(record, limits.JSON_BYTES)
        found = parse_as(_Origin, read_bounded(file, limits.JSON_BYTES), where=str(file), error=BuildError)
    except (OSError, ZooError):
        return None
    return found.origin if found.record == hashlib.sha256(text).hexdigest() else None


def intact(record: Path, targets: tuple[Path, ...]) -> bool:
    """Whether every target is there with the size and sha256 that the step recorded."""
    return _holds(load(record), targets)


def _holds(found: Record | None, targets: tuple[Path, ...]) -> bool:
    try:
        if found is None or len(found.writes) != len(targets):
            return False
        written = [(file, found.writes[paths.relative(file)]) for file in targets]
        return all(files.describe_file(file) == {"size": one.size, "sha256": one.sha256} for file, one in written)
    except (OSError, KeyError):  # a file is missing, or the step wrote others then
        return False


def is_current(record: Path, key: str, targets: tuple[Path, ...]) -> bool:
    """Whether the step ran with exactly these inputs and its targets are as it left them."""
    found = load(record)
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
    with _open_lock(record) as lock:
        if files.take_lock(lock.fileno(), Path(lock.name)) is False:
            waits()
            files.take_lock(lock.fileno(), Path(lock.name), wait=True)
        yield


@contextlib.contextmanager
def trying(record: Path) -> Iterator[bool]:
    """Lock a step as ``locked`` does, unless another process has it: yields whether the lock is ours.

    Raises:
        StorageError: the folder cannot be written.
    """
    with _open_lock(record) as lock:
        yield files.take_lock(lock.fileno(), Path(lock.name)) is not False


def _open_lock(record: Path) -> TextIO:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        return record.with_suffix(".lock").open("w")
    except OSError as error:
        raise storage_error(error) from error


class Outputs:
    """The files a step is writing: in a folder of their own until all of them are whole.

    Attributes:
        staging: that folder.
        folder: in it, what becomes the step's ``Folder``; whatever is in it gets into place.
    """

    def __init__(self, staging: Path, folder: Folder | None = None) -> None:
        self.staging, self._folder = staging, folder
        self.folder = staging / folder.path.name if folder else staging
        self._finals: dict[Path, Path] = {}
        if folder:
            self.folder.mkdir()

    def new(self, final: Path, name: str | None = None) -> Path:
        """Where to write the file that will be ``final``: in the staging folder, under its own name or ``name``."""
        if self._folder and final.is_relative_to(self._folder.path):
            return self.folder / final.relative_to(self._folder.path)
        staged = self.staging / (name or final.name)
        self._finals[final] = staged
        return staged

    def move(self) -> None:
        """Put every file in its place, each in one rename, and the folder as a whole."""
        if self._folder:
            self._folder.install(self.folder)
        for final, staged in self._finals.items():
            with staged.open("rb") as stream:
                os.fsync(stream.fileno())
            final.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(final)


@contextlib.contextmanager
def writing(record: Path, key: str, targets: tuple[Path, ...], folder: Folder | None = None) -> Iterator[Outputs]:
    """Write a step's targets as ``replacing`` does, in a process of the step's own.

    Temporary files of the process go where the targets are written, too.

    Raises:
        StorageError: disk full, read-only, no permission.
    """
    with replacing(record, key, targets, folder) as outputs, _temporary_in(outputs.staging):
        try:
            yield outputs
        except StorageError:
            raise
        except Exception:  # TensorFlow, HDF5 and programs tell of a full disk in words of their own
            _try_to_write(outputs.staging)
            raise


@contextlib.contextmanager
def replacing(
    record: Path,
    key: str,
    targets: tuple[Path, ...],
    folder: Folder | None = None,
    origin: dict[str, str] | None = None,
) -> Iterator[Outputs]:
    """Put a step's targets in place so that a kill at any moment leaves no half-made file and no false record.

    The caller holds the step's lock.

    Args:
        record: of the step.
        key: of the step.
        targets: all that it writes.
        folder: that some of them are in, if it is replaced as a whole.
        origin: where they come from; None: the step runs here.

    Raises:
        StorageError: disk full, read-only, no permission.
    """
    try:
        with files.staging(record.parent, f".{record.stem}.") as staging:
            outputs = Outputs(staging.folder, folder)
            yield outputs
            record.unlink(missing_ok=True)
            origin_file(record).unlink(missing_ok=True)
            # Two steps that write into one bundle, one as the guest of the other, take turns.
            with locked(record.with_name("bundle")) if folder else contextlib.nullcontext():
                outputs.move()
            writes = {paths.relative(file): files.describe_file(file) for file in targets}
            text = files.dump_json({"format": FORMAT, "key": key, "writes": writes})
            if origin is not None:
                _write_origin(staging.folder, record, text, origin)
            mark = staging.folder / "record"
            mark.write_text(text, encoding="utf-8")
            mark.replace(record)
    except OSError as error:
        if error.errno not in STORAGE:  # a defect of ours: its traceback is wanted
            raise
        raise storage_error(error, str(error.filename or record.parent)) from error


def _write_origin(staging: Path, record: Path, text: str, origin: dict[str, str]) -> None:
    """Note the origin before the record that it belongs to is there: a record alone says that the step ran here."""
    mark = staging / "origin"
    found = {"format": FORMAT, "record": hashlib.sha256(text.encode()).hexdigest(), "origin": origin}
    mark.write_text(files.dump_json(found), encoding="utf-8")
    mark.replace(origin_file(record))


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
