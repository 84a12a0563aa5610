"""A recipe that does not load breaks its own models: the others are listed and built, it is listed with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.checkouts import FAILED, NOTHING, Checkout, ran
from utils.errors import RecipeError
from utils.recipe.load import find_recipe, forget_recipes, load_recipes, models_in, read_recipes, refuse_broken

DEMO = "recipes/demo/recipe.toml"
BILINEAR = "[model.demo_bilinear]\n"
ALL = set(read_recipes()[0])


def change(recipes: Path, old: str, new: str, name: str = "demo") -> None:
    file = recipes / name / "recipe.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def reasons() -> dict[str, str]:
    return {name: broken.reason for name, broken in read_recipes()[1].items()}


def test_no_recipe_of_the_zoo_is_broken() -> None:
    assert reasons() == {}
    assert set(load_recipes()) == ALL


def test_a_wrong_shared_key_breaks_the_models_that_share_it(recipes: Path) -> None:
    change(recipes, "epochs = 4", "epoch = 4")
    said = f"{DEMO}: train.epoch: unknown key (did you mean 'epochs'?) (and 1 more)"
    assert reasons() == {"demo_bilinear": said, "demo_nearest": said}
    assert set(read_recipes()[0]) == ALL - {"demo_bilinear", "demo_nearest"}
    assert {broken.group for broken in read_recipes()[1].values()} == {"demo"}


def test_a_wrong_key_of_one_model_breaks_that_model_alone(recipes: Path) -> None:
    change(recipes, BILINEAR, BILINEAR + 'titel = "x"\n')
    assert set(reasons()) == {"demo_bilinear"}
    assert find_recipe("demo_nearest").name == "demo_nearest"
    with pytest.raises(RecipeError, match=r"\[model\.demo_bilinear\] titel: unknown key \(did you mean 'title'\?\)"):
        find_recipe("demo_bilinear")
    with pytest.raises(RecipeError):  # what needs every recipe gets none
        load_recipes()


def test_a_file_that_is_not_toml_breaks_the_models_it_names(recipes: Path) -> None:
    change(recipes, "epochs = 4", "epochs = ")
    assert set(reasons()) == {"demo_bilinear", "demo_nearest"}
    assert all(f"{DEMO}: not valid TOML: " in said for said in reasons().values())
    assert {broken.group for broken in read_recipes()[1].values()} == {"demo"}  # else `doit demo` would build nothing
    (recipes / "resnet50/recipe.toml").write_bytes(b"\xff")
    forget_recipes()
    assert set(reasons()) == {"demo_bilinear", "demo_nearest", "resnet50"}


def test_a_broken_list_breaks_the_models_that_read_it(recipes: Path) -> None:
    (recipes / "lists/voc_sample.csv").write_text("file\n")
    assert set(reasons()) == {"deeplabv3"}
    assert "recipes/lists/voc_sample.csv: the columns are file" in reasons()["deeplabv3"]


def test_code_that_is_missing_breaks_its_models(recipes: Path) -> None:
    (recipes / "mobilenet_v2/model.py").unlink()
    assert set(reasons()) == {"mobilenet_v2"}
    assert "'model.py' cannot be read" in reasons()["mobilenet_v2"]


def test_a_name_that_two_recipes_have_breaks_that_name_alone(recipes: Path) -> None:
    change(recipes, "model.demo_nearest", "model.mnist_nearest")
    assert set(reasons()) == {"mnist_nearest"}
    said = reasons()["mnist_nearest"]
    assert "two recipes have the name 'mnist_nearest': recipes/demo and recipes/mnist" in said
    assert {"demo_bilinear", "mnist_bilinear"} <= set(read_recipes()[0])


@pytest.mark.parametrize(
    ("name", "listed"), [("vela", "recipes/demo/vela"), ("Demo", "recipes/demo/Demo"), ('"a=b"', "recipes/demo/a?b")]
)
def test_a_name_that_no_task_can_have_is_listed_by_its_folder(recipes: Path, name: str, listed: str) -> None:
    change(recipes, "model.demo_nearest", f"model.{name}")
    assert set(reasons()) == {listed}
    with pytest.raises(RecipeError):
        load_recipes()


def test_a_command_line_that_names_a_broken_model_is_refused(recipes: Path) -> None:
    change(recipes, BILINEAR, BILINEAR + "x = 1\n")
    for line in ("demo_bilinear", "vela:demo_bilinear", "-n 2 demo_bilinear:train", "clean demo_bilinear",
                 "lock models=demo_nearest,demo_bilinear"):  # fmt: skip
        with pytest.raises(RecipeError, match="x: unknown key"):
            refuse_broken(line.split())
    for words in ([], ["demo"], ["demo_nearest"], ["list"], ["list", "demo_bilinear"], ["help", "demo_bilinear"]):
        refuse_broken(words)


def test_models_are_named_by_tasks_sub_tasks_and_models() -> None:
    known = {"a", "b", "c"}
    assert models_in(["a:train", "vela:b", "key=c", "-v", "0"], known) == {"a", "b"}
    assert models_in(["release", "models=a,c", "version=b"], known) == {"a", "c"}


def test_doit_lists_it_with_the_reason_and_building_it_says_all(project: Checkout) -> None:
    project.change(DEMO, "epochs = 4", "epoch = 4")
    done = project.doit("list", env={"ZOO_WEIGHTS_DEMO_NEAREST": "mine.h5"})
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^  (\w+) +broken ", done.stdout, re.MULTILINE) == ["demo_bilinear", "demo_nearest"]
    for name in ALL:
        assert name in done.stdout
    done = project.doit("demo_nearest")
    assert done.returncode == RecipeError.exit_code
    assert done.stderr.startswith(f"error: {DEMO}: 2 things to correct:\n")
    assert "train.epoch: unknown key (did you mean 'epochs'?)" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    done = project.doit("lock")
    assert done.returncode
    assert "train.epoch: unknown key" in done.stderr


def test_doit_builds_the_others(built: Checkout) -> None:
    """The other model of the same file is not even built again."""
    built.change(DEMO, BILINEAR, BILINEAR + "epochs = 4\n")
    done = built.doit("demo")
    assert done.returncode in FAILED
    assert "FAILED demo_bilinear: recipes/demo/recipe.toml: 1 thing to correct:" in done.stdout
    assert "[model.demo_bilinear] epochs: unknown key" in done.stdout
    assert not ran(done) - {"demo_bilinear"}
    done = built.doit("demo_nearest")
    assert done.returncode == 0, done.stderr
    assert NOTHING in done.stdout
