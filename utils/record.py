"""What a step leaves behind: a record of what it read and what it wrote, by sha256.

doit checks that targets exist; a record notices that one was damaged or edited. It is removed before a step touches
its targets and written last, so a step that was killed is a step that was not run. The record, not doit's own
database, is the truth: with the database lost, a step sees that its work is done and does not do it again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from utils import paths
from utils.errors import storage_error

__all__ = ["Outputs", "dump_json", "file_facts", "intact", "is_current", "key_of", "locked", "sha256_of", "writing"]

FORMAT = 1


def sha256_of(file: Path) -> str:
    """The sha256 of a file, in hex."""
    stat = file.stat()
    return _sha256(str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=4096)
def _sha256(file: str, _size: int, _mtime_ns: int, _inode: int) -> str:  # read once in one process
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_facts(file: Path) -> dict[str, Any]:
    """``{"size": bytes, "sha256": hex}`` of a file."""
    return {"size": file.stat().st_size, "sha256": sha256_of(file)}


def dump_json(value: Any) -> str:
    """JSON as this project writes it: sorted, indented, one newline at the end; the same bytes for the same value."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def key_of(config: dict[str, Any], reads: tuple[Path, ...]) -> str:
    """One hash over everything a step's result depends on.

    Args:
        config: the part of the recipe, the pins, the code's hashes.
        reads: the files it reads; by content, not by time.
    """
    content = {paths.relative(file): sha256_of(file) for file in reads}
    return hashlib.sha256(dump_json({"format": FORMAT, "config": config, "reads": content}).encode()).hexdigest()


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
            and sha256_of(file) == written[paths.relative(file)]["sha256"]
            for file in targets
        )
    except OSError:
        return False


def is_current(record: Path, key: str, targets: tuple[Path, ...]) -> bool:
    """Whether the step ran with exactly these inputs and its targets are as it left them."""
    return _load(record).get("key") == key and intact(record, targets)


@contextlib.contextmanager
def locked(record: Path) -> Iterator[None]:
    """Let one process at a time run a step; the kernel frees the lock of a killed one.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        lock = record.with_suffix(".lock").open("w")
    except OSError as error:
        raise storage_error(error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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
    staging: Path | None = None
    try:
        for stale in record.parent.glob(f".{record.stem}.*/"):  # left by a killed run: we hold the lock
            shutil.rmtree(stale, ignore_errors=True)
        record.unlink(missing_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{record.stem}.", dir=record.parent))
        outputs = Outputs(staging)
        yield outputs
        outputs.move()
        writes = {paths.relative(file): file_facts(file) for file in targets}
        mark = staging / "record"
        mark.write_text(dump_json({"format": FORMAT, "key": key, "writes": writes}), encoding="utf-8")
        mark.replace(record)
    except OSError as error:
        raise storage_error(error) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
