"""Measure a segmentation: the mean intersection over union (mIoU) of the classes that the masks show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from utils import limits
from utils.errors import DataError
from utils.recipe.schema import Recipe
from utils.sources.source import Source
from utils.tasks.counting import Confusion, Likeness
from utils.untrusted import as_text

__all__ = ["IGNORED", "Measure", "read_truth"]

#: The mask value of ignored pixels in PASCAL VOC's masks.
IGNORED = 255


def read_truth(recipe: Recipe, source: Source, file: Path, _picture: Path) -> npt.NDArray[np.uint8]:
    """Read a mask: uint8, shape (height, width) of the file, each pixel an index into the labels or ``IGNORED``.

    Raises:
        DataError: it is no PNG with palette indices, is too large, or has a class that the recipe has not.
    """
    hint = "list another mask"
    try:
        with Image.open(file) as image:
            if image.width * image.height > limits.MASK_PIXELS:
                raise DataError(f"has more than {limits.MASK_PIXELS:,} pixels", where=source.name, hint=hint)
            mode, mask = image.mode, np.asarray(image)
    except DataError:
        raise
    except Exception as error:  # whatever Pillow raises for damaged bytes
        what = f"cannot be read: {as_text(error) or type(error).__name__}"
        raise DataError(what, where=source.name, hint=hint) from None
    largest = mask[mask != IGNORED].max(initial=0)
    if mode not in ("P", "L") or largest >= recipe.classes:
        raise DataError(
            f"not a mask of {recipe.classes} classes: an image of mode {mode}, values up to {largest}",
            where=source.name,
            hint="a mask is a PNG whose palette indices are labels, 255 for ignored pixels",
        )
    return np.asarray(mask, np.uint8)


class Measure:
    """Counts pixels at the size of each mask."""

    def __init__(self, recipe: Recipe) -> None:
        self._confusion = Confusion(recipe.classes)
        self._likeness = Likeness()

    def add(
        self,
        index: int,  # as every kind has it
        truth: Any,
        outputs: Sequence[npt.NDArray[np.float32]],
        first: Sequence[npt.NDArray[np.float32]] | None,
    ) -> None:
        """Count one image; ``truth`` is its mask."""
        answer = outputs[0][0].argmax(-1)
        counted = truth != IGNORED
        self._confusion.add(truth[counted], _resized(answer, truth.shape)[counted])
        if first is not None:
            same = float(np.mean(answer == first[0][0].argmax(-1)))
            self._likeness.add(same, float(np.abs(outputs[0] - first[0]).mean()))

    def result(self) -> dict[str, Any]:
        """MIoU in %, and the intersection over union of each class present, in %."""
        counts = self._confusion.counts
        hit, present = np.diag(counts), np.flatnonzero(counts.sum(1))
        union = counts.sum(1) + counts.sum(0) - hit
        iou = {str(index): round(float(100 * hit[index] / union[index]), 4) for index in present}
        counted = {"accuracy": round(sum(iou.values()) / len(iou), 4), "iou": iou}
        return counted | self._confusion.result() | self._likeness.result()


def _resized(answer: npt.NDArray[np.int64], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A class map at the size of the mask that it is held against."""
    image = Image.fromarray(answer.astype(np.uint8))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.NEAREST))
