"""Cache: the sources on this machine, named by their hashes, shared by all its processes.

The folder (``paths.cache()``, moved by ``ZOO_CACHE``) holds::

    <sha256>              whole files; size and hash were checked before they got this name
    unpinned.json         hashes recorded at first fetch, for sources without a published sha256
    partial/<key>.part    the bytes that have arrived so far, kept for a resume
    locks/<key>.lock      one fetcher for each file; the kernel frees the lock of a killed process

``<key>`` is ``Source.key``. File names do not count: two recipes may use one name for two files.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from utils import files, limits, paths
from utils.errors import SourceError, did_you_mean, storage_error
from utils.sources.source import Source
from utils.untrusted import as_text, parse_as

__all__ = [
    "RECORDS",
    "cached",
    "find_fault",
    "forget_records",
    "install_part",
    "known_sha256",
    "load_records",
    "lock_key",
    "open_plain",
    "parse_records",
    "part_path",
    "storing",
    "whole_path",
    "with_record",
    "with_recorded_hash",
]

#: The file of recorded hashes, in a cache and in a mirror.
RECORDS = "unpinned.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, lt=2**63)]


class _Records(RootModel[dict[str, _Record]]):
    pass


def cached(source: Source, *, verify: bool = False) -> Path | None:
    """Return the source's file in the cache, or None; never touches the network, changes nothing.

    Args:
        source: the source to look for.
        verify: also hash the file (about a second for each GB); otherwise only its size is checked.

    Raises:
        SourceError: the cache's unpinned.json cannot be read.
        StorageError: the file cannot be read.
    """
    known = with_recorded_hash(source)
    if known.sha256 is None:
        return None
    path = whole_path(known.sha256)
    try:
        size = path.stat().st_size
    except OSError:
        return None
    is_right = not find_fault(path, known) if verify else known.size in (None, size)
    return path if is_right else None


def known_sha256(source: Source) -> str | None:
    """Return the pinned sha256, else the one recorded at first fetch, else None."""
    return with_recorded_hash(source).sha256


def with_recorded_hash(source: Source) -> Source:
    """Return ``source``, with the hash and size that its first fetch recorded if it is unpinned."""
    return with_record(source, load_records(paths.cache())) if source.unpinned else source


def with_record(source: Source, records: dict[str, Any]) -> Source:
    """Return an unpinned ``source`` with its entry in ``records``; the recipe's own size stays."""
    record = records.get(source.key, {})
    size = record.get("size") if source.size is None else source.size
    return replace(source, sha256=record.get("sha256"), size=size)


def load_records(folder: Path) -> dict[str, Any]:
    """Return the recorded hashes in the cache or mirror ``folder``; empty if there are none.

    Raises:
        SourceError: the file holds something else.
        StorageError: the file cannot be read.
    """
    path = folder / RECORDS
    try:
        with open_plain(path) as file:
            return parse_records(file.read(limits.JSON_BYTES + 1), str(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise storage_error(error, str(path)) from error


def parse_records(text: bytes, where: str) -> dict[str, Any]:
    """Return the recorded hashes, ``{Source.key: {"name", "sha256", "size"}}``, that ``text`` holds.

    Raises:
        SourceError: it holds something else; ``where`` names its file.
    """
    hint = "restore it, or remove it: the next fetch records the hashes again"
    try:
        records = parse_as(_Records, text, where=where, error=SourceError, hint=hint).root
    except SourceError as error:
        raise SourceError(f"this is not a record of hashes: {error.what}", where=where, hint=hint) from None
    return {key: one.model_dump() for key, one in records.items()}


def forget_records(name: str, wait: Callable[[int], None]) -> int:
    """Forget the recorded hashes of the unpinned sources with this file name; return how many there were.

    Args:
        name: a file name, as in the recipe.
        wait: as for ``lock_key``.

    Raises:
        SourceError: no such source is recorded, or unpinned.json holds something else.
        StorageError: the cache cannot be written.
    """
    with lock_key("unpinned", wait):
        records = load_records(paths.cache())
        left = {key: one for key, one in records.items() if one["name"] != name}
        if not name or len(left) == len(records):
            known = sorted({as_text(one["name"]) for one in records.values()})
            hint = f"source= takes a file name: {', '.join(known)}" if known else "nothing is recorded"
            what = f"no source named {as_text(name)!r} is recorded{did_you_mean(name, known)}"
            raise SourceError(what, where=str(paths.cache() / RECORDS), hint=hint)
        _write_records(left)
    return len(records) - len(left)


def _write_records(records: dict[str, Any]) -> None:
    path = paths.cache() / RECORDS
    with storing(path):
        files.write_whole(path, json.dumps(records, indent=1, sort_keys=True) + "\n")


def open_plain(path: Path) -> BufferedReader:
    """Open a file for reading; pipes and devices, which may never end, are refused with an OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def find_fault(path: Path, known: Source) -> str:
    """Describe what is wrong with a file's size or hashes; empty if nothing is."""
    try:
        with open_plain(path) as file:
            if known.size not in (None, size := os.fstat(file.fileno()).st_size):
                return f"has {size} bytes, not {known.size}"
            for kind, want in (("sha256", known.sha256), ("md5", known.md5)):
                file.seek(0)
                if want and (got := hashlib.file_digest(file, kind).hexdigest()) != want:
                    return f"has {kind} {got}, not {want}"
    except OSError as error:
        raise storage_error(error, str(path)) from error
    return ""


def whole_path(sha256: str) -> Path:
    """Return the path of a complete file, whether it exists or not."""
    return paths.cache() / sha256


def part_path(source: Source, *, alone: bool = True) -> Path:
    """Return the path of a source's partial file; a new one each time if not ``alone``."""
    return paths.cache() / "partial" / f"{source.key}{'' if alone else f'.{uuid.uuid4().hex}'}.part"


def install_part(part: Path, source: Source, known: Source, wait: Callable[[int], None]) -> Path:
    """Give a checked file its final name, and record a hash that upstream does not publish.

    Args:
        part: the file, complete and checked.
        source: its source.
        known: ``source`` with its recorded hash, where there is one.
        wait: as ``lock_key`` takes it.
    """
    with storing(part):
        with part.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            path = whole_path(known.sha256 or hashlib.file_digest(file, "sha256").hexdigest())
            os.fsync(file.fileno())
        part.replace(path)
    if source.unpinned:
        with lock_key("unpinned", wait):
            record = {"name": source.name, "sha256": path.name, "size": size}
            _write_records({**load_records(paths.cache()), source.key: record})
    return path


@contextmanager
def lock_key(key: str, wait: Callable[[int], None]) -> Iterator[bool]:
    """Hold the lock of ``key``, which no other process or thread holds meanwhile.

    Yields whether it is exclusive: on a file system without locks, other processes may be at work too.

    Args:
        key: a ``Source.key``, or another name.
        wait: called while another process has the lock, with the number of earlier calls; it sleeps, or raises.

    Raises:
        StorageError: the cache cannot be written.
    """
    path = paths.cache() / "locks" / f"{key}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise storage_error(error) from error
    with file:
        waited = 0
        while (is_ours := files.take_lock(file.fileno(), path)) is False:
            wait(waited)
            waited += 1
        yield is_ours is True


@contextmanager
def storing(where: Path) -> Iterator[None]:
    """Turn an OSError from a write to ``where`` into a StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, str(where)) from error
