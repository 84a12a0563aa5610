"""What to try against the loss of one int8 layer: rules on what ``layers.py`` measured."""

from __future__ import annotations

from dataclasses import dataclass

from utils.model.layers import FIXED, Layer
from utils.model.pairs import INPUT
from utils.npu.keep_float import Cost

__all__ = ["NOTABLE", "Advice", "Calibrated", "advise"]

#: Share of the signal that a layer has to add to the error before there is advice about it.
NOTABLE = 0.05

#: Share of the values of new inputs outside the range that more calibration inputs may bring in.
_CLIPPED = 0.001

#: Calibration inputs below which the range of a layer is a guess.
_FEW = 100

#: From this ratio to the median channel on, a channel takes the others' steps.
_OUTLIER = 8.0

#: From this ratio on, a channel takes the others' steps of the weights.
_WEIGHTS_OUTLIER = 8.0

#: Activations whose range ends by itself.
_BOUNDED = ("RELU6", "RELU_N1_TO_1", "TANH")


@dataclass(frozen=True)
class Calibrated:
    """How the file was calibrated.

    Attributes:
        count: inputs that it was calibrated on.
        available: inputs that the set has.
    """

    count: int
    available: int


@dataclass(frozen=True)
class Advice:
    """One thing to try.

    Attributes:
        kind: ``calibrate``, ``input``, ``outlier``, ``weights`` or ``float``.
        text: what to do and why, for people.
    """

    kind: str
    text: str


def advise(layer: Layer, calibrated: Calibrated, costs: list[Cost], activation: str = "") -> list[Advice]:
    """Find what to try for a layer; empty if it adds less than ``NOTABLE``.

    Args:
        layer: as measured.
        calibrated: how the file was calibrated.
        costs: of keeping it in float.
        activation: what it ends with, such as ``RELU6``; empty if nothing.
    """
    if layer.added < NOTABLE:
        return []
    found = []
    if layer.operator == INPUT:
        what = f"the input holds {layer.lowest:.4g} to {layer.highest:.4g}, the preprocessing gives "
        what += f"{layer.low:.4g} to {layer.high:.4g}"
        found.append(Advice("input", f"correct mean and std of [input] in the recipe: {what}"))
    if layer.operator not in FIXED and (text := _of_calibration(layer, calibrated)):
        found.append(Advice("calibrate", text))
    if layer.operator not in FIXED and layer.outlier >= _OUTLIER:
        found.append(Advice("outlier", _of_outlier(layer, activation)))
    if (layer.weights_outlier or 0) >= _WEIGHTS_OUTLIER:
        what = f"one channel's weights are {layer.weights_outlier:.0f} times as large as those of the median channel"
        found.append(
            Advice("weights", f"{what}: scale that channel down here, and up in the layer beside it, or train again")
        )
    if layer.index >= 0:
        text = "; ".join(_of_cost(cost) for cost in costs)
        found.append(Advice("float", f"keep this operator in float: {text}"))
    return found


def _of_calibration(layer: Layer, calibrated: Calibrated) -> str:
    outside = layer.clipped  # fitted ranges cut values that calibration saw: only more of them on new inputs count
    if layer.clipped_new is not None:
        outside = max(layer.clipped_new - layer.clipped, 0.0)
    few = calibrated.count < _FEW
    if outside < _CLIPPED and not (few and outside > 0):
        return ""
    more = f"the set has {calibrated.available}" if calibrated.available > calibrated.count else "add some to its set"
    return (
        f"calibrate on more inputs than {calibrated.count} (calibration.count; {more}): {100 * outside:.2g} % of the "
        "values are outside the range"
    )


def _of_outlier(layer: Layer, activation: str) -> str:
    reach = max(abs(layer.low), abs(layer.high))
    what = f"channel {layer.channel} reaches {reach:.4g}, {layer.outlier:.0f} times the median channel"
    scale = "scale that channel down here, and up in the layer that reads it"
    if activation in _BOUNDED:
        return f"{what}: {scale}"
    return f"{what}: {scale}, or bound it with ReLU6 and train again"


def _of_cost(cost: Cost) -> str:
    where = "it runs on the CPU" if cost.on_cpu else "it stays on the NPU, where float is slower than int8"
    parts = f"{cost.parts_int8} to {cost.parts} parts" if cost.parts != cost.parts_int8 else f"{cost.parts} part(s)"
    return (
        f"{cost.target}: {where}; {cost.placed} of {cost.total} operators on the NPU instead of {cost.placed_int8} of "
        f"{cost.total_int8}, in {parts}"
    )
