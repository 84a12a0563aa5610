"""Ranges of int8 activations: where to cut what calibration saw, so that the mean squared error is smallest.

Calibration notes the smallest and the largest value of each tensor. One value far out makes the step of all others
coarse: to cut it costs less than it wins. An input whose values lie halfway between two steps (pixels as k / 127.5 - 1)
loses a bit to rounding; a slightly wider range wins most of it back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import tflite, tflite_edit
from utils.model.inside import Runner, Values
from utils.model.layers import FIXED

__all__ = ["Histogram", "find_range", "fit_ranges"]

Sums = npt.NDArray[np.float64]

#: Bins between the smallest and the largest value: 16 a step of int8.
BINS = 4096

#: Values of a tensor that are looked at for each input.
SAMPLE = 10_000

#: Ends of a range that are tried, relative to the calibrated ones: one end, and both together.
_ENDS = tuple(share / 100 for share in range(103, 29, -1))
_BOTH = tuple(share / 200 for share in range(220, 179, -1))

#: What a range has to win over the one before it, in squared steps: sums differ by less from one CPU to the next.
_LEAST = 1e-6


class Histogram:
    """How often values occur between two ends, and their mean in each bin.

    Equal values, such as pixels, keep their exact value as the mean of their bin.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.counts: Sums = np.zeros(BINS)
        self.sums: Sums = np.zeros(BINS)

    def add(self, values: Values) -> None:
        """Add a tensor; of a large one, evenly spread values of all its channels (the last axis)."""
        step = -(-values.size // SAMPLE)
        while math.gcd(step, values.shape[-1] if values.ndim else 1) > 1:
            step += 1
        found = values.reshape(-1)[::step].astype(np.float64)
        places = ((found - self.low) * (BINS / (self.high - self.low))).astype(np.int64).clip(0, BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)
        self.sums += np.bincount(places, weights=found, minlength=BINS)

    def means(self) -> tuple[Sums, Sums]:
        """The mean of each bin that has values, and how many it has."""
        filled = self.counts > 0
        return self.sums[filled] / self.counts[filled], self.counts[filled]


def find_range(seen: Histogram) -> tuple[float, float]:
    """The range, 0 included, whose 256 int8 values are nearest to what was seen, by the mean squared error."""
    means, counts = seen.means()
    shares = counts / counts.sum()

    def error(low: float, high: float) -> float:
        scale = (high - low) / 255
        zero_point = np.clip(np.round(-128 - low / scale), -128, 127)
        steps = np.clip(np.round(means / scale + zero_point), -128, 127)
        return float(np.sum(np.square((steps - zero_point) * scale - means) * shares))

    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    least, enough = error(low, high), _LEAST * ((high - low) / 255) ** 2
    best = low, high
    for _ in range(2):
        tried = [(low * share, best[1]) for share in _ENDS] if low else []
        best, least = _better(error, tried, best, least, enough)
        tried = [(best[0], high * share) for share in _ENDS] if high else []
        best, least = _better(error, tried, best, least, enough)
        best, least = _better(error, [(best[0] * share, best[1] * share) for share in _BOTH], best, least, enough)
    return best


def _better(
    error: Any, tried: Sequence[tuple[float, float]], best: tuple[float, float], least: float, enough: float
) -> tuple[tuple[float, float], float]:
    for ends in tried:
        if (found := error(*ends)) < least - enough:
            best, least = ends, found
    return best, least


def fit_ranges(data: bytes, inputs: Iterable[Values]) -> bytes:
    """Fit the ranges of a calibrated file.

    Args:
        data: a float32 TFLite file whose tensors have the ``min`` and ``max`` that calibration found.
        inputs: some of those that it was calibrated on, each float32 and of the input's shape.

    Returns:
        The same file with other ranges. Those that TFLite fixes (``FIXED``) stay.

    Raises:
        BuildError: the runtime refuses the file.
        DataError: it is damaged.
    """
    graph = tflite.parse(data, "the calibrated model")
    fixed = {index for operator in graph.operators if operator.name in FIXED for index in operator.outputs}
    runner, seen = Runner(data, "the calibrated model", threads=1), _ranges(data, fixed)
    for value in inputs:
        runner.run(graph.inputs[0], value)
        for index, histogram in seen.items():
            histogram.add(runner.raw(index))

    def change(model: Any) -> None:
        for index, histogram in seen.items():
            given = model.subgraphs[0].tensors[index].quantization
            low, high = find_range(histogram)
            given.min, given.max = np.array([low], np.float32), np.array([high], np.float32)

    return tflite_edit.rewrite(data, change)


def _ranges(data: bytes, fixed: set[int]) -> dict[int, Histogram]:
    """An empty histogram for each tensor of one range that may change."""
    found = {}
    for index, tensor in enumerate(tflite.unpack(data, "the calibrated model").subgraphs[0].tensors):
        given = tensor.quantization
        if index in fixed or given is None or any(ends is None or len(ends) != 1 for ends in (given.min, given.max)):
            continue
        low, high = float(given.min[0]), float(given.max[0])
        if low < high and math.isfinite(high - low):
            found[index] = Histogram(low, high)
    return found
