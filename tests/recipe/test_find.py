"""Finding one recipe: no other one is parsed, wherever it stands, and what is wrong is told as where all are read."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from utils.errors import RecipeError
from utils.recipe import load
from utils.recipe.load import find_recipe, forget_recipes, load_recipes, read_recipes

MODELS = sorted(load_recipes())


@pytest.fixture
def parsed(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the recipes that are parsed, in order."""
    assert recipes.is_dir()
    folders: list[str] = []
    read: Callable[[Path], dict[str, dict[str, Any]]] = load._read

    def note(file: Path) -> dict[str, dict[str, Any]]:
        folders.append(file.parent.name)
        return read(file)

    monkeypatch.setattr(load, "_read", note)
    return folders


@pytest.mark.parametrize("name", MODELS)
def test_one_recipe_is_parsed(parsed: list[str], name: str) -> None:
    found = find_recipe(name)
    assert (found.name, parsed) == (name, [found.folder])
    assert find_recipe(name) is found
    assert len(parsed) == 1
    forget_recipes()
    assert find_recipe(name) == found
    assert len(parsed) == 2


def test_it_is_the_recipe_that_all_together_give(recipes: Path) -> None:
    assert recipes.is_dir()
    alone = {name: find_recipe(name) for name in MODELS}
    assert load_recipes() == alone


def test_where_all_are_read_none_is_read_again(parsed: list[str]) -> None:
    everything, _ = read_recipes()
    count = len(parsed)
    assert all(find_recipe(name) is everything[name] for name in MODELS)
    assert len(parsed) == count


def test_a_folder_need_not_begin_the_name(recipes: Path, parsed: list[str]) -> None:
    (recipes / "mnist").rename(recipes / "zz")
    assert find_recipe("mnist_nearest").folder == "zz"
    assert parsed == ["zz"]


def test_a_recipe_that_only_mentions_the_name_is_passed_over(recipes: Path, parsed: list[str]) -> None:
    (recipes / "mnist").rename(recipes / "zz")
    file = recipes / "demo/recipe.toml"
    file.write_text(f"# Beside mnist_nearest.\n{file.read_text()}")
    assert find_recipe("mnist_nearest").folder == "zz"
    assert parsed == ["demo", "zz"]


def test_a_folder_of_that_name_may_have_other_models(recipes: Path, parsed: list[str]) -> None:
    text = (recipes / "demo/recipe.toml").read_text()
    (recipes / "mnist_nearest").mkdir()
    (recipes / "mnist_nearest/recipe.toml").write_text(text.replace("model.demo_", "model.other_"))
    assert find_recipe("mnist_nearest").folder == "mnist"
    assert parsed == ["mnist_nearest", "mnist"]


def test_the_name_may_be_spelt_in_another_way(recipes: Path) -> None:
    file = recipes / "resnet50/recipe.toml"
    file.write_text(f'{file.read_text()}\n[model."\\u0072enamed"]\n')
    (recipes / "resnet50").rename(recipes / "zz")
    assert tomllib.loads((recipes / "zz/recipe.toml").read_text())["model"].keys() == {"renamed"}
    assert find_recipe("renamed").folder == "zz"


def test_what_is_wrong_elsewhere_does_not_matter(recipes: Path) -> None:
    (recipes / "demo/recipe.toml").write_text("[[[")
    (recipes / "resnet50/recipe.toml").unlink()
    (recipes / "resnet50/recipe.toml").symlink_to("nowhere")
    assert find_recipe("mnist_nearest").name == "mnist_nearest"


@pytest.mark.parametrize(
    "content", [b"[[[\nmnist_nearest", b"\xff", b"[model.mnist_nearest]", b"[[[\n[model.mnist_nearest]"]
)
def test_what_is_wrong_with_it_is_told_as_where_all_are_read(recipes: Path, content: bytes) -> None:
    (recipes / "mnist/recipe.toml").write_bytes(content)
    with pytest.raises(RecipeError) as alone:
        find_recipe("mnist_nearest")
    forget_recipes()
    read_recipes()
    with pytest.raises(RecipeError) as among_all:
        find_recipe("mnist_nearest")
    assert str(alone.value) == str(among_all.value)


@pytest.mark.parametrize("name", ["mnist_neerest", "../mnist", "", "a/b", "vela", "recipes/demo", "x" * 300, "\0"])
def test_a_name_that_no_recipe_has(recipes: Path, name: str) -> None:
    assert recipes.is_dir()
    with pytest.raises(RecipeError, match="there is no recipe for"):
        find_recipe(name)


def test_a_folder_with_the_name_of_a_task_is_no_model(recipes: Path) -> None:
    (recipes / "resnet50").rename(recipes / "explain")
    with pytest.raises(RecipeError, match="there is no recipe for 'explain'"):
        find_recipe("explain")
    assert set(read_recipes()[1]) == {"recipes/explain"}
