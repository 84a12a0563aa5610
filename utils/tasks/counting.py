"""Counts that several kinds of task share: the confusion matrix, and how far a variant is from the first one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_CLASSES", "Confusion", "Likeness"]

#: The most classes whose confusion matrix is kept: a thousand make a million numbers.
MOST_CLASSES = 100


class Confusion:
    """How often each label got each answer; row: label, column: answer."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, truth: npt.NDArray[Any], answer: npt.NDArray[Any]) -> None:
        """Count labels and answers, integers of one shape."""
        np.add.at(self.counts, (truth, answer), 1)

    def result(self) -> dict[str, Any]:
        """``confusion``, of not too many classes."""
        return {"confusion": self.counts.tolist()} if len(self.counts) <= MOST_CLASSES else {}


class Likeness:
    """How far a variant is from the first one."""

    def __init__(self) -> None:
        self._same: list[float] = []
        self._error: list[float] = []

    def add(self, same: float, error: float) -> None:
        """One input: the share of its answers that are the same, 0 to 1, and the mean absolute error of its outputs."""
        self._same.append(same)
        self._error.append(error)

    def result(self) -> dict[str, Any]:
        """``agreement`` in %, and ``mean_error``; empty for the first variant."""
        if not self._same:
            return {}
        return {
            "agreement": round(100 * float(np.mean(self._same)), 4),
            "mean_error": float(f"{np.mean(self._error):.3g}"),  # further digits differ between CPUs
        }
