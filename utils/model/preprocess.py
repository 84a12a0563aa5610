"""Turn an input file into the tensor that a graph takes, with the one implementation that also runs on the board.

Calibration and evaluation call the functions of ``utils/example.py`` with the facts of the recipe. So the same file
gives the same tensor in calibration, in evaluation and on the board.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import example
from utils.recipe.schema import Input

__all__ = ["fits", "read", "spec_of", "tensor_of"]


def spec_of(entry: Input) -> dict[str, Any]:
    """The recipe's ``[input]``, in the form of ``model.json``."""
    return entry.model_dump(mode="json")


def read(file: Path, entry: Input) -> npt.NDArray[Any]:
    """Read a file: of an image uint8 pixels, shape (H, W, C), values 0..255."""
    return example.read_image(str(file), spec_of(entry))


def fits(values: npt.NDArray[Any], entry: Input) -> bool:
    """Whether values that were read, shape (N, ...), are what the graph takes."""
    return values.shape[1:] == tuple(entry.shape[1:])


def tensor_of(values: npt.NDArray[Any], entry: Input) -> npt.NDArray[np.float32]:
    """Turn what was read, shape (N, ...), into the float32 values that the network takes; pixels keep their shape."""
    return example.normalise(values, spec_of(entry))
