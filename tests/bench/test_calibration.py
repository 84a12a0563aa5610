"""How many calibration inputs a model needs, chosen without its evaluation set.

MODEL=person_presence ZOO_MIRROR=/path/to/mirror docker/run pytest -m bench -s tests/bench/test_calibration.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.checkouts import Checkout
from utils import example
from utils.model import datasets, preprocess
from utils.recipe.load import find_recipe

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

MODEL = os.environ.get("MODEL", "person_presence")
COUNTS = range(8, 65, 8)


def answer(file: Path, tensors: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """The probabilities for ``tensors``, shape (N, ...), as float32 (N, classes)."""
    model = example.Model(str(file), example.load_runtime())
    return np.concatenate([model.real(model.run_all(model.quantise(tensor[None])))[0] for tensor in tensors])


def test_how_many_calibration_inputs(project: Checkout, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrates on the first inputs of the calibration list; prints how far int8 is from float32 on the last half."""
    monkeypatch.setenv("ZOO_MIRROR", str(mirror))
    recipe = find_recipe(MODEL)
    assert recipe.calibration is not None
    inputs = datasets.load(recipe, recipe.calibration.dataset).inputs
    held_out = preprocess.tensor_of(inputs[len(inputs) // 2 :], recipe.input)
    answers = {}
    for variant, count in [("float32", 0), *(("int8", count) for count in COUNTS)]:
        if count:
            file = project.root / "recipes" / recipe.folder / "recipe.toml"
            file.write_text(re.sub(r"(\[calibration\][^[]*?\bcount = )\d+", rf"\g<1>{count}", file.read_text()))
        done = project.doit(f"{MODEL}:{variant}", env={"ZOO_MIRROR": str(mirror)})
        assert done.returncode == 0, done.stdout + done.stderr
        (made,) = (project.root / "build" / MODEL).glob(f"*_{variant}.tflite")
        answers[count] = answer(made, held_out)
    print(f"\n{MODEL}: int8 against float32 on {len(held_out)} calibration inputs that none was calibrated on")
    for count in COUNTS:
        off = np.abs(answers[count] - answers[0])
        same = int((answers[count].argmax(-1) == answers[0].argmax(-1)).sum())
        print(
            f"{count:4d} inputs: probabilities off by {off.mean():.4f}, at most {off.max():.3f}; same answer for {same}"
        )
