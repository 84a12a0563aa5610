"""Ranges of int8 tensors: an outlier is cut, what fits exactly stays, and the error is never larger than before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.quantised import make_chain, make_inputs, write_float32
from utils import tflite, tflite_edit
from utils.model.inside import Runner
from utils.model.ranges import Histogram, find_range, fit_ranges

Values = npt.NDArray[np.float32]


def seen(values: Values) -> Histogram:
    found = Histogram(float(values.min()), float(values.max()))
    for start in range(0, values.size, 5_000):
        found.add(values[start : start + 5_000])
    return found


def error(values: Values, low: float, high: float) -> float:
    """The mean squared error of int8 in this range."""
    scale = (high - low) / 255
    zero_point = round(-128 - low / scale)
    steps = np.clip(np.round(values.astype(np.float64) / scale + zero_point), -128, 127)
    return float(np.mean(np.square((steps - zero_point) * scale - values)))


def test_values_that_fit_exactly_keep_their_range() -> None:
    """Pixels as k / 255: any other range would lose a bit of each."""
    pixels = np.tile(np.arange(256, dtype=np.float32) / np.float32(255), 20)
    assert find_range(seen(pixels)) == (0.0, 1.0)


def test_pixels_halfway_between_two_steps_get_a_wider_range() -> None:
    pixels = np.tile(np.arange(256, dtype=np.float32) / np.float32(127.5) - 1, 20)
    low, high = find_range(seen(pixels))
    assert high - low != 2
    assert error(pixels, low, high) < 0.6 * error(pixels, -1.0, 1.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_outlier_is_cut(sign: int) -> None:
    values = np.random.default_rng(1).normal(size=500_000).astype(np.float32)
    values[7] = sign * 30
    low, high = find_range(seen(values))
    assert (high if sign > 0 else -low) < 20
    assert (-low if sign > 0 else high) < 6
    assert error(values, low, high) < 0.8 * error(values, float(values.min()), float(values.max()))


@pytest.mark.parametrize("offset", [0.0, 3.0, -3.0])
def test_a_range_has_0_and_the_error_is_never_larger(offset: float) -> None:
    values = (np.random.default_rng(2).normal(size=20_000) + offset).astype(np.float32)
    low, high = find_range(seen(values))
    assert low <= 0 <= high
    before = min(0.0, float(values.min())), max(0.0, float(values.max()))
    assert error(values, low, high) <= 1.001 * error(values, *before)


def test_a_large_tensor_is_seen_in_all_channels() -> None:
    """Every step that shares a factor with the channels would see some of them alone."""
    values = np.broadcast_to(np.arange(24, dtype=np.float32), (1, 300, 100, 24))
    found = Histogram(0.0, 23.0)
    found.add(values)
    means, counts = found.means()
    assert means.tolist() == list(range(24))
    assert 5_000 < counts.sum() <= 10_000


@pytest.fixture
def calibrated(tmp_path: Path) -> bytes:
    """A chain of convolutions with the range of each tensor, as calibration leaves it."""
    file = write_float32(tmp_path / "net.tflite", make_chain())
    runner, graph = Runner(file.read_bytes(), file.name, threads=1), tflite.read(file)
    values: dict[int, list[Values]] = {}
    for value in make_inputs():
        runner.run(graph.inputs[0], value)
        for index in (*graph.inputs, *(index for operator in graph.operators for index in operator.outputs)):
            values.setdefault(index, []).append(runner.raw(index).copy())

    def change(model: object) -> None:
        from ai_edge_litert import schema_py_generated as schema

        for index, found in values.items():
            given = schema.QuantizationParametersT()
            given.min, given.max = ([np.float32(end(found))] for end in (np.min, np.max))
            model.subgraphs[0].tensors[index].quantization = given  # type: ignore[attr-defined]

    return tflite_edit.rewrite(file.read_bytes(), change)


def ranges(data: bytes) -> dict[str, tuple[float, float]]:
    found = tflite.unpack(data, "net").subgraphs[0].tensors
    return {
        entry.name.decode(): (float(entry.quantization.min[0]), float(entry.quantization.max[0]))
        for entry in found
        if entry.quantization and entry.quantization.min is not None
    }


def test_ranges_of_a_file(calibrated: bytes) -> None:
    """Only ranges change; that of SOFTMAX, which TFLite fixes, stays; the same inputs give the same bytes."""
    fitted = fit_ranges(calibrated, make_inputs())
    assert fitted == fit_ranges(calibrated, make_inputs())
    before, after = ranges(calibrated), ranges(fitted)
    graph = tflite.parse(fitted, "net")
    assert before.keys() == after.keys()
    (softmax,) = (operator for operator in graph.operators if operator.name == "SOFTMAX")
    last = graph.tensors[softmax.outputs[0]].name
    assert after[last] == before[last]
    assert sum(after[name] != before[name] for name in after) >= 3
    assert graph == tflite.parse(calibrated, "net")
    values: dict[int, list[Values]] = {}
    runner = Runner(calibrated, "net", threads=1)
    for value in make_inputs():
        runner.run(graph.inputs[0], value)
        for index in (*graph.inputs, *(operator.outputs[0] for operator in graph.operators[:-1])):
            values.setdefault(index, []).append(runner.raw(index).copy())
    for index, found in values.items():
        name, all_values = graph.tensors[index].name, np.concatenate(found).ravel()
        ends = [(min(low, 0.0), max(high, 0.0)) for low, high in (before[name], after[name])]
        assert error(all_values, *ends[1]) <= 1.001 * error(all_values, *ends[0])
