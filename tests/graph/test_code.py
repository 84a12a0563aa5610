"""The digest of the code behind a step: it moves with what can change a result, and with nothing else."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, clean_env
from utils import paths
from utils.graph import code

NETWORK = ["train", "float32", "int8"]  # with `load`: the steps that run the recipe's own code
ALL = [*NETWORK, "evaluate", "validate", "card"]

#: For each line that it reads, prints {model: {step: what its key is made of beside the files of other steps}}.
PROGRAM = """
import json, sys
from utils.graph import code, plan
from utils.recipe.load import forget_recipes, load_recipes
for line in sys.stdin:
    code.forget_files()
    forget_recipes()
    print(json.dumps({name: {step.name: [step.config, step.code_digests()] for step in plan.steps_of(recipe)}
                      for name, recipe in load_recipes().items()}), flush=True)
"""


class Project:
    """The code and the recipes of the checkout to edit, and a process that says what every step is made of."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("utils", "recipes", "docker"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        command = [sys.executable, "-c", PROGRAM]
        self.process = subprocess.Popen(
            command, cwd=root, env=clean_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.before = self.parts()

    def parts(self) -> dict[str, dict[str, object]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("now\n")
        self.process.stdin.flush()
        found: dict[str, dict[str, object]] = json.loads(self.process.stdout.readline())
        return found

    def stale_after(self, file: str, old: str, new: str, count: int = 1) -> dict[str, list[str]]:
        """The steps of each model that an edit makes stale; the edit is taken back."""
        path = self.root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, count))
        try:
            after = self.parts()
        finally:
            path.write_text(text)
        changed = {
            model: [step for step, made_of in steps.items() if made_of != after[model][step]]
            for model, steps in self.before.items()
        }
        return {model: steps for model, steps in changed.items() if steps}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("code") / "zoo")
    yield made
    made.process.communicate()


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
            '"""The environment of a step',
            '"""The environment of each step',
            [],
            id="docstring of environment.py",
        ),
        pytest.param(
            "utils/npu/vela.py", "from __future__", "# a comment\nfrom __future__", [], id="comment in vela.py"
        ),
        pytest.param(
            "utils/hashes.py",
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
        pytest.param("utils/tasks/pictures.py", "DPI = 110", "DPI = 100", ["card"], id="resolution of pictures"),
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
    project: Project, file: str, old: str, new: str, stale: list[str]
) -> None:
    count = 1 if file != "utils/model/__init__.py" else -1
    assert project.stale_after(file, old, new, count).get("mnist_nearest", []) == stale


def test_a_gate_makes_only_its_own_models_stale(project: Project) -> None:
    stale = project.stale_after("recipes/demo/recipe.toml", "int8 = 90\n", "int8 = 89\n", -1)
    assert stale == {"demo_nearest": ["evaluate", "card"], "demo_bilinear": ["evaluate", "card"]}


#: A small project with every way that code reaches code: what it prints is its output.
SMALL = {
    "utils/__init__.py": "SCALE = 3\n",
    "utils/steps/__init__.py": "",
    "utils/room/__init__.py": "import builtins\nbuiltins.zoo_offset = 4\n",
    "utils/room/table.csv": "one,5\ntwo,6\n",
    "utils/room/shapes.py": """
import functools
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("table.csv")
UNUSED = 8


def twice(function):
    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments) * 2
    return call


class Base:
    side = 7

    def area(self):
        return self.side * self.side

    def perimeter(self):
        return 4 * self.side


class Square(Base):
    def __init__(self, side=9):
        self.side = side + (1 if side > 4 else 2)

    @property
    def corner(self):
        return self.side - 1

    def never(self):
        return 10


@dataclass
class Pair:
    first: int = 11
    second: int = 12


@twice
def total(values, start=13):
    return sum(values) + start


def rows():
    return [line.split(",")[1] for line in TABLE.read_text().splitlines()]


def computed(name):
    return getattr(Base(), name)()


def unused(value=14):
    return value + 15
""",
    "utils/room/late.py": "from utils.room import shapes as forms\n\nFACTOR = 16\n\n\n"
    "def late():\n    return forms.Pair().second * FACTOR\n",
    "utils/steps/work.py": """
from utils import SCALE
from utils.room import shapes
from utils.room.shapes import Square, total


def work():
    from utils.room.late import late
    square = Square()
    print(square.area(), square.corner, total([1, 2]), shapes.rows(), late(), shapes.computed("perimeter"))
    print(SCALE, zoo_offset, [part for part in shapes.rows() if part != "17"])


if __name__ == "__main__":
    work()
""",
    "recipes/net/blocks.py": """
import json
from typing import NamedTuple


class Encoder(json.JSONEncoder):
    def _answer(self):
        return 18

    def default(self, value):
        return self._answer()


class Place(NamedTuple):
    row: int = 19
    column: int = 20
""",
    "recipes/net/model.py": """
import json

from recipes.net.blocks import Encoder, Place

if __name__ == "__main__":
    row, column = Place()
    print(json.dumps({"row": row, "column": column, "other": object()}, cls=Encoder))
""",
    "recipes/net-1.0/model.v2.py": "print(21)\n",
}

