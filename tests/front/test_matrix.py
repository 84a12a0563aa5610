"""`doit matrix`: every model is in one shard on every machine, and what is printed is what a CI reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout, copy_project
from tests.support.shared import make_once
from tests.support.zoos import make_zoo
from utils.errors import RecipeError, UsageError
from utils.front.matrix import read_request
from utils.recipe.load import load_recipes

ZOO = sorted(name for name, recipe in load_recipes().items() if recipe.group == "zoo")


# The deal


@pytest.mark.parametrize("shards", [1, 2, 3, len(ZOO) - 1, len(ZOO), len(ZOO) + 1, 200])
def test_every_model_is_in_one_shard(shards: int) -> None:
    asked = read_request({"shard": f"1/{shards}"})
    shares = [asked.share(shard) for shard in range(1, shards + 1)]
    assert sorted(name for share in shares for name in share) == ZOO
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_is_printed_is_what_is_built() -> None:
    """By jobs that know nothing of each other."""
    for entry in json.loads(read_request({"shards": "4"}).dump())["include"]:
        asked = read_request({"shard": entry["shard"]})
        assert asked.shard is not None
        assert ",".join(asked.share(asked.shard)) == entry["models"]


def test_models_that_share_a_recipe_come_into_different_shards() -> None:
    first, second = (read_request({"shard": "1/2"}).share(shard) for shard in (1, 2))
    assert ("mnist_nearest" in first) != ("mnist_bilinear" in first)
    assert len(first) + len(second) == len(ZOO)


def test_the_matrix_of_github() -> None:
    text = read_request({"shards": "2", "models": "mnist_nearest,demo_nearest,mnist_nearest"}).dump()
    assert text == '{"include":[{"shard":"1/2","models":"demo_nearest"},{"shard":"2/2","models":"mnist_nearest"}]}'


def test_the_jobs_of_gitlab() -> None:
    text = read_request({"shards": "1", "models": "demo_nearest,demo_bilinear", "ci": "gitlab"}).dump()
    variables = {"SHARD": "1/1", "MODELS": "demo_bilinear,demo_nearest"}
    assert json.loads(text) == {"shard 1/1": {"extends": ".shard", "variables": variables}}


def test_without_a_number_each_model_is_a_shard_and_none_is_empty() -> None:
    for given in ({}, {"shards": "256"}, {"shards": str(len(ZOO))}):
        found = json.loads(read_request(given).dump())["include"]
        assert [entry["models"] for entry in found] == ZOO
        assert [entry["shard"] for entry in found] == [f"{n}/{len(ZOO)}" for n in range(1, len(ZOO) + 1)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"shards": "0"}, "shards=0 is not a number from 1 to 256"),
        ({"shards": "257"}, "shards=257 is not a number"),
        ({"shards": "-1"}, "shards=-1 is not a number"),
        ({"shards": "two"}, "shards=two is not a number"),
        ({"shards": "\u0662"}, "is not a number"),
        ({"shards": "9" * 5000}, "is not a number"),
        ({"shards": ""}, "shards= is not a number"),
        ({"shard": "0/4"}, "shard=0/4 is not one of K/N"),
        ({"shard": "5/4"}, "shard=5/4 is not one of K/N"),
        ({"shard": "1/0"}, "shard=1/0 is not one of K/N"),
        ({"shard": "1"}, "shard=1 is not one of K/N"),
        ({"shard": "1/2/3"}, "is not one of K/N"),
        ({"shard": "1/4", "shards": "4"}, "shard= builds one shard, and shards= prints them all"),
        ({"shard": "1/4", "ci": "gitlab"}, "shard= builds one shard, and ci= prints them all"),
        ({"ci": "gitlb"}, "ci=gitlb is unknown (did you mean 'gitlab'?)"),
        ({"models": ","}, "models= names no model"),
    ],
)
def test_what_is_malformed_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_request(given)
    assert said in str(caught.value)
    assert "\n  -> " in str(caught.value)


def test_an_unknown_model_is_refused_with_what_was_meant() -> None:
    with pytest.raises(RecipeError, match="did you mean 'demo_nearest'"):
        read_request({"models": "demo_neerest"})


# The command


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Six models that are all up to date: look, do not touch."""

    def make(folder: Path) -> None:
        make_zoo(copy_project(folder / "zoo"), 6)

    return Checkout(make_once(tmp_path_factory, "six", make) / "zoo")


def test_the_json_is_all_that_is_printed(zoo: Checkout) -> None:
    done = zoo.doit("matrix", "shards=2")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert [entry["shard"] for entry in json.loads(done.stdout)["include"]] == ["1/2", "2/2"]


@pytest.mark.parametrize("words", [("matrix", "-n", "2", "shard=2/4"), ("-n", "2", "matrix", "shard=2/4")])
def test_a_shard_is_built(zoo: Checkout, words: tuple[str, ...]) -> None:
    done = zoo.doit(*words)
    assert done.returncode == 0, done.stderr
    assert "nothing to do: 12 steps up to date" in done.stdout  # two of six models


def test_a_shard_of_some_models_is_built(zoo: Checkout) -> None:
    done = zoo.doit("matrix", "shard=2/2", "models=pair0000_nearest,pair0001_nearest,pair0002_nearest")
    assert done.returncode == 0, done.stderr
    assert "nothing to do: 6 steps up to date" in done.stdout


def test_a_shard_without_a_model_is_no_error_and_builds_nothing(zoo: Checkout) -> None:
    done = zoo.doit("matrix", "shard=7/8")
    assert (done.returncode, done.stdout) == (0, "nothing to do: shard 7/8 has no model\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("matrix", "pair0000_nearest"), "matrix takes no 'pair0000_nearest'"),
        (("pair0000_nearest", "matrix"), "matrix takes no 'pair0000_nearest'"),
        (("matrix", "weights=x"), "doit matrix takes no weights="),
        (("matrix", "shards=2", "shards=3"), "shards= is given twice"),
        (("matrix", "shards=none"), "shards=none is not a number"),
    ],
)
def test_a_wrong_line_prints_no_json(zoo: Checkout, words: tuple[str, ...], said: str) -> None:
    done = zoo.doit(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recipe_that_does_not_load_fails_in_the_shard_that_has_it(zoo: Checkout, tmp_path: Path) -> None:
    shutil.copytree(zoo.root, tmp_path / "zoo")
    broken = Checkout(tmp_path / "zoo")
    broken.change("recipes/pair0001/recipe.toml", "[model.pair0001_nearest]\n", "[model.pair0001_nearest]\nx = 1\n")
    shards = {entry["models"]: entry["shard"] for entry in json.loads(broken.doit("matrix").stdout)["include"]}
    assert len(shards) == 6
    done = broken.doit("matrix", f"shard={shards['pair0001_nearest']}")
    assert done.returncode
    assert "FAILED pair0001_nearest: recipes/pair0001/recipe.toml" in done.stdout
    assert "nothing to do: 6 steps" in broken.doit("matrix", f"shard={shards['pair0001_bilinear']}").stdout
