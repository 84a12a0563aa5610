"""Load user-supplied weights into a network that the recipe has built; nothing in the file is executed.

Accepted, by content and not by suffix: a Keras h5 file (weights alone or a whole model, old layout or that of
``.weights.h5``), a ``.keras`` file, a SavedModel folder (Keras 2, or Keras 3's ``model.export()``). Only numbers are
read: configs are scanned and never made into objects, the graph of a SavedModel is not opened, pickles are refused.
Every shape is compared before a weight is read, and every weight is read before one is set.

The network may be the file's model, that model with its inner models flattened, or one of these inner models:
fine-tuning puts a network into a Sequential, or into a Functional model with its own head.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils.errors import DataError, ZooError
from utils.model import weights_h5, weights_saved_model
from utils.model.fingerprint import fingerprint_weights
from utils.model.stored import AGAIN, ORDER, Layer, Part, quote

__all__ = ["load_into"]

_OTHER = "these are weights of another network (or another width, depth or number of classes): build that one instead"
_MORE = (
    "if the network is a model inside yours, save that one alone, "
    'model.get_layer(NAME).save_weights("mine.weights.h5"); if not, build the network that you trained'
)
_UNCLEAR = (
    'save the whole model, model.save("mine.keras"), whose config tells the order; or the model in it alone, '
    'model.get_layer(NAME).save_weights("mine.weights.h5")'
)

_Fit = list[tuple[list[Any], Layer]]


def load_into(model: Any, file: Path, where: str) -> str:
    """Set every weight of a built Keras network from a file; on an error none is set.

    Args:
        model: the network, a keras.Model.
        file: the weights file, or the SavedModel folder.
        where: the user's name for the file, for messages.

    Returns:
        The name of the inner model that the weights belong to; empty if they are those of the whole file.

    Raises:
        DataError: the file cannot be read, is hostile, or belongs to another network; names the first layer that does
            not fit.
    """
    try:
        fingerprint_weights(file)  # raises if the path itself is wrong
        with contextlib.ExitStack() as opened:
            if file.is_dir():
                parts = weights_saved_model.saved_model_parts(model, file)
            else:
                parts = weights_h5.h5_parts(model, file, opened)
            name, fit = _choose(parts)
            values = [value for variables, found in fit for value in _values(variables, found)]
        if {id(variable) for variable in model.weights} - {id(variable) for variable, _ in values}:
            raise DataError("the network has weights outside its layers", hint="correct the recipe's code")
    except ZooError as error:
        raise type(error)(error.what, where=where, hint=error.hint) from None
    except Exception as error:  # whatever h5py, zipfile, json and TensorFlow raise for damaged bytes
        what = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise DataError(f"the file is damaged: {quote(what[0], 200)}", where=where, hint=AGAIN) from error
    for variable, value in values:
        variable.assign(value)
    return name


class _MismatchError(Exception):
    """A part of the file is not the network; its first ``fitted`` layers fit."""

    def __init__(self, what: str, hint: str, fitted: int) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint
        self.nearness = (hint == _UNCLEAR, fitted)  # missing information may be the only problem


def _choose(parts: Iterator[Part]) -> tuple[str, _Fit]:
    """Find the part of the file that is the network: all of it, or the only model in it that fits."""
    fits: dict[tuple[str, ...], tuple[str, _Fit]] = {}
    nearest: _MismatchError | None = None
    for part in parts:
        try:
            fit = _fitting(part)
        except _MismatchError as error:
            nearest = error if nearest is None or error.nearness > nearest.nearness else nearest
            continue
        if not part.name:
            return "", fit
        fits.setdefault(
            tuple(found.place for _, found in fit), (part.name, fit)
        )  # a model whose only content is a model
    if len(fits) > 1:
        names = ", ".join(quote(name) for name, _ in list(fits.values())[:8])
        raise DataError(f"several models in the file fit: {names}", hint=_MORE)
    if fits:
        return next(iter(fits.values()))
    if nearest is None:
        raise DataError("holds no weights", hint=AGAIN)
    raise DataError(nearest.what, hint=nearest.hint)


def _title(layer: Any) -> str:
    return f'layer "{layer.name}" ({type(layer).__name__})'


def _fitting(part: Part) -> _Fit:
    """Pair each layer's variables with their weights in the file, after checking that all of them fit."""
    fit: _Fit = []
    for layer, variables, found in part.pairs:
        if layer is None and found is not None:
            what = f"the file has more layers than the network: {quote(found.name)} fits none"
            raise _MismatchError(what, _MORE, len(fit))
        if found is None or not found.weights:
            what = "the file has no weights for it" if found is None or not found.unclear else found.unclear
            hint = _UNCLEAR if found is not None and found.unclear else _OTHER
            raise _MismatchError(f"{_title(layer)}: {what}", hint, len(fit))
        if what := _misfit(variables, found):
            hint = _UNCLEAR if found.unclear else _OTHER
            raise _MismatchError(f"{_title(layer)}: {found.unclear or what}", hint, len(fit))
        fit.append((variables, found))
    return fit


def _misfit(variables: list[Any], found: Layer) -> str:
    """Say how a layer's weights in the file differ from those of the network; empty if they fit."""
    import numpy as np

    for variable, weight in zip(variables, found.weights, strict=False):
        wanted = tuple(variable.shape)
        # Keras 2 has "depthwise_kernel" where Keras 3 has "kernel".
        ours, theirs = (name.replace("depthwise_kernel", "kernel") for name in (variable.name, weight.role))
        if weight.shape != wanted:
            return f"the file has {weight.shape} for {quote(weight.name)}, the network needs {wanted}"
        if theirs and ours in ORDER and ours != theirs:
            return f"the file has {quote(weight.name)} where the network needs {quote(variable.path)}"
        if weight.dtype.kind != np.dtype(variable.dtype).kind:
            name = "objects" if weight.dtype.hasobject else f"{weight.dtype} numbers"
            return f"the file has {name} for {quote(weight.name)}, the network needs {variable.dtype}"
    if len(variables) == len(found.weights):
        return ""
    have = ", ".join(quote(weight.name) for weight in found.weights[:8])
    names = ", ".join(variable.name for variable in variables[:8])
    return f"the file has {len(found.weights)} weights for it ({have}), the network needs {len(variables)} ({names})"


def _values(variables: list[Any], found: Layer) -> Iterator[tuple[Any, Any]]:
    import numpy as np

    for variable, weight in zip(variables, found.weights, strict=True):
        with np.errstate(over="ignore"):  # too large for float32: becomes infinity, and is reported below
            value = np.asarray(weight.read()).astype(variable.dtype)
        if not np.isfinite(value).all():
            what = f"{quote(weight.name)} holds NaN or infinity"
            raise DataError(what, hint="its training diverged: give an earlier checkpoint")
        yield variable, value
