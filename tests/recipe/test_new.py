"""``doit new``: a recipe like another one, with a comment on each key, that loads as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkouts import Checkout
from utils import files
from utils.errors import RecipeError, StorageError
from utils.recipe import json_schema
from utils.recipe.load import find_recipe, forget_recipes, load_recipes, read_recipes
from utils.recipe.new import write_recipe
from utils.recipe.schema import Recipe

MODELS = sorted(load_recipes())


def facts(recipe: Recipe) -> dict[str, Any]:
    """What makes the model, not what is known about its files."""
    own = {"name", "folder", "title", "summary", "group", "code", "aliases", "claims", "targets", "measured"}
    found = recipe.model_dump(exclude=own)
    del found["tolerance"]["source"]
    return found


def uncomment(text: str, key: str) -> str:
    """The text with the example of a list as an entry."""
    before, heading, after = text.partition(f"# [[{key}]]\n")
    entry, blank, rest = after.partition("\n\n")
    return before + "\n".join(line.removeprefix("# ") for line in (heading + entry).splitlines()) + blank + rest


@pytest.mark.parametrize("like", MODELS)
def test_a_new_recipe_is_the_other_one_without_its_facts(recipes: Path, like: str) -> None:
    other = find_recipe(like)
    written = write_recipe("mine", like)
    found = find_recipe("mine")
    assert facts(found) == facts(other)
    assert (found.name, found.folder, found.title, found.group) == ("mine", "mine", "Mine", "zoo")
    assert [found.aliases, found.claims, found.targets, found.measured] == [{}, [], [], []]
    assert [file.name for file in written] == ["recipe.toml", *(["model.py"] if other.code else [])]
    if other.code_file:
        assert found.code_file == recipes / "mine/model.py"
        assert found.code_file.read_bytes() == other.code_file.read_bytes()
    text = written[0].read_text()
    assert text.startswith(json_schema.DIRECTIVE + "\n")
    import jsonschema  # takes seconds: pytest imports each module, whatever it runs

    jsonschema.Draft7Validator(json_schema.file_schema()).validate(tomllib.loads(text))


@pytest.mark.usefixtures("recipes")
@pytest.mark.parametrize("like", MODELS)
def test_every_key_stands_below_its_description(like: str) -> None:
    lines = write_recipe("mine", like)[0].read_text().splitlines()
    for key, field in Recipe.model_fields.items():
        if key in json_schema.NOT_KEYS:
            continue
        first = str(field.description)[:60]
        place = [number for number, line in enumerate(lines) if line.startswith(("# " + first, f"# {key}: {first}"))]
        assert place, key
    assert max(map(len, (line for line in lines if line.startswith("# ") and " = " not in line))) <= 120


@pytest.mark.usefixtures("recipes")
@pytest.mark.parametrize(
    ("like", "key"), [("mnist_nearest", "targets"), ("mnist_nearest", "claims"), ("mobilenet_v2", "measured")]
)
def test_an_example_loads_once_its_comment_signs_are_gone(like: str, key: str) -> None:
    file = write_recipe("mine", like)[0]
    file.write_text(uncomment(file.read_text(), key))
    forget_recipes()
    assert getattr(find_recipe("mine"), key) == getattr(find_recipe(like), key)[:1]


@pytest.mark.parametrize(
    ("name", "like", "said"),
    [
        ("", "demo_nearest", "name=: no name for the model"),
        ("mine", "", "like=: no model to begin with"),
        ("mine", "demo_nearst", "there is no recipe for 'demo_nearst' (did you mean 'demo_nearest'?)"),
        ("Mine", "demo_nearest", "name=: 'Mine' cannot be the name of a model"),
        ("../mine", "demo_nearest", "name=: '../mine' cannot be the name of a model"),
        ("m" * 41, "demo_nearest", "cannot be the name of a model"),
        ("vela", "demo_nearest", "name=: 'vela' is the name of a task"),
        ("new", "demo_nearest", "name=: 'new' is the name of a task"),
        ("mnist_nearest", "demo_nearest", "recipes/mnist/recipe.toml: the name 'mnist_nearest' is in use"),
        ("lists", "demo_nearest", "recipes/lists: the name 'lists' is in use"),
    ],
)
def test_refused(recipes: Path, name: str, like: str, said: str) -> None:
    before = sorted(recipes.rglob("*"))
    with pytest.raises(RecipeError) as caught:
        write_recipe(name, like)
    assert said in str(caught.value)
    assert "\n  -> " in str(caught.value)
    assert sorted(recipes.rglob("*")) == before


def test_a_list_in_the_other_folder_is_read_from_there(recipes: Path) -> None:
    (recipes / "lists/voc_sample.csv").rename(recipes / "deeplabv3/sample.csv")
    file = recipes / "deeplabv3/recipe.toml"
    file.write_text(file.read_text().replace("../lists/voc_sample.csv", "sample.csv"))
    forget_recipes()
    write_recipe("mine", "deeplabv3")
    assert find_recipe("mine").list_file("evaluation") == recipes / "deeplabv3/sample.csv"


def test_texts_of_any_kind_come_back(recipes: Path) -> None:
    file = recipes / "demo/recipe.toml"
    odd = r'what = "a \"quote\", a \\ and \u007f\ttab\n\"\"\"\nlast é"' + '\nvalue = "1"\nsource = "s"\n'
    text = file.read_text().replace('introduction = """', 'introduction = """A \\u007f, a \\\\ and \\"\\"\\"\\té.\n')
    file.write_text(text + "[[claims]]\n" + odd)
    forget_recipes()
    other = find_recipe("demo_nearest")
    assert other.card.introduction.startswith('A \x7f, a \\ and """\té.\n')
    assert other.claims[0].what.endswith('"""\nlast é')
    new = write_recipe("mine", "demo_nearest")[0]
    assert find_recipe("mine").card == other.card
    new.write_text(uncomment(new.read_text(), "claims"))
    forget_recipes()
    assert find_recipe("mine").claims == other.claims


def test_another_broken_recipe_is_no_hindrance(recipes: Path) -> None:
    (recipes / "resnet50/recipe.toml").write_text("broken")
    forget_recipes()
    write_recipe("mine", "demo_nearest")
    assert set(read_recipes()[1]) == {"resnet50"}
    with pytest.raises(RecipeError, match="not valid TOML"):
        write_recipe("other", "resnet50")


def test_a_failed_write_leaves_nothing(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Path, _: object) -> None:
        raise OSError(28, "No space left on device", os.fspath(file))

    monkeypatch.setattr(files, "write_whole", full)
    with pytest.raises(StorageError, match="no space left"):
        write_recipe("mine", "demo_nearest")
    assert not (recipes / "mine").exists()


def test_the_command_writes_the_model_into_the_list(project: Checkout) -> None:
    done = project.doit("new", "name=my_digits", "like=demo_nearest")
    assert done.returncode == 0, done.stderr
    assert "recipes/my_digits/recipe.toml: written\nrecipes/my_digits/model.py: written\n  -> edit them" in done.stdout
    assert "my_digits" in project.doit("list").stdout
    again = project.doit("new", "name=my_digits", "like=demo_nearest")
    assert again.returncode
    assert "the name 'my_digits' is in use" in again.stderr
    program = [sys.executable, "-m", "utils.recipe.new"]
    assert project.run(*program, "name=x").returncode == RecipeError.exit_code
    assert "usage:" in project.run(*program, "nam=x").stderr
    assert subprocess.run([*program, "name=x", "like=y"], cwd=project.root, stdout=subprocess.DEVNULL).returncode == 3
