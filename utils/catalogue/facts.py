"""Read one bundle as data that may be damaged, half there, old or hostile: its facts, or why it has none."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from utils import files, limits
from utils.bundle.board_report import Record, parse_record
from utils.bundle.bundle import MANIFEST_FORMAT
from utils.catalogue.given import Compat, Manifest, ModelJson, VelaJson
from utils.errors import DataError, ZooError
from utils.npu import bsp
from utils.recipe.schema import NAME
from utils.untrusted import as_text, parse_as, parse_json, read_untrusted

__all__ = ["Facts", "find_bundles", "is_name", "read"]

#: The folder of compiled files in a bundle, and that of boards' reports.
_NPU, _BOARD = "imx93", "board"

Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True)
class Facts:
    """What a whole bundle says of itself.

    Attributes:
        name: of the model.
        folder: the bundle.
        sums: file name -> sha256, of every file in its SHA256SUMS; each was checked.
        sizes: file name -> bytes.
        model: model.json.
        manifest: manifest.json.
        compat: compat.json.
        labels: names of the classes; empty where the bundle has none.
        compiled: every vela.json about this bundle's file, in the order of the BSPs.
        records: what boards said of this bundle's files, the newest first.
        left_out: what stands beside the bundle and cannot be shown, a sentence each.
    """

    name: str
    folder: Path
    sums: dict[str, str]
    sizes: dict[str, int]
    model: ModelJson
    manifest: Manifest
    compat: Compat
    labels: tuple[str, ...]
    compiled: tuple[VelaJson, ...] = ()
    records: tuple[Record, ...] = ()
    left_out: tuple[str, ...] = field(default=())


def is_name(name: str) -> bool:
    """Whether a folder's name can be that of a model: then it can be the name of a page."""
    return len(name) <= limits.NAME_CHARS and re.fullmatch(NAME, name) is not None


