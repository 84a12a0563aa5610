"""Measure a detector: COCO's average precision (AP), the mean over the classes and over IoU from 0.50 to 0.95."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from utils import example
from utils.recipe.schema import Recipe
from utils.sources.source import Source
from utils.tasks.detection import boxes

__all__ = ["Measure", "read_truth"]

#: EXIF's orientation, and those of its values that swap width and height.
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)


def read_truth(recipe: Recipe, source: Source, file: Path, picture: Path) -> boxes.Truth:
    """Read the boxes of a picture, at its size.

    Raises:
        DataError: a line is malformed, its class has no label, or its box leaves the picture.
    """
    with Image.open(picture) as image:  # it was read before: it is whole
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        size = image.size[::-1] if turned else image.size
    assert isinstance(recipe.labels, list)  # the schema asks for them where there are several outputs
    return boxes.read_truth(file, source.name, recipe.labels, size)


class Measure:
    """Collects what is shown and what is found; COCO's code compares them in the end."""

    def __init__(self, recipe: Recipe) -> None:
        assert isinstance(recipe.labels, list)
        self._labels, self._spec = recipe.labels, recipe.input.model_dump(mode="json")
        self._task = example.Detection(self._spec, [output.model_dump(mode="json") for output in recipe.outputs])
        self._allowed = self._task.matching(recipe.tolerance.float32)
        self._truths: list[boxes.Truth] = []
        self._answers: list[boxes.Answers] = []
        self._found: list[example.Objects] = []
        self._first: list[example.Objects] = []

    def add(
        self,
        index: int,  # as every kind has it
        truth: Any,
        outputs: Sequence[npt.NDArray[np.float32]],
        first: Sequence[npt.NDArray[np.float32]] | None,
    ) -> None:
        """Count one image; ``truth`` is what ``read_truth`` made of its boxes."""
        found = self._task.objects(outputs)
        self._truths.append(truth)
        self._answers.append(boxes.Answers.of(found, truth.size, self._spec))
        self._found.append(found)
        if first is not None:
            self._first.append(self._task.objects(first))

    def result(self) -> dict[str, Any]:
        """AP and AP at an IoU of 0.50 in %, the AP of each class that the images show, and how many objects they show.

        For all but the first variant also ``agreement``, the share of the objects that both find, in %. Objects have no
        order, so there is no mean error of the outputs.
        """
        precision = boxes.average_precision(self._truths, self._answers, self._labels)
        measured: dict[str, Any] = {
            "accuracy": round(precision.ap, 4),
            "ap50": round(precision.ap50, 4),
            "objects": precision.objects,
            "ap": {str(index): round(value, 4) for index, value in precision.by_class.items()},
        }
        if self._first:
            measured["agreement"] = round(boxes.agreement(self._first, self._found, self._allowed), 4)
        return measured
