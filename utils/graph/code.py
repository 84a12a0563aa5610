"""The digest of the code that decides a step's result: all that the step's module reaches (``reach.py``).

A definition counts as a syntax tree without docstrings, comments, positions and the type hints of functions: a change
that cannot change what runs changes no digest. What was found is kept in ``build/code-digests/``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from utils import files, limits, paths
from utils.errors import BuildError, StorageError
from utils.graph.reach import OURS, reach
from utils.untrusted import parse_as, read_bounded

__all__ = ["code_digest", "code_files", "forget_files"]

#: What finds out which code counts: after an edit here, nothing that was found before holds.
_EXAMINERS = tuple(Path(__file__).with_name(name) for name in ("code.py", "reach.py", "syntax.py"))


@dataclass(frozen=True)
class _Seen:
    """All files of ours, from outside.

    Attributes:
        looks: digest of their paths, sizes, times and inodes; the same: nothing has changed.
        names: digest of their names in the checkout; the same: every import and every string leads to the same file.
    """

    looks: str
    names: str


class _Facts(BaseModel):
    """Of one module's code, in a file of ``code-digests/``.

    Attributes:
        looks: of ``_Seen``, when this was written.
        names: of ``_Seen``.
        content: digest of what stands in ``files``, and in the code that examines them.
        module: its file.
        sha256: the digest.
        files: every file that it takes something of.
    """

    looks: str
    names: str
    content: str
    module: str
    sha256: str
    files: list[str]


def code_digest(start: Path) -> str:
    """The sha256 over all code and data that decide what the module ``start`` does.

    Files are looked at once in a process, until :func:`forget_files`.

    Args:
        start: a file of ours: a step's module, or a recipe's code.

    Raises:
        BuildError: a file is not Python.
    """
    return _facts(start, _look()).sha256


def code_files(start: Path) -> tuple[Path, ...]:
    """Every file that :func:`code_digest` takes something of."""
    return tuple(paths.ROOT / name for name in _facts(start, _look()).files)


def forget_files() -> None:
    """Look at the files again: they may have changed."""
    _look.cache_clear()


@lru_cache(maxsize=1024)
def _facts(start: Path, seen: _Seen) -> _Facts:
    """What is known of a module's code; of what an earlier process found, as long as it holds.

    It holds where no file of ours has changed at all, and where those that it is of have the same bytes: after an edit
    elsewhere, or in a copy of the checkout, reading them takes milliseconds, and taking them apart a second.
    Each module has a file of its own: a step's process reads those of its own code, however many models there are.
    """
    name = paths.relative(start)
    memory = paths.BUILD / "code-digests" / f"{name.replace('/', '.')}.json"
    stored = _load(memory)
    if stored and (stored.looks, stored.module) == (seen.looks, name):
        return stored
    if stored and (stored.names, stored.module) == (seen.names, name) and _is_unchanged(stored):
        found = stored.model_copy(update={"looks": seen.looks})
    else:
        found = _examine(start, seen)
    with contextlib.suppress(OSError, StorageError):  # it only saves time
        memory.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(memory, files.dump_json(found.model_dump()))
    return found


def _load(memory: Path) -> _Facts | None:
    """What an earlier process found; None where there is nothing, or it is damaged."""
    with contextlib.suppress(OSError, BuildError):
        content = read_bounded(memory, limits.JSON_BYTES)
        return parse_as(_Facts, content, where=paths.relative(memory), error=BuildError)
    return None


def _content_of(hashes: Mapping[str, str]) -> str:
    """One digest over the sha256 of files, by name, and of the code that examines them."""
    examiners = [files.sha256(file) for file in _EXAMINERS]
    return hashlib.sha256(files.dump_json([hashes, examiners]).encode()).hexdigest()


def _is_unchanged(stored: _Facts) -> bool:
    """Whether the files that it is of have the same bytes."""
    try:
        return stored.content == _content_of({name: files.sha256(paths.ROOT / name) for name in stored.files})
    except (OSError, StorageError):
        return False


@lru_cache(maxsize=1)
def _look() -> _Seen:
    """Look at all files of ours from outside."""
    looks, names = hashlib.sha256(str(paths.ROOT).encode()), hashlib.sha256()
    for path, look in sorted(line for folder in OURS for line in _look_into(str(paths.ROOT / folder))):
        looks.update(f"{path}\0{look}\0".encode(errors="surrogateescape"))
        names.update(f"{path.removeprefix(str(paths.ROOT))}\0".encode(errors="surrogateescape"))
    return _Seen(looks.hexdigest(), names.hexdigest())


def _look_into(folder: str) -> Iterator[tuple[str, str]]:
    """How each file in a folder and below it looks, without what Python compiled; nothing where there is no folder."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _look_into(entry.path)
            elif entry.is_file() and not entry.name.endswith(".pyc"):
                found = entry.stat()
                yield entry.path, f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _examine(start: Path, seen: _Seen) -> _Facts:
    reached = reach(start)
    data = {file: files.sha256(file) for file in reached.data}
    digest = hashlib.sha256()
    for name, tree in sorted(reached.trees):
        digest.update(f"{name}\0{tree}\0".encode())
    for file, sha256 in sorted(data.items()):
        digest.update(f"{paths.relative(file)}\0{sha256}\0".encode())
    taken = {paths.relative(file): sha256 for file, sha256 in (reached.files | data).items()}
    return _Facts(
        looks=seen.looks,
        names=seen.names,
        content=_content_of(taken),
        module=paths.relative(start),
        sha256=digest.hexdigest(),
        files=sorted(taken),
    )
