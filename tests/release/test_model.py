"""What a release leaves out: by what a file is made from, not by what it is called."""

from __future__ import annotations

import pytest

from utils.graph import layout
from utils.recipe.load import load_recipes
from utils.recipe.schema import Recipe
from utils.recipe.tables import Example
from utils.release import card
from utils.release.model import ReleasedModel

RECIPES = load_recipes()


def forbid(recipe: Recipe, *keys: str) -> Recipe:
    """The recipe with sources that must not be passed on."""
    sources = dict(recipe.sources)
    for key in keys:
        sources[key] = sources[key].model_copy(update={"redistribute": False})
    return recipe.model_copy(update={"sources": sources})


def shown_on(recipe: Recipe, *names: str) -> Recipe:
    """The recipe with other pictures as its examples, of which the first must not be passed on."""
    picture = next(iter(recipe.sources.values()))
    pictures = {f"picture{number}": picture.model_copy(update={"file": name}) for number, name in enumerate(names)}
    changes = {"sources": {**recipe.sources, **pictures}, "examples": [Example(source=key) for key in pictures]}
    return forbid(recipe.model_copy(update=changes), "picture0")


@pytest.mark.parametrize("end", [".png", ".jpg", ".jpeg", ".JPG", ".webp", ".tiff", ""])
def test_a_picture_is_left_out_whatever_its_suffix(end: str) -> None:
    """And the other picture, which may be passed on, is not."""
    model = ReleasedModel(shown_on(RECIPES["mobilenet_v2"], f"first{end}", "second.png"))
    both = {"golden_float32.npz", "golden_int8.npz", "figures/result.png"}
    assert model.left_out().keys() == {f"inputs/example_input{end}", *both}
    assert {origin.name for found in model.left_out().values() for origin in found} == {f"first{end}"}


def test_images_of_the_evaluation_set_are_left_out() -> None:
    left_out = ReleasedModel(forbid(RECIPES["mnist_nearest"], "test_images")).left_out()
    examples = set(layout.example_files(RECIPES["mnist_nearest"]))
    assert len(examples) == 10
    pictures = {layout.figure(name) for name in ("digits", "feature_map", "fixed_output", "result")}
    assert pictures < set(layout.card_files(RECIPES["mnist_nearest"]))
    assert left_out.keys() == {"samples.npz", "golden_float32.npz", "golden_int8.npz", *examples, *pictures}
    assert ReleasedModel(forbid(RECIPES["mnist_nearest"], "train_images")).left_out() == {}


def test_images_of_a_list_are_left_out_where_a_bundle_would_show_them() -> None:
    """No list of images may be passed on; as example inputs its images would be."""
    recipe = RECIPES["mobilenet_v2"].model_copy(update={"examples": 2})
    left_out = ReleasedModel(recipe).left_out()
    assert {
        "inputs/example_input.png",
        "inputs/example_1.png",
        "golden_int8.npz",
        "figures/digits.png",
    } <= left_out.keys()


def test_labels_are_left_out() -> None:
    recipe = RECIPES["mobilenet_v2"]
    assert isinstance(recipe.labels, str)
    assert ReleasedModel(forbid(recipe, recipe.labels)).left_out().keys() == {"labels.txt", "figures/result.png"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_file_of_a_bundle_is_made_from_what_is_known(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the plan has and nobody has thought about is made from everything."""
    model, files = (
        ReleasedModel(RECIPES[name]),
        (*layout.bundle_files(RECIPES[name]), *layout.card_files(RECIPES[name])),
    )
    assert model.made_from().keys() == set(files)
    assert model.left_out() == {}
    everything = model._sources(*model.recipe.sources).union(*map(model._dataset, model.recipe.datasets))
    if len(everything) > 1:
        assert everything not in model.made_from().values()
    monkeypatch.setattr(layout, "card_files", lambda _recipe: ("new.png",))
    assert model.made_from()["new.png"] == everything


def test_the_card_says_what_is_left_out_and_of_what(built_once, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built_once.root / "artifacts/demo_nearest"
    recipe = shown_on(RECIPES["mobilenet_v2"], "first.jpeg", "second.png")
    model = ReleasedModel(recipe.model_copy(update={"name": "demo_nearest"}))
    monkeypatch.setattr(ReleasedModel, "folder", folder)
    text = card.text(model, "1.0.0")
    left_out = ("figures/result.png", "golden_float32.npz", "golden_int8.npz", "inputs/example_input.jpeg")
    assert f"\n- {', '.join(f'`{name}`' for name in left_out)}: made from first.jpeg" in text
    assert "](figures/result.png)" not in text
    assert "*Input and output of the int8 model: not in this release.*" in text
