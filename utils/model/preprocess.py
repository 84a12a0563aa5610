"""Turn an input file into the tensor that a graph takes, with the one implementation that also runs on the board.

Calibration and evaluation call the functions of ``utils/example.py`` with the facts of the recipe. So the same file
gives the same tensor in calibration, in evaluation and on the board.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from utils import example
from utils.recipe.tensors import AudioInput, Input

__all__ = ["fits", "read", "spec_of", "tensor_of", "write"]


def spec_of(entry: Input) -> dict[str, Any]:
    """The recipe's ``[input]``, in the form of ``model.json``."""
    return entry.model_dump(mode="json")


def read(file: Path, entry: Input) -> npt.NDArray[Any]:
    """Read a file: an image as uint8 pixels, shape (H, W, C), values 0..255; a recording as int16, shape (samples,)."""
    if isinstance(entry, AudioInput):
        return example.read_recording(str(file), spec_of(entry))
    return example.read_image(str(file), spec_of(entry))


def write(value: npt.NDArray[Any], entry: Input, file: Path) -> None:
    """Write what ``read`` gives as a file that ``example.py`` reads as the same: a PNG, or a WAV file."""
    if isinstance(entry, AudioInput):
        with wave.open(str(file), "wb") as stream:
            stream.setparams((1, 2, entry.rate, len(value), "NONE", ""))
            stream.writeframes(value.astype("<i2").tobytes())
    else:
        Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value).save(file, optimize=True)


def fits(values: npt.NDArray[Any], entry: Input) -> bool:
    """Whether values that were read, shape (N, ...), are what the graph takes."""
    return values.shape[1:] == ((entry.samples,) if isinstance(entry, AudioInput) else tuple(entry.shape[1:]))


def tensor_of(values: npt.NDArray[Any], entry: Input) -> npt.NDArray[np.float32]:
    """Turn what was read, shape (N, ...), into float32 values of the network's shape, with N in the place of the 1."""
    if isinstance(entry, AudioInput):
        return example.mfcc(values, spec_of(entry))
    return example.normalise(values, spec_of(entry))
