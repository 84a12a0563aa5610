"""mirror: copy all sources of a build into one folder, for ``ZOO_MIRROR`` at a site without network.

The folder has the layout of ``utils/sources/cache.py``: files named by their sha256, and ``unpinned.json`` for those
without a published sha256. ``INDEX.tsv`` and ``LICENCES.md`` are for readers.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from utils import files, limits, paths
from utils.catalogue import browser
from utils.errors import SourceError, storage_error
from utils.graph import plan
from utils.recipe.load import find_recipe, load_recipes
from utils.release import image_packages
from utils.sources import cache
from utils.sources.fetch import fetch_all
from utils.sources.source import Source, redact_url
from utils.untrusted import as_markdown, as_text, read_untrusted

__all__ = ["mirror"]


def mirror(
    to: Path,
    models: list[str],
    listed: Path | None = None,
    found_in: Path | None = None,
    *,
    with_site: bool = False,
    with_image: bool = False,
) -> None:
    """Fetch sources and copy them to ``to``; what is there already stays.

    Args:
        to: the folder.
        models: whose sources; none: those of the zoo, or of all models where a list or a folder is given.
        listed: a list of addresses, as ``build/missing.txt`` is: only these sources.
        found_in: a folder of files that came by other means, under any name: what is among them is not fetched. Without
            ``listed``, only what is among them, or in the cache, is copied.
        with_site: what the catalogue runs models with, too.
        with_image: what the image's build installs, too: with it, docker/make-base and docker/run need no network.

    Raises:
        SourceError: sources cannot be fetched, or the folder's unpinned.json is damaged; nothing was copied.
        StorageError: the folder cannot be written.
    """
    recipes = [find_recipe(name) for name in models]
    recipes = recipes or [r for r in load_recipes().values() if r.group == "zoo" or listed or found_in]
    wanted = dict.fromkeys(source for recipe in recipes for step in plan.steps_of(recipe) for source in step.fetches)
    if with_site:
        wanted |= dict.fromkeys(browser.sources())
    if with_image:
        wanted |= dict.fromkeys(image_packages.debs())
    if listed:
        wanted = dict.fromkeys(select_listed(wanted, listed))
    if found_in:
        taken = adopt_files(found_in, wanted)
        print(f"{found_in}: {taken} files are sources of the zoo")
        if not listed:
            wanted = dict.fromkeys(source for source in wanted if cache.cached(source) is not None)
    found = fetch_all(wanted)
    try:
        to.mkdir(parents=True, exist_ok=True)
        cache.load_records(to)  # a damaged one is told before anything is copied
        with files.staging(to, ".new.") as staging:
            if with_image:
                print("downloading the Python packages of the image (500 MB)", flush=True)
                found |= image_packages.wheels(staging.folder)
            known = {source.sha256 or file.name: (source, file) for source, file in found.items()}
            copied = sum(_copy(file, to / name) for name, (_, file) in sorted(known.items()))
        rows = _enter(to, {name: source for name, (source, _) in known.items()})
        size = sum((to / row[0]).stat().st_size for row in rows)
    except OSError as error:
        raise storage_error(error) from error
    print(f"{to}: {len(rows)} files, {size / 1e6:,.1f} MB, {copied} of them new")
    print(f"where there is no network: ZOO_MIRROR={to} ZOO_OFFLINE=1 doit")
    if with_image:
        print(f"  and its base image: sudo DEBS={to} docker/make-base")


def select_listed(sources: Iterable[Source], listed: Path) -> list[Source]:
    """The sources that a list of addresses names.

    Raises:
        SourceError: the list cannot be read, or names an address that no recipe has.
    """
    text = read_untrusted(listed, where=str(listed), error=SourceError, most=limits.LIST_BYTES).decode(
        "utf-8", "replace"
    )
    by_url = {redact_url(url): source for source in sources for url in source.urls}
    found = []
    for line in filter(None, (line.strip().partition("#")[0] for line in text.splitlines())):
        if line not in by_url:
            hint = (
                "make the list again with the checkout that you build in: ZOO_OFFLINE=1 doit writes build/missing.txt"
            )
            raise SourceError(f"no recipe has the address {as_text(line)}", where=str(listed), hint=hint)
        found.append(by_url[line])
    return found


def adopt_files(folder: Path, sources: Iterable[Source]) -> int:
    """Copy the sources among a folder's files into the cache, whatever their names; how many there were.

    Raises:
        StorageError: the cache cannot be written.
    """
    by_size: dict[int | None, list[Source]] = {}
    for source in sources:
        by_size.setdefault(source.size, []).append(source)
    taken: set[Source] = set()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        for source in (*by_size.get(file.stat().st_size, []), *by_size.get(None, [])):
            if source in taken or not (source.sha256 or source.md5) or cache.find_fault(file, source):
                continue
            part = cache.part_path(source, alone=False)
            with cache.storing(part):
                part.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, part)
            known = cache.with_recorded_hash(source)
            cache.install_part(part, source, known, lambda _: time.sleep(0.05))
            taken.add(source)
            break
    return len(taken)


_SHA256 = re.compile(r"[0-9a-f]{64}")

_HEAD = ("sha256", "size", "name", "url", "licence", "what")


def _copy(file: Path, to: Path) -> bool:
    """Copy a checked file under its final name; whether it is new."""
    if to.is_file() and to.stat().st_size == file.stat().st_size and files.sha256(to) == to.name:
        return False
    with file.open("rb") as stream, files.writing_whole(to) as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
    return True


def _enter(to: Path, new: dict[str, Source]) -> list[tuple[str, ...]]:
    """Put files that are in ``to`` by now into its records and lists, beside what is there; return the rows of all."""
    with files.locked_folder(to, lambda: print(f"waiting for {to}: another doit mirror writes into it")):
        known = {**cache.load_records(to), **cache.load_records(paths.cache())}  # the cache has the newer ones
        records = {key: one for key, one in known.items() if (to / one["sha256"]).is_file()}
        files.write_whole(to / cache.RECORDS, json.dumps(records, indent=1, sort_keys=True) + "\n")
        rows = _rows(to, new)
        files.write_whole(to / "INDEX.tsv", "".join("\t".join(row) + "\n" for row in [_HEAD, *rows]))
        files.write_whole(to / "LICENCES.md", _licences(rows))
    return rows


def _rows(to: Path, new: dict[str, Source]) -> list[tuple[str, ...]]:
    """A row a file: those of before that are still there, and the new ones."""
    rows: dict[str, tuple[str, ...]] = {}
    with suppress(FileNotFoundError), cache.open_plain(to / "INDEX.tsv") as index:
        for line in index.read(limits.LIST_BYTES).decode("utf-8", "replace").splitlines()[1:]:
            row = tuple(line.split("\t"))
            if len(row) == len(_HEAD) and _SHA256.fullmatch(row[0]) and (to / row[0]).is_file():
                rows[row[0]] = row
    for sha256, source in new.items():
        size = str((to / sha256).stat().st_size)
        rows[sha256] = (sha256, size, source.name, next(iter(source.urls), ""), source.licence, source.what)
    return sorted((tuple(as_text(cell) for cell in row) for row in rows.values()), key=lambda row: (row[2], row[0]))


def _licences(rows: list[tuple[str, ...]]) -> str:
    by_licence: dict[str, list[str]] = {}
    for row in rows:
        by_licence.setdefault(row[4], []).append("- {}: {}, from {}".format(*(as_markdown(row[n]) for n in (2, 5, 3))))
    parts = [
        "# Licences of these files\n",
        "Each file belongs to its authors, under the licence that its recipe states.\n",
    ]
    for licence, lines in sorted(by_licence.items()):
        parts.append("\n".join([f"## {as_markdown(licence)}\n", *sorted(lines)]) + "\n")
    return "\n".join(parts)
