"""How a model is best trained, chosen without its test set: on five sixths of the training set, measured on the rest.

MODEL=mnist_bilinear TRAIN="learning_rate=0.005 epochs=6" ZOO_MIRROR=/path/to/mirror docker/run pytest -m bench -s
tests/bench/test_training_choice.py

TRAIN changes keys of [train].
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.checkouts import ROOT
from utils import environment

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

MODEL = os.environ.get("MODEL", "mnist_nearest")

#: A program of its own: the pins have to be there before it starts.
PROGRAM = """
import sys, time, tomllib
from utils import environment
from utils.model import datasets, preprocess
from utils.recipe.load import find_recipe
from utils.recipe.tables import Train
from utils.steps import train
from utils.tasks import Examples
recipe = find_recipe(sys.argv[1])
how = Train.model_validate(recipe.train.model_dump() | tomllib.loads("\\n".join(sys.argv[2].split())))
tf = environment.pin_tensorflow(how.seed)
whole = datasets.load(recipe, how.dataset)
kept = len(whole.inputs) * 5 // 6
begin = time.process_time()
model, _ = train.fit(tf, recipe, how, Examples(whole.inputs[:kept], whole.labels[:kept]))
spent = time.process_time() - begin
found = model.predict(preprocess.tensor_of(whole.inputs[kept:], recipe.input), batch_size=500, verbose=0)
right = 100 * (found.argmax(-1) == whole.labels[kept:]).mean()
print(f"{recipe.name} {sys.argv[2]}: {right:.2f} % of {len(found):,}, {spent:.1f} CPU s")
"""


def test_the_held_out_part() -> None:
    env = environment.pinned() | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, MODEL, os.environ.get("TRAIN", "")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    print(f"\n{done.stdout.splitlines()[-1]}")