#: The programs among them; what the last two run is told by no computed name.
STARTS = ["utils/steps/work.py", "recipes/net/model.py", "recipes/net-1.0/model.v2.py"]


def mutations(text: str) -> Iterator[str]:
    """Every version of a module in which one constant, operator, comparison, default or decorator is another."""
    count = len(list(ast.walk(ast.parse(text))))
    for position in range(count):
        tree = ast.parse(text)
        node = list(ast.walk(tree))[position]
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            node.value += 1
        elif isinstance(node, ast.BinOp):
            node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        elif isinstance(node, ast.Compare):
            node.ops = [ast.LtE() if isinstance(node.ops[0], ast.Gt) else ast.Eq()]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node.decorator_list:
            node.decorator_list = []
        elif isinstance(node, ast.arguments) and node.defaults:
            node.defaults = [ast.Constant(99)] * len(node.defaults)
        elif isinstance(node, ast.Return) and node.value:
            node.value = ast.Constant(98)
        else:
            continue
        yield ast.unparse(ast.fix_missing_locations(tree))


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS)
def test_whatever_changes_an_output_changes_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    for name, text in SMALL.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def look() -> tuple[str, str]:
        code.forget_files()
        command = [sys.executable, "-B", start]
        env = clean_env() | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        return done.stdout + str(done.returncode), code.code_digest(tmp_path / start)

    try:
        output, digest = look()
        assert output.endswith("0")
        top = start.partition("/")[0]
        edits = [
            (name, edit)
            for name, text in SMALL.items()
            if name.startswith(top) and name.endswith(".py")
            for edit in mutations(text)
        ]
        edits += [("utils/room/table.csv", "one,5\ntwo,7\n"), ("utils/room/__init__.py", "")]
        seen = []
        for name, edit in edits:
            (tmp_path / name).write_text(edit)
            changed = look()
            (tmp_path / name).write_text(SMALL[name])
            seen.append((changed[0] != output, changed[1] != digest))
            assert seen[-1] != (True, False), f"{name} became\n{edit}\nand nothing was rebuilt"
        assert sum(one for one, _ in seen) >= {"utils": 30, "recipes": 1}[top]  # most are seen in the output,
        assert (False, False) in seen  # and what nothing reaches moves no digest
        assert look() == (output, digest)
    finally:
        code.forget_files()


#: Prints the digest of a step's code.
DIGEST = "from utils import paths; from utils.graph import code; print(code.code_digest(paths.UTILS / 'steps/vela.py'))"


def copy_code(to: Path) -> Path:
    shutil.copytree(ROOT / "utils", to / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    return to


def digest(root: Path) -> str:
    command = [sys.executable, "-c", DIGEST]
    done = subprocess.run(command, cwd=root, env=clean_env(), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_was_found_holds_in_a_copy_and_after_an_edit_elsewhere(tmp_path: Path) -> None:
    one, other = copy_code(tmp_path / "one"), copy_code(tmp_path / "other")
    right = digest(one)
    (other / "build").mkdir()
    shutil.copytree(one / "build/code-digests", other / "build/code-digests")
    assert digest(other) == right
    (memory,) = (other / "build/code-digests").glob("*vela.py.json")
    known = json.loads(memory.read_text())
    marked = "5" * 64  # shows whose answer it is
    memory.write_text(json.dumps(known | {"sha256": marked}))
    assert digest(other) == marked
    (other / "utils/catalogue/run.js").write_text("// edited")
    assert "utils/catalogue/run.js" not in known["files"]
    assert digest(other) == marked


@pytest.mark.parametrize(
    "file", ["utils/steps/vela.py", "utils/graph/code.py", "utils/graph/reach.py", "utils/new.py", "utils/npu/bsp.csv"]
)
def test_what_was_found_does_not_hold_after_an_edit_of_what_counts(tmp_path: Path, file: str) -> None:
    """Its own code, the code that finds out, and a new file, to which an import may lead."""
    root = copy_code(tmp_path / "one")
    digest(root)
    (memory,) = (root / "build/code-digests").glob("*vela.py.json")
    known = json.loads(memory.read_text())
    memory.write_text(json.dumps(known | {"sha256": "5" * 64}))
    assert digest(root) == "5" * 64
    with (root / file).open("a") as stream:
        stream.write("\n" if file.endswith(".csv") else "\n# Edited.\n")
    assert len(digest(root)) == 64
    assert digest(root) != "5" * 64
    assert json.loads(memory.read_text())["content"] != known["content"] or file == "utils/new.py"