def find_bundles(folder: Path) -> list[Path]:
    """List the bundles of a folder, sorted: its folders, but for hidden ones.

    Raises:
        DataError: there are more than ``limits.CATALOGUE_MODELS``, or the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if not entry.name.startswith(".") and not _is_file(entry)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(folder), hint="make it readable") from None
    if len(found) > limits.CATALOGUE_MODELS:
        what = f"holds more than {limits.CATALOGUE_MODELS:,} folders"
        raise DataError(what, where=str(folder), hint="name a folder of bundles")
    return [folder / name for name in sorted(found)]


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def read(folder: Path) -> Facts:
    """Read a bundle and check every byte of it.

    Raises:
        DataError: it is damaged, not whole, of an older format, or not a bundle; says what to do.
    """
    name = folder.name
    again = f"doit {name} builds it again"
    try:
        return _read(folder, again)
    except ZooError as error:
        where = f"{as_text(error.where)}: " if error.where else ""
        raise DataError(f"{where}{as_text(error.what)}", where=as_text(name), hint=again) from None
    except OSError as error:
        what = f"{as_text(Path(str(error.filename or name)).name)}: cannot be read: {error.strerror or 'OSError'}"
        raise DataError(what, where=as_text(name), hint=again) from None


def _read(folder: Path, again: str) -> Facts:
    if not is_name(folder.name):
        raise DataError("no model can have this name", hint=again)
    if folder.is_symlink() or not folder.is_dir():
        raise DataError("is a link, or no folder", hint=again)
    sums = _check(folder, "")
    for name in ("manifest.json", "model.json", "compat.json", "README.md"):
        if name not in sums:
            raise DataError("is missing", where=name, hint=again)
    manifest = _manifest(folder, again)
    model = _parse(ModelJson, folder, "model.json")
    compat = _parse(Compat, folder, "compat.json")
    _require_one_story(folder.name, sums, manifest, model, compat)
    left_out: list[str] = []
    compiled = _compiled(folder, compat, left_out)
    models = {name: digest for name, digest in sums.items() if name.endswith(".tflite") and "/" not in name}
    return Facts(
        name=folder.name,
        folder=folder,
        sums=sums,
        sizes={name: (folder / name).stat().st_size for name in sums},
        model=model,
        manifest=manifest,
        compat=compat,
        labels=_labels(folder, model.labels) if model.labels in sums else (),
        compiled=compiled,
        records=_records(folder, models, left_out),
        left_out=tuple(left_out),
    )


# Bytes


def _check(folder: Path, below: str) -> dict[str, str]:
    """Check the files that a folder's SHA256SUMS names; returns name -> sha256.

    Raises:
        DataError: one is missing, changed, or reached by a link; or there are too many of them.
    """
    where = f"{below}{files.SUMS}"
    if not (folder / files.SUMS).is_file():
        raise DataError("is missing: the bundle is not whole", where=where)
    text = read_untrusted(_plain(folder, files.SUMS), where=where, error=DataError)
    try:
        sums = files.parse_sums(text.decode())
    except ValueError as error:
        raise DataError(as_text(error), where=where) from None
    if len(sums) > limits.ARCHIVE_FILES:
        raise DataError(f"names more than {limits.ARCHIVE_FILES:,} files", where=where)
    left = limits.ARCHIVE_BYTES
    for name, digest in sums.items():
        file = _plain(folder, name)
        left -= file.stat().st_size
        if left < 0:
            raise DataError(f"names more than {limits.ARCHIVE_BYTES:,} bytes", where=where)
        if files.sha256(file) != digest:
            raise DataError("changed after the build", where=f"{below}{as_text(name, 100)}")
    return sums


def _plain(folder: Path, name: str) -> Path:
    """Find a file of a bundle.

    Raises:
        DataError: it is missing, a link, reached through one, or not a regular file.
    """
    place = folder
    for part in Path(name).parts:
        place /= part
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise DataError("is missing", where=as_text(name, 100)) from None
        if stat.S_ISLNK(mode):
            raise DataError("is a link, or reached through one", where=as_text(name, 100))
    if not stat.S_ISREG(mode):
        raise DataError("is not a regular file", where=as_text(name, 100))
    return place


def _parse(schema: type[Schema], folder: Path, name: str) -> Schema:
    return parse_as(schema, _content(folder, name), where=name, error=DataError)


def _content(folder: Path, name: str) -> bytes:
    return read_untrusted(_plain(folder, name), where=name, error=DataError)


# What the files say


def _manifest(folder: Path, again: str) -> Manifest:
    content = _content(folder, "manifest.json")
    found: Any = parse_json(content, where="manifest.json", error=DataError, hint=again)
    number = found.get("format") if isinstance(found, dict) else None
    if type(number) is int and number != MANIFEST_FORMAT:
        age = "an older" if number < MANIFEST_FORMAT else "a newer"
        raise DataError(f"is of format {number}, of {age} version of the zoo", where="manifest.json")
    return parse_as(Manifest, content, where="manifest.json", error=DataError)


def _require_one_story(name: str, sums: dict[str, str], manifest: Manifest, model: ModelJson, compat: Compat) -> None:
    """Refuse files that each fit the check sums, and are of different builds.

    Raises:
        DataError: two of them differ.
    """
    if {manifest.model, model.name} != {name}:
        raise DataError("are of another model than the folder's name", where="manifest.json, model.json")
    results = manifest.evaluation.variants
    if results.keys() != model.variants.keys():
        raise DataError("name other variants than manifest.json", where="model.json")
    for variant, entry in model.variants.items():
        known = {sums.get(entry.file), entry.sha256, results[variant].sha256}
        if known != {entry.sha256}:
            raise DataError(f"is not the {variant} file that was measured", where=entry.file)
    if sums.get(compat.file) != compat.sha256:
        raise DataError("is about another file", where="compat.json")


def _labels(folder: Path, name: str) -> tuple[str, ...]:
    text = read_untrusted(_plain(folder, name), where=name, error=DataError).decode("utf-8", "replace")
    return tuple(as_text(line, 200) for line in text.splitlines()[: limits.CATALOGUE_TEXT_CHARS])


def _compiled(folder: Path, compat: Compat, left_out: list[str]) -> tuple[VelaJson, ...]:
    """Every vela.json about the bundle's file; what cannot be shown goes into ``left_out``."""
    place = folder / _NPU
    if not os.path.lexists(place):
        return ()
    try:
        _plain_folder(place)
        sums = _check(place, f"{_NPU}/")
        names = [f"{name}/vela.json" for name in bsp.load_bsps() if f"{name}/vela.json" in sums]
        found = [_parse(VelaJson, place, name) for name in names]
    except (ZooError, OSError) as error:
        left_out.append(f"What Vela compiled is left out: {_NPU}/: {_words(error)}.")
        return ()
    ours = [run for run in found if run.input.sha256 == compat.sha256]
    if len(ours) < len(found):
        left_out.append(f"What Vela compiled from another file is left out: {_NPU}/.")
    return tuple(ours)


def _records(folder: Path, models: dict[str, str], left_out: list[str]) -> tuple[Record, ...]:
    """What boards said of these files; records of older builds are ignored."""
    place, found = folder / _BOARD, []
    if not os.path.lexists(place):
        return ()
    try:
        _plain_folder(place)
        names = sorted(file.name for file in place.glob("*.json"))[: limits.BOARD_ENTRIES]
    except (ZooError, OSError) as error:
        left_out.append(f"The boards' reports are left out: {_BOARD}/: {_words(error)}.")
        return ()
    for name in names:
        where = f"{_BOARD}/{as_text(name, 100)}"
        try:
            data = read_untrusted(_plain(place, name), where=where, error=DataError, most=limits.BOARD_REPORT_BYTES)
            record = parse_record(data, where)
        except (ZooError, OSError) as error:
            left_out.append(f"A board's report is left out: {where}: {_words(error)}.")
            continue
        if models.items() <= record.files.items():
            found.append(record)
    return tuple(sorted(found, key=lambda record: (record.date, record.target), reverse=True))


def _plain_folder(place: Path) -> None:
    if place.is_symlink() or not place.is_dir():
        raise DataError("is a link, or no folder")


def _words(error: ZooError | OSError) -> str:
    return as_text(error.what if isinstance(error, ZooError) else error.strerror or "cannot be read", 300)
