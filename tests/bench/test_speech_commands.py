"""The accuracy of keyword_spotting on the whole test set of Speech Commands v2, of which the lists have a seventh.

SPEECH_COMMANDS=/path/to/folders docker/run pytest -m bench -s tests/bench/test_speech_commands.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT
from utils import example

pytestmark = pytest.mark.bench

BUNDLE = ROOT / "artifacts/keyword_spotting"


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_the_test_set_of_speech_commands(variant: str) -> None:
    """Prints how many recordings are right; SPEECH_COMMANDS names a folder of folders, one a label."""
    folder = os.environ.get("SPEECH_COMMANDS")
    if not folder or not (BUNDLE / "model.json").is_file():
        pytest.skip(
            "SPEECH_COMMANDS names no folder of folders of WAV files, or artifacts/keyword_spotting is not built"
        )
    bundle = example.Bundle(str(BUNDLE))
    model = example.Model(str(BUNDLE / f"keyword_spotting_{variant}.tflite"), example.load_runtime())
    task = bundle.known(variant, model).task
    labels = (BUNDLE / "labels.txt").read_text().splitlines()
    right = count = 0
    for file in sorted(Path(folder).glob("*/*.wav")):
        tensor = model.quantise(task.prepare(task.read(str(file)))[None])
        right += labels[task.label(model.real(model.run_all(tensor)))] == file.parent.name.strip("_")
        count += 1
    print(f"{variant}: {right} of {count} right, {100 * right / count:.2f} %")
    assert count
