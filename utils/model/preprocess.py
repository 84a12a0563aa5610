"""From an image to the tensor that a graph takes. There is one implementation, and it leaves for the board.

Calibration and evaluation call the functions of ``utils/example.py``, with the facts of the recipe: what the model is
calibrated on, measured on and given on the board is the same tensor for the same image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import example
from utils.recipe.schema import Input

__all__ = ["read", "spec_of", "tensor_of"]


def spec_of(entry: Input) -> dict[str, Any]:
    """The recipe's ``[input]`` as ``model.json`` carries it to the board."""
    return entry.model_dump(mode="json")


def read(file: Path, entry: Input) -> npt.NDArray[np.uint8]:
    """An image file as pixels: uint8, shape (H, W, C), values 0..255."""
    return example.read_image(str(file), spec_of(entry))


def tensor_of(pixels: npt.NDArray[np.uint8], entry: Input) -> npt.NDArray[np.float32]:
    """Pixels, shape (N, H, W, C), as the float32 values that the network takes, same shape."""
    return example.normalise(pixels, spec_of(entry))
