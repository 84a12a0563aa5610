"""Check the answers of a bundle: the objects that each example picture shows are found, and nothing beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import example
from utils.recipe.schema import Recipe
from utils.recipe.tables import Example

__all__ = ["FOUND_IOU", "Answers"]

#: An object is found where an answer of its class overlaps its box by this: COCO's lowest.
FOUND_IOU = 0.5


class Answers:
    """What example.py must say of the example pictures."""

    def __init__(self, recipe: Recipe, labels: list[str]) -> None:
        assert isinstance(recipe.examples, list)  # the schema asks for pictures
        self._examples = recipe.examples

    def golden_inputs(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The example inputs and their mirror images: each shows a few objects only."""
        return np.concatenate([inputs, inputs[:, :, ::-1]])

    def asked(self, files: Sequence[str]) -> Sequence[str]:
        """All of them."""
        return files

    def differences(
        self,
        entry: Mapping[str, Any],
        evaluation: Mapping[str, Any],  # as every kind has it
        golden: Mapping[str, npt.NDArray[Any]],
        *,
        with_own_weights: bool,
    ) -> list[str]:
        """Compare the objects with those that the recipe lists."""
        asked = [] if with_own_weights else zip(entry["predictions"], self._examples, strict=True)
        answers = [self._difference(answer, wanted) for answer, wanted in asked]
        return [f"{entry['file']}: {wrong}" for wrong in answers if wrong]

    @staticmethod
    def _difference(answer: Mapping[str, Any], wanted: Example) -> str:
        """How an answer differs from what the recipe says of the picture; empty if it does not."""
        if wanted.objects is None:
            return ""
        matched = sum(
            any(_is_found(shown.label, shown.box, found) for found in answer["objects"]) for shown in wanted.objects
        )
        least = len(wanted.objects) if wanted.found is None else wanted.found
        if matched >= least and (wanted.objects or not answer["objects"]):
            return ""
        seen = ", ".join(f"{found['label']} {100 * found['score']:.0f} %" for found in answer["objects"]) or "nothing"
        return f"{answer['input']} has {matched} of {len(wanted.objects)} objects right, not {least}: {seen}"


def _is_found(label: str, box: Sequence[float], found: Mapping[str, Any]) -> bool:
    overlap = example.overlaps(np.asarray([box], np.float64), np.asarray([found["box"]], np.float64))
    return label == found["label"] and float(overlap[0, 0]) >= FOUND_IOU
