"""What a step leaves behind: a record of what it read and what it wrote, by sha256.

doit checks that targets exist; a record notices that one was damaged or edited. It is removed before a step's files
are put in their places and written last, so a step that was killed is a step that was not run. The record, not doit's
own database, is the truth: doit writes that at its end, so after a kill it tells of an older run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from utils import files, paths
from utils.errors import STORAGE, storage_error

__all__ = ["Outputs", "intact", "is_current", "key_of", "locked", "writing"]

FORMAT = 1


def key_of(config: dict[str, Any], reads: tuple[Path, ...]) -> str:
    """One hash over everything a step's result depends on.

    Args:
        config: the part of the recipe, and the pins.
        reads: the files it reads and the code that runs; by content, not by time.
    """
    content = {paths.relative(file): files.sha256(file) for file in reads}
    return hashlib.sha256(files.dump_json({"format": FORMAT, "config": config, "reads": content}).encode()).hexdigest()


def _load(record: Path) -> dict[str, Any]:
    try:
        data = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) and data.get("format") == FORMAT else {}


def intact(record: Path, targets: tuple[Path, ...]) -> bool:
    """Whether every target is there with the size and sha256 that the step recorded."""
    written = _load(record).get("writes", {})
    try:
        return set(written) == {paths.relative(file) for file in targets} and all(
            file.stat().st_size == written[paths.relative(file)]["size"]
            and files.sha256(file) == written[paths.relative(file)]["sha256"]
            for file in targets
        )
    except OSError:
        return False


def is_current(record: Path, key: str, targets: tuple[Path, ...]) -> bool:
    """Whether the step ran with exactly these inputs and its targets are as it left them."""
    return _load(record).get("key") == key and intact(record, targets)


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

    def new(self, final: Path) -> Path:
        """Where to write the file that will be ``final``."""
        staged = self.staging / final.name
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

    The caller holds the step's lock.

    Raises:
        StorageError: disk full, read-only, no permission.
    """
    try:
        with files.staging(record.parent, f".{record.stem}.") as staging:
            outputs = Outputs(staging.folder)
            yield outputs
            record.unlink(missing_ok=True)
            outputs.move()
            writes = {paths.relative(file): files.describe_file(file) for file in targets}
            mark = staging.folder / "record"
            mark.write_text(files.dump_json({"format": FORMAT, "key": key, "writes": writes}), encoding="utf-8")
            mark.replace(record)
    except OSError as error:
        if error.errno not in STORAGE:  # a defect of ours: its traceback is wanted
            raise
        raise storage_error(error) from error
