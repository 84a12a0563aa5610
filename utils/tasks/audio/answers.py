"""Check the answers of a bundle: the samples, and the best label of each example recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from utils.tasks.classification.answers import Answers as _Answers

__all__ = ["Answers"]


class Answers(_Answers):
    """What example.py must say of the samples and of the example recordings."""

    def golden_inputs(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The example inputs: features have no mirror image."""
        return inputs
