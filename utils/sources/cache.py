"""Cache: the sources that are here, known by their hashes, for every process of this machine.

The folder (``paths.cache()``, moved by ``ZOO_CACHE``) holds::

    <sha256>              whole files; size and hash were checked before they got this name
    unpinned.json         hashes recorded at first fetch, for sources without a published sha256
    partial/<key>.part    what has arrived so far, kept for a resume (<key>.json: its ETag)
    locks/<key>.lock      one fetcher a file; the kernel frees the lock of a killed process

``<key>`` is ``Source.key``: nothing here goes by a file name, for two recipes may use one name for two files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from utils import files, paths
from utils.errors import SourceError, storage_error
from utils.sources.source import Source

__all__ = [
    "RECORDS",
    "cached",
    "find_fault",
    "install_part",
    "known_sha256",
    "load_records",
    "lock_key",
    "parse_records",
    "part_path",
    "storing",
    "whole_path",
    "with_record",
    "with_recorded_hash",
]

#: The file of recorded hashes, in a cache and in a mirror.
RECORDS = "unpinned.json"

_SHA256 = re.compile(r"[0-9a-f]{64}")


def cached(source: Source, *, verify: bool = False) -> Path | None:
    """Return the source's file in the cache, or None; never touches the network, changes nothing.

    Args:
        source: what to look for.
        verify: hash the file too (about a second for each GB); otherwise only its size is looked at.

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
    """Return ``source`` with the hash and size that its first fetch recorded, where it is unpinned."""
    return with_record(source, load_records(paths.cache())) if source.unpinned else source


def with_record(source: Source, records: dict[str, Any]) -> Source:
    """Return an unpinned ``source`` with what ``records`` has of it; the recipe's own size stays."""
    record = records.get(source.key, {})
    size = record.get("size") if source.size is None else source.size
    return replace(source, sha256=record.get("sha256"), size=size)


def load_records(folder: Path) -> dict[str, Any]:
    """Return the recorded hashes in the cache or mirror ``folder``; nothing where there are none.

    Raises:
        SourceError: the file holds something else.
        StorageError: the file cannot be read.
    """
    path = folder / RECORDS
    try:
        return parse_records(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise storage_error(error, str(path)) from error


def parse_records(text: str, where: str) -> dict[str, Any]:
    """Return the recorded hashes, ``{Source.key: {"name", "sha256", "size"}}``, that ``text`` holds.

    Raises:
        SourceError: it holds something else; ``where`` says whose text it is.
    """
    try:
        records = json.loads(text)
        if all(_SHA256.fullmatch(one["sha256"]) and one["size"] >= 0 for one in records.values()):
            return dict(records)
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    hint = "restore it, or remove it: the hashes are then recorded anew"
    raise SourceError("this is no record of hashes", where=where, hint=hint)


def find_fault(path: Path, known: Source) -> str:
    """Say what is wrong with a file's size or hashes; an empty text if nothing is."""
    try:
        with path.open("rb") as file:
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
    """Return where a whole file is, or would be."""
    return paths.cache() / sha256


def part_path(source: Source) -> Path:
    """Return where the first bytes of a source wait for the others."""
    return paths.cache() / "partial" / f"{source.key}.part"


def install_part(part: Path, source: Source, known: Source, wait: Callable[[int], None]) -> Path:
    """Give a checked file its final name, and record the hash that nobody has published.

    Args:
        part: the file, whole and checked.
        source: what it is.
        known: ``source`` with its recorded hash, where there is one.
        wait: as ``lock_key`` takes it.
    """
    folder = paths.cache()
    with storing(part):
        with part.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            path = whole_path(known.sha256 or hashlib.file_digest(file, "sha256").hexdigest())
            os.fsync(file.fileno())
        part.replace(path)
        part.with_suffix(".json").unlink(missing_ok=True)
    if source.unpinned:
        with lock_key("unpinned", wait):
            record = {"name": source.name, "sha256": path.name, "size": size}
            text = json.dumps({**load_records(folder), source.key: record}, indent=1, sort_keys=True)
            with storing(folder / RECORDS):
                files.write_whole(folder / RECORDS, text + "\n")
    return path


@contextmanager
def lock_key(key: str, wait: Callable[[int], None]) -> Iterator[None]:
    """Hold the lock of ``key``: no other process or thread holds it meanwhile.

    Args:
        key: a ``Source.key``, or another name.
        wait: is called while another has the lock, with how often it was called before; it sleeps, or raises.

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
        while files.take_lock(file.fileno(), path) is False:
            wait(waited)
            waited += 1
        yield


@contextmanager
def storing(where: Path) -> Iterator[None]:
    """Turn an OSError met while ``where`` is written into a StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, str(where)) from error
