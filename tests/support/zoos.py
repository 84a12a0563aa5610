"""Zoos of many models that are all up to date, without building one: for what grows with their number."""

from __future__ import annotations

import shutil
import sys

from tests.support.checkouts import Checkout

#: Leaves what every step would: its files, and its record. Nothing of it outlives the test, so nothing is synced.
_FINISH = """
import os, sys
from utils.graph import plan, record
from utils.recipe.load import load_recipes
os.fsync = lambda descriptor: None
large = int(sys.argv[1])
for recipe in load_recipes().values():
    for step in plan.steps_of(recipe):
        with record.locked(step.record), record.writing(step.record, step.key(), step.writes) as outputs:
            for number, file in enumerate(step.writes):
                staged = outputs.new(file, str(number))
                staged.write_text(f"{file.name} of {recipe.name}\\n")
                if file.suffix == ".tflite":
                    os.truncate(staged, max(staged.stat().st_size, large))
"""


def make_zoo(project: Checkout, count: int, *, large: int = 0) -> Checkout:
    """Put ``count`` models, an even number, in the place of a project's own; each of their six steps is up to date.

    They are copies of the demo's two, each pair with a network's code of its own, and ``doit`` builds all of them.

    Args:
        project: a fresh checkout.
        count: how many models.
        large: least bytes of each ``.tflite`` file; they take no room on a disk that knows holes.
    """
    recipes = project.root / "recipes"
    text = (recipes / "demo/recipe.toml").read_text()
    code = (recipes / "mnist/model.py").read_text()
    for old, new in (('group = "demo"', 'group = "zoo"'), ('code = "../mnist/model.py"', 'code = "model.py"')):
        assert old in text
        text = text.replace(old, new)
    for folder in recipes.glob("*/recipe.toml"):
        shutil.rmtree(folder.parent)
    for number in range(count // 2):
        pair = recipes / f"pair{number:04}"
        pair.mkdir()
        (pair / "recipe.toml").write_text(text.replace("demo_", f"{pair.name}_"))
        (pair / "model.py").write_text(code)
    done = project.run(sys.executable, "-c", _FINISH, str(large), timeout=900)
    assert done.returncode == 0, done.stderr
    return project
