"""The verdict of example.py on outputs beside golden tensors."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from utils import example, paths

GOLDEN = np.asarray([[10, -20, 100], [-90, 50, 0], [7, 8, 9]], np.int8)
REAL = GOLDEN.astype(np.float32) / 128


def test_pass_and_its_numbers() -> None:
    outputs = GOLDEN + np.asarray([[0, 3, 0], [0, 0, 0], [0, 0, -6]], np.int8)
    check = example.judge(outputs, GOLDEN, 6)
    assert check == {
        "verdict": "PASS", "inputs": 3, "top1_agreement": pytest.approx(2 / 3), "max_error": 6,
        "mean_error": 1, "tolerance": 6, "unit": "steps",
    }  # fmt: skip
    assert example.judge(outputs, GOLDEN, 5)["verdict"] == "MISMATCH"


FIXED = np.repeat(GOLDEN[:1], 3, axis=0)


@pytest.mark.parametrize(
    ("outputs", "golden", "tolerance", "verdict"),
    [
        (GOLDEN, GOLDEN, 0, "PASS"),
        (REAL, REAL, 0, "PASS"),
        (REAL + 0.5e-3, REAL, 1e-3, "PASS"),
        (REAL + 2e-3, REAL, 1e-3, "MISMATCH"),
        (GOLDEN[::-1], GOLDEN, 10, "MISMATCH"),
        (FIXED, GOLDEN, 10, "FIXED_OUTPUT"),
        (REAL[[1, 1, 1]], REAL, 1e-3, "FIXED_OUTPUT"),
        (np.full((3, 3), -128, np.int8), GOLDEN, 10, "FIXED_OUTPUT"),  # fixed says more than saturated
        (FIXED, FIXED, 10, "PASS"),  # the model itself answers all these inputs alike
        (FIXED + 20, FIXED, 10, "MISMATCH"),
        (GOLDEN[1:2], GOLDEN[:1], 10, "MISMATCH"),  # one input: nobody can tell that it is fixed
        (GOLDEN[:1], GOLDEN[:1], 0, "PASS"),
        (np.where(GOLDEN > 8, 127, -128).astype(np.int8), GOLDEN, 10, "SATURATED"),
        (np.where(REAL > 0.06, 1, 0).astype(np.float32), REAL, 1e-3, "SATURATED"),
        (np.where(REAL > 0.7, np.nan, REAL), REAL, 1e-3, "NAN"),
        (np.where(REAL > 0.7, -np.inf, REAL), REAL, 1e-3, "NAN"),
        (np.full_like(REAL, np.nan), REAL, 1e-3, "NAN"),
        (np.where(REAL > 0.06, 5, -3).astype(np.float32), 9 * REAL, 1e-3, "SATURATED"),  # logits
    ],
)
def test_verdicts(outputs: np.ndarray, golden: np.ndarray, tolerance: float, verdict: str) -> None:
    check = example.judge(outputs, golden, tolerance)
    assert check["verdict"] == verdict
    assert ("remedy" in check) is (verdict != "PASS")
    assert (check["max_error"] is None) is (verdict == "NAN")
    json.dumps(check, allow_nan=False)


def test_errors_do_not_wrap() -> None:
    low, high = np.full((2, 2), -128, np.int8), np.asarray([[127, 126], [125, 127]], np.int8)
    assert example.judge(low, high, 10)["max_error"] == 255


@pytest.mark.parametrize(
    ("body", "delegate", "said"),
    [
        ({"upsampling": "nearest"}, "vx", "bilinear model"),
        ({}, "vx", "on the CPU"),
        (None, "vx", "on the CPU"),
        ({"upsampling": "nearest"}, "cpu", "this runtime"),
    ],
)
def test_the_remedy_for_fixed_outputs(body: dict[str, str] | None, delegate: str, said: str) -> None:
    remedy = example.judge(FIXED, GOLDEN, 10, body, delegate)["remedy"]
    assert said in remedy
    assert ("RESIZE_NEAREST_NEIGHBOR" in remedy) is (said == "bilinear model")


def test_the_answers_count_and_not_only_the_distance() -> None:
    turned = np.asarray([[-10, 10], [10, -10]], np.int8)
    assert example.judge(turned, -turned, 20)["verdict"] == "MISMATCH"
    close = np.asarray([[10, 9], [9, 10]], np.int8)  # a step of rounding may turn these: no verdict hangs on them
    assert example.judge(close[:, ::-1], close, 20)["verdict"] == "PASS"


def test_outputs_that_hardly_change_are_fixed_and_right_ones_are_not() -> None:
    trembling = (FIXED.astype(np.float32) / 128) + np.float32([[0], [1e-7], [2e-7]])
    assert example.judge(trembling, REAL, 0.001)["verdict"] == "FIXED_OUTPUT"
    steady = np.asarray([[10, 0], [10, 0]], np.int8)
    assert example.judge(steady, steady + np.asarray([[0, 0], [1, 0]], np.int8), 20)["verdict"] == "PASS"


GRID = (np.arange(2 * 20 * 20 * 3).reshape(2, 1, 20, 20, 3) * 7919 % 251 - 125).astype(np.int8)


def test_pixels_are_judged_one_by_one() -> None:
    clear = np.eye(3, dtype=np.int8)[np.arange(2 * 20 * 20) % 3].reshape(2, 1, 20, 20, 3) * np.int8(100)
    turned = clear.copy()
    turned[0, 0, 0, :8] = np.roll(clear[0, 0, 0, :8], 1, -1)  # 8 of 800 pixels answer otherwise
    check = example.judge(turned, clear, 100)
    assert check["verdict"] == "PASS"
    assert 0.99 <= check["top1_agreement"] < 1
    turned[0, 0, 1] = np.roll(clear[0, 0, 1], 1, -1)
    assert example.judge(turned, clear, 100)["verdict"] == "MISMATCH"
    tie = np.where(clear, 100, 51).astype(np.int8)  # within half the tolerance: a tie, as far as rounding goes
    assert example.judge(np.roll(tie, 1, -1), tie, 100)["verdict"] == "PASS"
    assert example.judge(np.repeat(GRID[:1], 2, axis=0), GRID, 3)["verdict"] == "FIXED_OUTPUT"
    real = GRID.astype(np.float32)
    assert example.judge(np.where(real == real.max(), np.nan, real), real, 300)["verdict"] == "NAN"
    assert example.judge(np.where(real > 0, 9, -9).astype(np.float32), real, 3)["verdict"] == "SATURATED"


def test_judge_needs_little_memory() -> None:
    """DeepLabV3's output, whole, is 22 MB; the board has 512 MB."""
    code = (
        "import resource, sys; import numpy as np; from utils import example\n"
        "one = np.random.default_rng(1).random((1, 513, 513, 21), np.float32)\n"
        "outputs = np.stack([one, one]); golden = outputs + np.float32(1e-6)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert example.judge(outputs, golden, 1e-3)['verdict'] == 'PASS'\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200  # MB
