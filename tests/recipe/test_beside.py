"""The files of a recipe: one that blocks, never ends or is outside recipes/ is not read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT
from utils import limits, paths
from utils.errors import BuildError, RecipeError
from utils.graph import code
from utils.model import network
from utils.recipe.load import find_recipe, forget_recipes, load_recipes

DEMO, LISTED = "demo/recipe.toml", "lists/voc_sample.csv"


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the recipes that a test may break."""
    for name in ("recipes", "utils"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, value in (("ROOT", tmp_path), ("RECIPES", tmp_path / "recipes"), ("BUILD", tmp_path / "build")):
        monkeypatch.setattr(paths, name, value)
    forget_recipes()
    code.forget_files()
    yield tmp_path / "recipes"
    forget_recipes()
    code.forget_files()


def refused() -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipes()
    return str(caught.value)


def put(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def name_code(recipes: Path, name: str) -> None:
    file = recipes / DEMO
    put(file, file.read_text().replace('code = "../mnist/model.py"', f"code = {name}"))
    assert name in file.read_text()


@pytest.mark.parametrize("file", [DEMO, LISTED, "mnist/model.py"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link out", "large", "circle"])
def test_only_regular_files_of_bounded_size_in_recipes_are_read(recipes: Path, file: str, kind: str) -> None:
    path = recipes / file
    content = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "large":
        with path.open("wb") as stream:
            stream.write(content)
            stream.truncate((limits.LIST_BYTES if file == LISTED else limits.RECIPE_BYTES) + 1)
    else:
        outside = recipes.parent / f"outside{path.suffix}"
        outside.write_bytes(content)
        path.symlink_to(outside)
    said = refused()
    assert {
        "pipe": "is not a regular file", "device": "is outside recipes/", "folder": "is not a regular file",
        "link out": "is outside recipes/", "large": "bytes", "circle": "",
    }[kind] in said  # fmt: skip
    assert "\n  -> " in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (r'"\u0000.py"', "'\\x00.py' cannot be a file"),
        (f'"{"x" * 300}.py"', "name too long"),
        ('"recipe.toml"', "is not a .py file"),
        ('"../../utils/example.py"', "is outside recipes/"),
        ('"/etc/passwd"', "is outside recipes/"),
    ],
)
def test_code_that_is_no_file_of_the_recipes(recipes: Path, name: str, said: str) -> None:
    name_code(recipes, name)
    assert said in refused().replace("\\\\", "\\").replace("File name too long", "name too long")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format = " + "1" * 5000, "4300"),
        ("format = " + "1" * 4000, "64 bits"),
        ("format = " + "[" * 5000 + "]" * 5000, "recursion"),
        ("format = " + "[" * 30 + "]" * 30, "16 deep"),
        (".".join("a" * 3000) + " = 1", "16 deep"),
        ("[" + ".".join("a" * 3000) + "]\n", "16 deep"),
        ("format = 1\ntitle = '\x00'", "not valid TOML"),
        ("labels = [" + "1," * 5000 + "]", "more"),
        ('"\\u001b]0;x\\u0007" = 1', "\\x1b]0;x\\x07: unknown key"),
    ],
)
def test_a_recipe_that_no_parser_should_meet(recipes: Path, text: str, said: str) -> None:
    (recipes / "odd").mkdir()
    put(recipes / "odd/recipe.toml", text)
    message = refused()
    assert said in message
    assert len(message) < 30_000
    assert message.isprintable() or set(message) - {"\n"} <= {char for char in message if char.isprintable()}


@pytest.mark.parametrize(
    "text", ["x = " + "-" * 20_000 + "1", "x = " + "(" * 300 + ")" * 300, "x = " + "+".join("1" * 20_000)]
)
def test_code_that_is_nested_too_deep_is_an_error_of_its_step(recipes: Path, text: str) -> None:
    put(recipes / "mnist/model.py", text)
    assert "demo_nearest" in load_recipes()
    with pytest.raises(BuildError, match=r"recipes/mnist/model\.py"):
        code.code_digest(recipes / "mnist/model.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit(0)\n", "cannot be imported: SystemExit"),
        ("import sys\ndef build(p, s): sys.exit(0)\n", r"build\(\) fails: SystemExit"),
        ("def build(p, s): return 7\n", r"build\(\) fails: AttributeError"),
    ],
)
def test_code_that_ends_the_step_is_an_error(recipes: Path, text: str, said: str) -> None:
    put(recipes / "mnist/model.py", text)
    with pytest.raises(BuildError, match=said):
        network.build(find_recipe("demo_nearest"))
