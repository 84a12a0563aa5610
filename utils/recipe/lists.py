"""Image lists: the CSV files in ``recipes/lists/`` that name every image of a data set, with its hash.

A row has ``file,sha256,size`` and either ``label``, an index into the recipe's labels, or, for segmentation,
``mask,mask_sha256,mask_size``, a PNG whose palette indices are labels (255: not counted).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from utils import limits, paths
from utils.errors import RecipeError
from utils.recipe import beside
from utils.sources.source import Source
from utils.untrusted import as_text

__all__ = ["Row", "read"]

#: The columns of a list: the first set, and one of the other two.
_ALWAYS, _LABELLED, _MASKED = {"file", "sha256", "size"}, {"label"}, {"mask", "mask_sha256", "mask_size"}
_COLUMNS = "a list has file,sha256,size and label, or mask,mask_sha256,mask_size"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._'-]*")
_HASH = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Row:
    """One image: its source, and its label or the source of its mask."""

    source: Source
    label: int | None
    mask: Source | None

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files to fetch."""
        return (self.source, self.mask) if self.mask else (self.source,)


@cache
def read(file: Path, urls: tuple[str, ...], licence: str, what: str) -> tuple[Row, ...]:
    """Read a list.

    Args:
        file: the CSV file.
        urls: addresses with ``{file}`` where the file's name goes.
        licence: of every image.
        what: of every image.

    Raises:
        RecipeError: a missing file, a wrong column, a malformed hash or number, an image listed twice.
    """
    where = paths.relative(file)
    try:
        text = beside.read_file(file, limits.LIST_BYTES, what="the list").decode()
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        found = list(table)
        columns = set(table.fieldnames or ())
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecipeError(
            f"the list cannot be read: {error}", where=where, hint="correct the list, or the recipe that names it"
        ) from None
    if not columns:
        raise RecipeError("the list is empty", where=where, hint=_COLUMNS)
    if columns not in (_ALWAYS | _LABELLED, _ALWAYS | _MASKED):
        raise RecipeError(f"the columns are {as_text(', '.join(sorted(columns)))}", where=where, hint=_COLUMNS)
    rows: list[Row] = []
    seen: dict[str, int] = {}  # sha256 of an image, or name of a file -> its line
    for line, row in enumerate(found, start=2):
        place = f"{where}, line {line}"
        if None in row or None in row.values():  # csv puts surplus values under None, and None for missing ones
            many = "more" if None in row else "fewer"
            raise RecipeError(
                f"the line has {many} values than the header has columns", where=place, hint="correct the line"
            )

        def source(key: str, row: dict[str, str] = row, place: str = place) -> Source:
            prefix = "" if key == "file" else f"{key}_"
            name, sha256, size = row[key], row[f"{prefix}sha256"], row[f"{prefix}size"]
            if not (_FILE.fullmatch(name) and _HASH.fullmatch(sha256)):
                raise RecipeError("a malformed file name or sha256", where=place, hint="correct the line")
            addresses = tuple(url.replace("{file}", quote(name)) for url in urls)
            return Source(name, addresses, _number(size, place), sha256, None, licence, what)

        label = _number(row["label"], place) if "label" in columns else None
        rows.append(Row(source("file"), label, source("mask") if "mask" in columns else None))
        names = [("file name", taken.name) for taken in rows[-1].sources]
        for kind, mark in [("image", rows[-1].source.sha256 or ""), *names]:
            if mark in seen:
                raise RecipeError(f"the same {kind} as in line {seen[mark]}", where=place, hint="remove one of them")
            seen[mark] = line
    if not rows:
        raise RecipeError("the list has no images", where=where, hint="add images")
    return tuple(rows)


def _number(text: str, where: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise RecipeError(f"{as_text(text, 40)!r} is not a whole number", where=where, hint="correct the line")
    return int(text)
