"""Check the answers of a bundle: the largest class of each example picture, and its share of the pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from utils.recipe.schema import Recipe
from utils.recipe.tables import Example

__all__ = ["Answers"]


class Answers:
    """What example.py must say of the example pictures."""

    def __init__(self, recipe: Recipe, labels: list[str]) -> None:
        assert isinstance(recipe.examples, list)  # the schema asks for pictures
        self._examples, self._background = recipe.examples, labels[0]

    def golden_inputs(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The example inputs; of a single one the mirror image too, so that outputs can differ."""
        return np.concatenate([inputs, inputs[:, :, ::-1]]) if len(inputs) == 1 else inputs

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
        """Compare the shares of the pixels with the recipe."""
        asked = [] if with_own_weights else zip(entry["predictions"], self._examples, strict=True)
        answers = [self._difference(answer, wanted) for answer, wanted in asked]
        return [f"{entry['file']}: {wrong}" for wrong in answers if wrong]

    def _difference(self, answer: Mapping[str, Any], wanted: Example) -> str:
        """How an answer differs from what the recipe says of the picture; empty if it does not."""
        if wanted.label is None:
            return ""
        found = {each["label"]: each["share"] for each in answer["classes"] if each["label"] != self._background}
        largest = next(iter(found), self._background)  # example.py names the largest first
        if largest != wanted.label:
            return f"{answer['input']} has most of {largest!r}, not {wanted.label!r}"
        least, most = wanted.share or [0.0, 100.0]
        if least <= found[largest] <= most:
            return ""
        return f"{answer['input']} has {found[largest]:.2f} % {largest!r}, {least:g} to {most:g} % are right"
