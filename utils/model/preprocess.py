"""Turn an image into the tensor that a graph takes, with the one implementation that also runs on the board.

Calibration and evaluation call the functions of ``utils/example.py`` with the facts of the recipe. So the same image
gives the same tensor in calibration, in evaluation and on the board.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import example
from utils.recipe.tables import Input

__all__ = ["read", "spec_of", "tensor_of"]


def spec_of(entry: Input) -> dict[str, Any]:
    """The recipe's ``[input]``, in the form of ``model.json``."""
    return entry.model_dump(mode="json")


def read(file: Path, entry: Input) -> npt.NDArray[np.uint8]:
    """Read an image file as pixels: uint8, shape (H, W, C), values 0..255."""
    return example.read_image(str(file), spec_of(entry))


def tensor_of(pixels: npt.NDArray[np.uint8], entry: Input) -> npt.NDArray[np.float32]:
    """Turn pixels, shape (N, H, W, C), into the float32 values that the network takes, same shape."""
    return example.normalise(pixels, spec_of(entry))
