"""A user's own weights in the place of the published ones: ``weights=FILE``, or ``ZOO_WEIGHTS_<MODEL>``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import SourceError
from utils.model.fingerprint import fingerprint_weights
from utils.recipe.schema import LoadTflite, Recipe

__all__ = ["Own", "choose", "find"]

_PATH, _LICENCE = "ZOO_WEIGHTS_", "ZOO_LICENCE_"


@dataclass(frozen=True)
class Own:
    """Weights that are the user's: a file, or the folder of a SavedModel, and the licence they say it has."""

    path: Path
    licence: str

    def fingerprint(self) -> dict[str, Any]:
        """``name``, ``size`` (bytes), ``sha256`` and ``licence``."""
        return fingerprint_weights(self.path) | {"licence": self.licence}


def choose(recipes: Mapping[str, Recipe], path: str | None, licence: str | None, words: Sequence[str]) -> None:
    """Take ``weights=`` and ``weights_licence=`` of the command line over into the environment, for the steps.

    Args:
        recipes: all of them.
        path: what stands behind ``weights=``.
        licence: what stands behind ``weights_licence=``.
        words: the command line; it must name one model.

    Raises:
        SourceError: it names none or several, or an environment variable names a model that is none or takes none.
        DataError: the weights cannot be read.
    """
    named = {f"{_PATH}{name.upper()}": name for name in recipes}
    for key in os.environ:
        if key.startswith(_PATH) and key not in named:
            raise SourceError(f"{key} belongs to no model", hint=f"there are {', '.join(sorted(named))}")
    if path is not None or licence is not None:
        models = {word.split(":")[0] for word in words if "=" not in word} & set(recipes)
        if path is None or len(models) != 1:
            raise SourceError(
                "weights= is for one model, named beside it",
                hint="doit mobilenet_v2 weights=FILE; for several models set ZOO_WEIGHTS_<MODEL>=FILE for each",
            )
        model = models.pop().upper()
        os.environ[_PATH + model] = str(Path(path).absolute())
        if licence is not None:
            os.environ[_LICENCE + model] = licence
    for recipe in recipes.values():
        if own := find(recipe):
            own.fingerprint()  # what is wrong with it is said now, not by a traceback of doit


def find(recipe: Recipe) -> Own | None:
    """The user's weights for a model, if there are any.

    Raises:
        SourceError: the path leads nowhere, or the model takes no weights.
    """
    key = _PATH + recipe.name.upper()
    if not os.environ.get(key):
        return None
    path = Path(os.environ[key])
    if recipe.load is None or isinstance(recipe.load, LoadTflite):
        what = "is trained here" if recipe.load is None else "is published as a finished TFLite file"
        raise SourceError(f"{recipe.name} takes no weights: it {what}", where=key, hint="leave weights= out")
    if not path.exists():
        raise SourceError(f"no such file or folder: {path}", where=key, hint="give the path of a weights file")
    return Own(path, os.environ.get(_LICENCE + recipe.name.upper(), ""))
