"""The inputs of an order: files that other steps wrote, on their way through the step cache to a worker."""

from __future__ import annotations

import shutil
from pathlib import Path

from utils import files, paths
from utils.errors import BuildError, CorruptError, storage_error
from utils.graph import layout
from utils.graph.step import Step
from utils.recipe.schema import Recipe
from utils.shared.action import Digest
from utils.shared.http import Store
from utils.shared.order import File, Order, is_made
from utils.sources.fetch import fetch

__all__ = ["fetch_inputs", "require_same_sources", "share_inputs"]


def share_inputs(order: Order, store: Store, known: set[str]) -> None:
    """Put the inputs into the store that it does not have: a worker finds them there.

    Args:
        order: what needs them.
        store: of the step cache.
        known: hashes of what the store has; those of the inputs are added. Asking for each would cost milliseconds.

    Raises:
        CorruptError: the store has other bytes under a hash, or a file changed meanwhile.
        ServerError: the store does not answer, or does not take them.
    """
    for name, file in order.inputs.items():
        if file.sha256 not in known:
            store.write_blob(Digest(file.sha256, file.size), paths.ROOT / name)
            known.add(file.sha256)


def fetch_inputs(order: Order, store: Store) -> None:
    """Put the inputs where the step reads them; those that are there already stay.

    What stood there is replaced in one rename. It belongs to another state of the step that wrote it, whose record then
    says so.

    Raises:
        BuildError: a name is outside of where steps write.
        CorruptError: the store lacks an input, or serves other bytes.
        ServerError: the store does not answer.
        StorageError: a file cannot be written.
    """
    for name in order.inputs:
        if not (files.is_plain(name) and is_made(name)):
            raise BuildError("an input is outside of build/ and artifacts/", where=name)
    missing = {name: wanted for name, wanted in order.inputs.items() if not _is(paths.ROOT / name, wanted)}
    try:
        with files.staging(paths.BUILD / "inputs", ".") as staging:
            for name, wanted in missing.items():
                arrived, file = staging.folder / "arrived", paths.ROOT / name
                store.read_blob(Digest(wanted.sha256, wanted.size), arrived)
                file.parent.mkdir(parents=True, exist_ok=True)
                with arrived.open("rb") as stream, files.writing_whole(file) as target:
                    shutil.copyfileobj(stream, target)
    except OSError as error:
        raise storage_error(error) from error


def require_same_sources(recipe: Recipe, step: Step) -> None:
    """Fetch the unpinned sources that a step reads, and hold them against what doit's machine has.

    The recipe vouches for every other source. The files that hold the sha256 are here already.

    Raises:
        CorruptError: a source has other bytes here.
        SourceError: it cannot be fetched.
    """
    for key, entry in recipe.sources.items():
        mark = layout.source_digest_file(recipe, key)
        if mark not in step.reads or not (source := entry.source()).unpinned:
            continue
        here, there = files.sha256(fetch(source, report=lambda _: None)), mark.read_text(encoding="ascii").strip()
        if here != there:
            raise CorruptError(f"has sha256 {here} here, and {there} where doit runs", where=source.name)


def _is(file: Path, wanted: File) -> bool:
    try:
        return file.stat().st_size == wanted.size and files.sha256(file) == wanted.sha256
    except OSError:
        return False
