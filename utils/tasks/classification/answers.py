"""Check the answers of a bundle: the samples, and the best label of each example input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from utils.recipe.schema import Recipe

__all__ = ["Answers"]


class Answers:
    """What example.py must say of the samples and of the example inputs."""

    def __init__(self, recipe: Recipe, labels: list[str]) -> None:
        self._recipe, self._labels = recipe, labels

    def golden_inputs(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The example inputs; of few pictures their mirror images too."""
        return np.concatenate([inputs, inputs[:, :, ::-1]]) if isinstance(self._recipe.examples, list) else inputs

    def asked(self, files: Sequence[str]) -> Sequence[str]:
        """The recipe's own files; of inputs of the evaluation set the first: the samples have the others."""
        return files if isinstance(self._recipe.examples, list) else files[:1]

    def differences(
        self,
        entry: Mapping[str, Any],
        evaluation: Mapping[str, Any],
        golden: Mapping[str, npt.NDArray[Any]],
        *,
        with_own_weights: bool,
    ) -> list[str]:
        """Compare samples with the evaluation, and answers with the recipe or with the golden tensors."""
        wrong = []
        if samples := entry.get("samples"):
            missed = [int(index) for index in evaluation["wrong"]]
            expected = samples["count"] - sum(index < samples["count"] for index in missed)
            if samples["correct"] != expected:
                wrong.append(f"{entry['file']}: {samples['correct']} samples right, the evaluation had {expected}")
        if not isinstance(self._recipe.examples, list):
            wanted = [self._labels[int(golden["output"][0].argmax())]]
        else:
            wanted = [] if with_own_weights else [each.label or "" for each in self._recipe.examples]
        for answer, label in zip(entry["predictions"], wanted, strict=False):
            best = answer["top"][0]["label"]
            if label and best != label:
                wrong.append(f"{entry['file']}: {answer['input']} gives {best!r}, not {label!r}")
        return wrong
