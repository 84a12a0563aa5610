"""Measure a classification: top-1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from utils.recipe.schema import Recipe
from utils.tasks.counting import Confusion, Likeness

__all__ = ["Measure"]


class Measure:
    """Counts the inputs whose highest output is the label."""

    def __init__(self, recipe: Recipe) -> None:
        self._confusion = Confusion(recipe.classes)
        self._likeness = Likeness()
        self._wrong: dict[str, int] = {}
        self._count = 0

    def add(
        self,
        index: int,
        truth: Any,
        outputs: Sequence[npt.NDArray[np.float32]],
        first: Sequence[npt.NDArray[np.float32]] | None,
    ) -> None:
        """Count one input; ``truth`` is its label."""
        scores = outputs[0].reshape(-1)
        answer = int(scores.argmax())
        self._count += 1
        self._confusion.add(np.asarray(truth), np.asarray(answer))
        if truth != answer:
            self._wrong[str(index)] = answer
        if first is not None:
            others = first[0].reshape(-1)
            self._likeness.add(float(answer == others.argmax()), float(np.abs(scores - others).mean()))

    def result(self) -> dict[str, Any]:
        """Top-1 in %, correct answers, and the answer to each input that was answered wrongly."""
        correct = self._count - len(self._wrong)
        counted = {"accuracy": round(100 * correct / self._count, 4), "correct": correct, "wrong": self._wrong}
        return counted | self._confusion.result() | self._likeness.result()
