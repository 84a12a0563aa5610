"""What to try for a layer: each rule has a layer that it is about, and one that it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from utils.model.advice import NOTABLE, Calibrated, advise
from utils.model.layers import Layer
from utils.npu.keep_float import Cost

BAD = Layer(
    number=3, index=2, operator="CONV_2D", name="block/conv", shape=(1, 8, 8, 4), low=-1.0, high=1.0, scale=0.01,
    zero_point=0, lowest=-1.28, highest=1.27, rmse=0.2, error=0.5, inherited=0.1, added=0.4, measure="median channel",
    clipped=0.0, clipped_new=0.0, channel=3, outlier=2.0, weights_outlier=1.5,
)  # fmt: skip
MANY = Calibrated(200, 200)
COST = Cost("ethos_u", "i.MX 93", "LF1", True, 8, 12, 10, 10, 2, 1)


def kinds(layer: Layer, calibrated: Calibrated = MANY, activation: str = "") -> list[str]:
    return [entry.kind for entry in advise(layer, calibrated, [COST], activation)]


def text(kind: str, layer: Layer, calibrated: Calibrated = MANY, activation: str = "") -> str:
    return next(entry.text for entry in advise(layer, calibrated, [COST], activation) if entry.kind == kind)


def test_a_layer_that_adds_little_gets_no_advice() -> None:
    assert kinds(replace(BAD, added=NOTABLE - 0.001, outlier=900.0, clipped=0.5)) == []
    assert kinds(BAD) == ["float"]


@pytest.mark.parametrize(
    ("clipped", "clipped_new", "count", "expected"),
    [
        (0.0, 0.01, 200, True),
        (0.01, None, 200, True),
        (0.0, 0.0005, 200, False),
        (0.0, 0.0005, 24, True),  # few inputs: any value outside says that the range is a guess
        (0.0, 0.0, 24, False),
        (0.01, 0.0102, 200, False),  # a fitted range cuts as much of what it has seen
        (0.01, 0.02, 200, True),
    ],
)
def test_more_calibration(clipped: float, clipped_new: float | None, count: int, expected: bool) -> None:
    layer = replace(BAD, clipped=clipped, clipped_new=clipped_new)
    assert ("calibrate" in kinds(layer, Calibrated(count, count))) == expected


def test_more_calibration_says_what_the_set_has() -> None:
    layer = replace(BAD, clipped_new=0.02)
    said = text("calibrate", layer, Calibrated(24, 64))
    assert "more inputs than 24 (calibration.count; the set has 64): 2 %" in said
    assert "add some to its set" in text("calibrate", layer, Calibrated(24, 24))


def test_an_outlier_channel() -> None:
    layer = replace(BAD, outlier=80.0, high=640.0)
    assert "channel 3 reaches 640, 80 times the median channel" in text("outlier", layer)
    assert "ReLU6" in text("outlier", layer)
    assert "ReLU6" not in text("outlier", layer, activation="RELU6")
    assert "outlier" not in kinds(replace(layer, operator="SOFTMAX"))


def test_outliers_among_the_weights() -> None:
    assert "weights" in kinds(replace(BAD, weights_outlier=40.0))
    assert "weights" not in kinds(replace(BAD, weights_outlier=None))


def test_an_input_that_does_not_fit_points_to_the_preprocessing() -> None:
    layer = replace(BAD, index=-1, operator="INPUT", high=255.0)
    assert "mean and std of [input]" in text("input", layer)
    assert "-1 to 255" in text("input", layer)
    assert "float" not in kinds(layer)


def test_the_cost_of_float() -> None:
    said = text("float", BAD)
    assert "i.MX 93: it runs on the CPU; 8 of 12 operators on the NPU instead of 10 of 10, in 1 to 2 parts" in said
