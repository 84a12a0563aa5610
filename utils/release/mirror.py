"""mirror: everything a build needs from outside, in one folder: copy it to a site without network, set ZOO_MIRROR.

The folder is laid out as ``utils/sources/cache.py`` says: files named by their sha256, ``unpinned.json`` for those that
nobody publishes a sha256 for; and for people ``INDEX.tsv`` and ``LICENCES.md``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from utils import files, paths
from utils.errors import STORAGE, storage_error
from utils.graph import plan
from utils.recipe.load import find_recipe, load_recipes
from utils.sources import cache
from utils.sources.fetch import fetch_all
from utils.sources.source import Source

__all__ = ["mirror"]


def mirror(to: Path, models: list[str]) -> None:
    """Fetch the sources of ``models`` (none: the zoo) and copy them to ``to``; what is there already stays.

    Raises:
        SourceError: sources cannot be had, or the folder's unpinned.json is damaged; nothing was copied.
        StorageError: the folder cannot be written.
    """
    recipes = [find_recipe(name) for name in models] or [r for r in load_recipes().values() if r.group == "zoo"]
    found = fetch_all(source for recipe in recipes for step in plan.steps_of(recipe) for source in step.fetches)
    try:
        to.mkdir(parents=True, exist_ok=True)
        known = [cache.load_records(to), cache.load_records(paths.cache())]  # the cache's are the newer ones
        copied = sum(_copy(file, to / file.name) for file in sorted(set(found.values())))
        there = [{key: one for key, one in some.items() if (to / one["sha256"]).is_file()} for some in known]
        records = {**there[0], **there[1]}
        files.write_whole(to / cache.RECORDS, json.dumps(records, indent=1, sort_keys=True) + "\n")
        rows = _rows(to, {file.name: source for source, file in found.items()})
        files.write_whole(to / "INDEX.tsv", "".join("\t".join(row) + "\n" for row in [_HEAD, *rows]))
        files.write_whole(to / "LICENCES.md", _licences(rows))
    except OSError as error:
        if error.errno not in STORAGE and not isinstance(error, FileExistsError | NotADirectoryError):
            raise
        raise storage_error(error) from error
    size = sum((to / row[0]).stat().st_size for row in rows)
    print(f"{to}: {len(rows)} files, {size / 1e6:,.1f} MB, {copied} of them new")
    print(f"where there is no network: ZOO_MIRROR={to} ZOO_OFFLINE=1 doit")


_HEAD = ("sha256", "size", "name", "url", "licence", "what")


def _copy(file: Path, to: Path) -> bool:
    """Copy a checked file under its final name; whether it was not there."""
    if to.is_file() and to.stat().st_size == file.stat().st_size and files.sha256(to) == file.name:
        return False
    with file.open("rb") as stream, files.writing_whole(to) as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
    return True


def _rows(to: Path, new: dict[str, Source]) -> list[tuple[str, ...]]:
    """A row a file: those of before that are still there, and the new ones."""
    rows: dict[str, tuple[str, ...]] = {}
    if (to / "INDEX.tsv").is_file():
        for line in (to / "INDEX.tsv").read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
            row = tuple(line.split("\t"))
            if len(row) == len(_HEAD) and (to / row[0]).is_file():
                rows[row[0]] = row
    for sha256, source in new.items():
        size = str((to / sha256).stat().st_size)
        rows[sha256] = (sha256, size, source.name, next(iter(source.urls), ""), source.licence, source.what)
    return sorted(
        (tuple(" ".join(cell.split()) for cell in row) for row in rows.values()), key=lambda row: (row[2], row[0])
    )


def _licences(rows: list[tuple[str, ...]]) -> str:
    by_licence: dict[str, list[str]] = {}
    for row in rows:
        by_licence.setdefault(row[4], []).append(f"- {row[2]}: {row[5]}, from {row[3]}")
    parts = ["# Licences of these files\n", "Each file is its authors', under the licence that its recipe names.\n"]
    for licence, lines in sorted(by_licence.items()):
        parts.append("\n".join([f"## {licence}\n", *sorted(lines)]) + "\n")
    return "\n".join(parts)
