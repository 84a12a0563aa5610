"""Lists: the CSV files in ``recipes/lists/`` that name every file of a data set, with its hash.

A row has ``file,sha256,size`` and what is true of the file: ``label``, an index into the recipe's labels, or a second
file. That is ``mask,mask_sha256,mask_size``, a PNG whose palette indices are labels (255: not counted), or
``boxes,boxes_sha256,boxes_size``, a text with a line for each object. A list may have a label and a second file:
recipes of several kinds of task share it.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from utils import limits, paths
from utils.errors import RecipeError
from utils.recipe import beside
from utils.sources.source import Source
from utils.untrusted import as_text

__all__ = ["Row", "Truth", "read"]

#: What a list may say of a file: an index into the labels, or the name of a second file.
Truth = Literal["label", "mask", "boxes"]

#: The columns that every list has, and those of each truth.
_ALWAYS = {"file", "sha256", "size"}
_COLUMNS: dict[Truth, set[str]] = {
    "label": {"label"},
    "mask": {"mask", "mask_sha256", "mask_size"},
    "boxes": {"boxes", "boxes_sha256", "boxes_size"},
}
_HINT = "a list has file,sha256,size and label, or mask,mask_sha256,mask_size, or boxes,boxes_sha256,boxes_size"
_FILE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._'-]*/){0,3}[A-Za-z0-9][A-Za-z0-9._'-]*")
_HASH = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Row:
    """One file: its source, and its label or the source of its mask or boxes; None where it was not asked for."""

    source: Source
    label: int | None
    truth: Source | None

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files to fetch."""
        return (self.source, self.truth) if self.truth else (self.source,)


@cache
def read(
    file: Path, truth: Truth, urls: tuple[str, ...], truth_urls: tuple[str, ...], licence: str, what: str
) -> tuple[Row, ...]:
    """Read a list.

    Args:
        file: the CSV file.
        truth: what to read of each file.
        urls: addresses with ``{file}`` where the file's name goes.
        truth_urls: the same for masks or boxes.
        licence: of every file.
        what: of every file.

    Raises:
        RecipeError: a missing file, a wrong column, a malformed hash or number, a file listed twice, no such truth.
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
        raise RecipeError("the list is empty", where=where, hint=_HINT)
    held = [name for name, needs in _COLUMNS.items() if needs <= columns]
    if not held or columns != _ALWAYS.union(*(_COLUMNS[name] for name in held)):
        raise RecipeError(f"the columns are {as_text(', '.join(sorted(columns)))}", where=where, hint=_HINT)
    seconds = [name for name in held if name != "label"]
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
            templates = urls if key == "file" else truth_urls
            addresses = tuple(url.replace("{file}", quote(name)) for url in templates)
            return Source(name, addresses, _number(size, place), sha256, None, licence, what)

        label = _number(row["label"], place) if "label" in columns else None
        others: dict[Truth, Source] = {name: source(name) for name in seconds}
        rows.append(Row(source("file"), label if truth == "label" else None, others.get(truth)))
        names = [("file name", taken.name) for taken in (rows[-1].source, *others.values())]
        for kind, mark in [("content", rows[-1].source.sha256 or ""), *names]:
            if mark in seen:
                raise RecipeError(f"the same {kind} as in line {seen[mark]}", where=place, hint="remove one of them")
            seen[mark] = line
    if not rows:
        raise RecipeError("the list has no files", where=where, hint="add files")
    return tuple(rows)


def _number(text: str, where: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise RecipeError(f"{as_text(text, 40)!r} is not a whole number", where=where, hint="correct the line")
    return int(text)
