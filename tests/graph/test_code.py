"""The digest of the code behind a step: it moves with what can change a result, and with nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, clean_env

NETWORK = ["train", "float32", "int8"]  # with `load`: the steps that run the recipe's own code
ALL = ["download", *NETWORK, "evaluate", "validate", "card"]

#: Prints {model: {step: what its key is made of beside the files that other steps write}}.
PROGRAM = """
import json
from utils.graph import plan
from utils.recipe.load import load_recipes
print(json.dumps({name: {step.name: [step.config, step.code_digests()] for step in plan.steps_of(recipe)}
                  for name, recipe in load_recipes().items()}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code and the recipes of the checkout, to edit."""
    root = tmp_path_factory.mktemp("code") / "zoo"
    for name in ("utils", "recipes", "docker"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def parts(project: Path) -> dict[str, dict[str, object]]:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=project, env=clean_env(), capture_output=True, text=True, check=True)
    found: dict[str, dict[str, object]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def before(project: Path) -> dict[str, dict[str, object]]:
    return parts(project)


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        pytest.param(
            "utils/example.py", '"""', '"""Another word. ', ["validate", "card"], id="docstring of example.py"
        ),
        pytest.param(
            "utils/example.py",
            "import numpy as np",
            "import numpy as np  # arrays",
            ["validate", "card"],
            id="comment in example.py",
        ),
        pytest.param(
            "utils/environment.py",
            '"""What a step runs in',
            '"""What each step runs in',
            [],
            id="docstring of environment.py",
        ),
        pytest.param(
            "utils/npu/vela.py", "from __future__", "# a comment\nfrom __future__", [], id="comment in vela.py"
        ),
        pytest.param(
            "utils/files.py",
            "def sha256(file: Path) -> str:",
            "def sha256(file: os.PathLike) -> str:",
            [],
            id="type hint",
        ),
        pytest.param(
            "utils/steps/convert.py", 'say(f"', 'say(f"now: ', ["float32", "int8"], id="log message of convert"
        ),
        pytest.param("utils/steps/card.md.j2", "## Introduction", "## What it is", ["card"], id="card template"),
        pytest.param("utils/npu/compat.toml", "[[rule]]", "# seen on a board\n[[rule]]", ["card"], id="a rule"),
        pytest.param("utils/npu/operators.csv", "CONV_2D", "CONV_2D ", ["card"], id="a row of operators"),
        pytest.param("utils/bundle/pictures.py", "DPI = 110", "DPI = 100", ["card"], id="resolution of pictures"),
        pytest.param(
            "recipes/mnist/model.py", "import Any\n", "import Any\nSIZE = 3\n", NETWORK, id="the recipe's network"
        ),
        pytest.param("utils/steps/train.py", "BLOCK = 50", "BLOCK = 25", ["train"], id="a constant of train"),
        pytest.param("utils/errors.py", "__all__", "OTHER = 1\n__all__", [], id="how failures are told"),
        pytest.param("utils/release/lock.py", "__all__", "OTHER = 1\n__all__", [], id="releasing"),
        pytest.param(
            "utils/model/__init__.py",
            '"""\n',
            "\"\"\"\nimport os\nos.environ['A'] = 'b'\n",
            ALL,
            id="__init__.py of a room",
        ),
    ],
)
def test_an_edit_makes_exactly_these_steps_stale(
    project: Path, before: dict[str, dict[str, object]], file: str, old: str, new: str, stale: list[str]
) -> None:
    path = project / file
    text = path.read_text()
    assert old in text
    count = 1 if file != "utils/model/__init__.py" else -1
    path.write_text(text.replace(old, new, count))
    try:
        after = parts(project)
    finally:
        path.write_text(text)
    model = "mnist_nearest"
    assert [step for step in before[model] if before[model][step] != after[model][step]] == stale


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
                ("recipes/demo/recipe.toml", "int8 = 90\n", "int8 = 89\n",
         {"demo_nearest": ["evaluate", "card"], "demo_bilinear": ["evaluate", "card"]}),
    ],
)  # fmt: skip
def test_a_recipe_makes_only_its_own_models_stale(
    project: Path, before: dict[str, dict[str, object]], file: str, old: str, new: str, stale: dict[str, list[str]]
) -> None:
    path = project / file
    text = path.read_text()
    path.write_text(text.replace(old, new))
    try:
        after = parts(project)
    finally:
        path.write_text(text)
    changed = {
        model: steps
        for model in before
        if (steps := [step for step in before[model] if before[model][step] != after[model][step]])
    }
    assert changed == stale
