"""User-supplied weights in place of the published ones: ``weights=FILE``, or ``ZOO_WEIGHTS_<MODEL>``.

The download step copies them into the cache, named by their sha256; the load step reads only that copy. So a build
reads what was checked, even if the user's file changes meanwhile. A folder is kept as its files and its listing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import limits, paths
from utils.errors import BuildError, DataError, SourceError, did_you_mean, storage_error
from utils.model.fingerprint import fingerprint_weights, list_members, listing
from utils.recipe.load import models_in
from utils.recipe.schema import Recipe
from utils.recipe.tables import LoadTflite
from utils.sources.keep import is_kept, keep_file, take_file
from utils.untrusted import parse_json, read_bounded

__all__ = ["OwnWeights", "choose", "resolve_own_weights"]

_PATH, _LICENCE = "ZOO_WEIGHTS_", "ZOO_LICENCE_"
_AGAIN = "run doit again, with the same weights="


@dataclass(frozen=True)
class OwnWeights:
    """User-supplied weights, as they were when the path was resolved.

    Attributes:
        path: a file, or the folder of a SavedModel.
        is_folder: whether it is a folder.
        name: the last part of the path.
        size: in bytes; for a folder, the sum of its files.
        sha256: of the file, or of the folder's listing.
        licence: as the user states it; empty if not stated.
    """

    path: Path
    is_folder: bool
    name: str
    size: int
    sha256: str
    licence: str

    @property
    def facts(self) -> dict[str, Any]:
        """``name``, ``size``, ``sha256`` and ``licence``: the only facts that a result may depend on."""
        return {"name": self.name, "size": self.size, "sha256": self.sha256, "licence": self.licence}

    def is_kept(self) -> bool:
        """Whether the cache holds them, undamaged."""
        return is_kept(self.sha256) and (not self.is_folder or all(map(is_kept, self._members().values())))

    def keep(self) -> None:
        """Copy them into the cache.

        Raises:
            BuildError: they changed after the path was resolved.
            DataError: they cannot be read.
            StorageError: the cache cannot be written.
        """
        if self.is_kept():
            return
        try:
            if self.is_folder:
                digests = {name: self._keep_file(file) for name, file in list_members(self.path).items()}
                digest = keep_file(io.BytesIO(listing(digests)), str(self.path))
            else:
                digest = self._keep_file(self.path)
        except OSError as error:
            hint = "check the path and its permissions"
            where = str(error.filename or self.path)
            raise DataError(f"cannot be read: {error.strerror}", where=where, hint=hint) from None
        if digest != self.sha256:
            raise BuildError("the weights changed while the build ran", where=str(self.path), hint="run doit again")

    def take(self, folder: Path) -> Path:
        """Copy them out of the cache into a folder; their path there.

        Raises:
            BuildError: the cache does not hold them, or they are damaged.
            StorageError: the folder cannot be written.
        """
        target, members = folder / self.name, {self.name: self.sha256}
        if self.is_folder:
            members = {f"{self.name}/{name}": digest for name, digest in self._members().items()}
            try:
                target.mkdir(parents=True, exist_ok=True)  # it may be empty: what to say of that is the reader's affair
            except OSError as error:
                raise storage_error(error, str(target)) from error
        for name, digest in members.items():
            if not (folder / name).resolve().is_relative_to(folder.resolve()) or not take_file(digest, folder / name):
                raise BuildError("the cache's copy of the weights is missing or damaged", where=name, hint=_AGAIN)
        return target

    @staticmethod
    def _keep_file(file: Path) -> str:
        with file.open("rb") as stream:
            return keep_file(stream, str(file))

    def _members(self) -> dict[str, str]:
        """The sha256 of each file of the folder, from the listing in the cache."""
        if not is_kept(self.sha256):
            raise BuildError("the cache's copy of the weights is missing or damaged", where=self.name, hint=_AGAIN)
        try:
            content = read_bounded(paths.cache() / self.sha256, limits.JSON_BYTES).decode(errors="surrogateescape")
        except OSError as error:
            raise BuildError(f"cannot be read: {error.strerror}", where=self.name, hint=_AGAIN) from None
        members = parse_json(content, where=self.name, error=BuildError, hint=_AGAIN)
        if not isinstance(members, dict) or not all(isinstance(digest, str) for digest in members.values()):
            raise BuildError("the cache's listing of the weights is damaged", where=self.name, hint=_AGAIN)
        return members


def choose(
    recipes: Mapping[str, Recipe],
    path: str | None,
    licence: str | None,
    words: Sequence[str],
    broken: Iterable[str] = (),
) -> None:
    """Put ``weights=`` and ``weights_licence=`` of the command line into the environment, for the steps.

    Args:
        recipes: all that load.
        path: the value of ``weights=``.
        licence: the value of ``weights_licence=``.
        words: the command line; it must name one model: as a task, in a task (``vela:NAME``) or in ``models=``.
        broken: models whose recipe does not load; variables for them are accepted unchecked.

    Raises:
        SourceError: the command line names no model or several, ``weights=`` is empty, or an environment variable names
            an unknown model, or one that takes no weights.
        DataError: the weights cannot be read.
    """
    named = {f"{_PATH}{name.upper()}": name for name in (*recipes, *broken)}
    for key in os.environ:
        if key.startswith(_PATH) and key not in named:
            raise SourceError(
                f"{key} names an unknown model{did_you_mean(key, named)}", hint=f"use one of {', '.join(sorted(named))}"
            )
    if path is not None and not path.strip():  # from an unset variable: the user did not mean the published weights
        raise SourceError("no weights given", where="weights=", hint="give weights=FILE, or leave weights= out")
    if path is not None or licence is not None:
        models = models_in(words, recipes)
        if path is None or len(models) != 1:
            raise SourceError(
                "weights= needs exactly one model beside it",
                hint="doit mobilenet_v2 weights=FILE; for several models set ZOO_WEIGHTS_<MODEL>=FILE for each",
            )
        model = models.pop().upper()
        os.environ[_PATH + model] = str(Path(path).absolute())
        if licence is not None:
            os.environ[_LICENCE + model] = licence
    for recipe in recipes.values():
        resolve_own_weights(recipe)  # errors show now, and not as a traceback of doit


def resolve_own_weights(recipe: Recipe) -> OwnWeights | None:
    """Find the user-supplied weights of a model, if any; ``plan.steps_of`` asks once and hands them to each step.

    Raises:
        SourceError: no such path, or the model takes no weights.
        DataError: they cannot be read.
    """
    key = _PATH + recipe.name.upper()
    if not os.environ.get(key):
        return None
    path = Path(os.environ[key])
    if recipe.load is None or isinstance(recipe.load, LoadTflite):
        what = "is trained by the zoo" if recipe.load is None else "is published as a finished TFLite file"
        raise SourceError(f"{recipe.name} takes no weights: it {what}", where=key, hint="leave weights= out")
    if not os.path.exists(path):  # noqa: PTH110  # no error where no path can have this name
        raise SourceError(f"no such file or folder: {path}", where=key, hint="give the path of a weights file")
    licence = os.environ.get(_LICENCE + recipe.name.upper(), "")
    return OwnWeights(path=path, is_folder=path.is_dir(), licence=licence, **fingerprint_weights(path))
