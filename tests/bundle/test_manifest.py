"""manifest.json: what it says of the network and of the card is what recipe, sources and file say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkouts import Checkout
from utils import tflite
from utils.bundle import bundle
from utils.recipe.load import find_recipe, load_recipes
from utils.recipe.schema import Recipe


def sources_of(recipe: Recipe) -> dict[str, Any]:
    """What the download step would write: a list has the sha256 of its content, any other source that of its name."""
    listed = {key: file for key in recipe.datasets if (file := recipe.list_file(key))}
    found = {
        key: {
            "name": source.file,
            "sha256": hashlib.sha256(source.file.encode()).hexdigest(),
            "licence": source.licence,
        }
        for key, source in recipe.sources.items()
    }
    return found | {
        key: {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "count": 1}
        for key, file in listed.items()
    }


def card_of(name: str, sources: dict[str, Any] | None = None) -> dict[str, Any]:
    recipe = find_recipe(name)
    return bundle._card(recipe, sources_of(recipe) if sources is None else sources)


def test_a_built_bundle_says_how_large_its_network_is(built_once: Checkout) -> None:
    for name in ("demo_nearest", "demo_bilinear"):
        home = built_once.root / "artifacts" / name
        found = json.loads((home / "manifest.json").read_text())
        graph = tflite.read(home / f"{name}_int8.tflite")
        assert found["format"] == 2
        assert found["graph"]["macs"] == graph.macs() > 0
        assert found["graph"]["operators"] == graph.count()
        parameters = found["graph"]["parameters"]
        assert f"| Parameters | {parameters:,} |" in (home / "README.md").read_text()
        assert found["card"]["group"] == "demo"
        assert found["card"]["redistributable"] is True


def test_parameters_are_those_of_the_recipe_where_it_knows_them() -> None:
    graph = tflite.Graph((), (), (), (), {}, "")
    assert bundle._graph(find_recipe("mobilenet_v2"), graph)["parameters"] == 3538984


@pytest.mark.parametrize("name", load_recipes())
def test_it_has_the_words_of_the_recipe(name: str) -> None:
    recipe, found = find_recipe(name), card_of(name)
    assert json.loads(json.dumps(found)) == found
    assert found["introduction"] == recipe.card.introduction.strip()
    assert [claim["what"] for claim in found["claims"]] == [claim.what for claim in recipe.claims]
    assert [row["ms"] for row in found["measured"]] == [row.ms for row in recipe.measured]
    assert [target["verdict"] for target in found["targets"]] == [target.verdict for target in recipe.targets]
    assert found["links"].keys() == sources_of(recipe).keys()
    assert all(link.startswith(("https://", "http://")) and "{file}" not in link for link in found["links"].values())


def test_only_models_measured_on_the_same_inputs_have_one_evaluation_set() -> None:
    found = {name: card_of(name)["evaluation_set"]["sha256"] for name in load_recipes()}
    assert found["mobilenet_v2"] == found["resnet50"] == found["mnasnet"]
    assert found["demo_nearest"] == found["demo_bilinear"]
    assert found["mnist_nearest"] == found["mnist_bilinear"]
    assert len(set(found.values())) == len(found) - 4


def test_another_list_or_seed_is_another_evaluation_set() -> None:
    recipe = find_recipe("mobilenet_v2")
    other = sources_of(recipe)
    other["evaluation"]["sha256"] = "0" * 64
    assert card_of("mobilenet_v2", other)["evaluation_set"] != card_of("mobilenet_v2")["evaluation_set"]
    demo = find_recipe("demo_nearest")
    drawn = demo.datasets[demo.evaluation.dataset]
    changed = demo.model_copy(
        update={"datasets": demo.datasets | {demo.evaluation.dataset: drawn.model_copy(update={"seed": 99})}}
    )
    assert bundle._evaluation_set(changed, {}) != bundle._evaluation_set(demo, {})


def test_a_licence_decides_whether_it_may_be_passed_on() -> None:
    recipe = find_recipe("mobilenet_v2")
    assert card_of("mobilenet_v2")["redistributable"]
    (key,) = recipe.load.sources if recipe.load else ()
    kept = recipe.sources | {key: recipe.sources[key].model_copy(update={"redistribute": False})}
    closed = recipe.model_copy(update={"sources": kept})
    assert not bundle._card(closed, sources_of(closed))["redistributable"]
    own: dict[str, Any] = {"name": "mine.h5", "sha256": "0" * 64, "own": True, "licence": None}
    assert not bundle._card(recipe, sources_of(recipe) | {key: own})["redistributable"]
    stated = bundle._card(recipe, sources_of(recipe) | {key: own | {"licence": "MIT"}})
    assert stated["redistributable"]
    assert key not in stated["links"]


def test_every_recipe_has_a_list_or_sources_of_its_evaluation_set() -> None:
    for recipe in load_recipes().values():
        named = bundle._evaluation_set(recipe, sources_of(recipe))["name"]
        assert named
        assert Path(named).name == named
