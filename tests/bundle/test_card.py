"""The card of a bundle: what stands in it, and that its pictures and links are there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.checkouts import Checkout
from tests.support.links import branch_links, dead_links, targets
from utils import example, tflite_edit
from utils.bundle import markdown
from utils.errors import DataError
from utils.graph import layout
from utils.recipe.load import find_recipe, load_recipes
from utils.recipe.schema import Recipe
from utils.steps.card import _needs, _text

MODELS = ("demo_nearest", "demo_bilinear")


@pytest.fixture(scope="module", params=MODELS)
def home(request: pytest.FixtureRequest, built_once: Checkout) -> Path:
    """A finished bundle: look, do not touch."""
    return built_once.root / "artifacts" / str(request.param)


def rows_of(card: str, head: str) -> dict[str, str]:
    """First cell -> second cell of the table that begins with this head."""
    table = card.partition(f"| {head} |")[2].partition("\n\n")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {first: second for first, second, *_ in cells}


def test_the_box_at_the_head(home: Path) -> None:
    card = (home / "README.md").read_text()
    box = rows_of(card, "At a glance |")
    assert card.index("| At a glance |") < card.index("\n## ")
    nearest = home.name == "demo_nearest"
    assert box["i.MX 8M Plus, NPU through the VX delegate"] == (
        "**red**: do not deploy (every BSP); on a board: **fails**"
        if nearest
        else "**green**: runs on it completely (every BSP)"
    )
    assert list(box)[:3] == [
        "i.MX 8M Plus, NPU through the VX delegate", "i.MX 93, NPU through Ethos-U (Vela)", "CPU of either board",
    ]  # fmt: skip
    manifest = json.loads((home / "manifest.json").read_text())["evaluation"]
    accuracies = [f"{name} {result['accuracy']:.2f} %" for name, result in manifest["variants"].items()]
    assert box["Accuracy"] == f"{', '.join(accuracies)} top-1 on {manifest['count']} drawn digits"
    sizes = [f"{name} {(home / f'{home.name}_{name}.tflite').stat().st_size:,}" for name in manifest["variants"]]
    assert box["Size"] == f"{', '.join(sizes)} bytes"
    assert box["Latency"].startswith("not published; ")
    assert box["Licence"] == "MIT"
    assert f"docker/run doit {home.name}" in box["Get it"]


def test_pictures_and_links_are_there(home: Path) -> None:
    card = home / "README.md"
    assert dead_links(card) == []
    assert branch_links(card.read_text()) == []
    shown = [target for target in targets(card.read_text()) if target.startswith("figures/")]
    assert sorted(shown) == sorted(file.relative_to(home).as_posix() for file in (home / "figures").iterdir())
    for name in shown:
        with Image.open(home / name) as image:
            image.verify()


def test_needs_is_what_compat_json_says(home: Path) -> None:
    compat = json.loads((home / "compat.json").read_text())
    assert rows_of((home / "README.md").read_text(), "Information")["Needs"] == (
        f"TFLite {compat['needs_tflite']} or newer; every known BSP has it"
    )


@pytest.mark.parametrize(
    ("least", "unknown", "said"),
    [
        ("2.3.0", [], "TFLite 2.3.0 or newer; every known BSP has it"),
        ("2.12.0", [], "TFLite 2.12.0 or newer; LF6.1.55_2.2.0 is the first BSP with it"),
        ("99.0.0", [], "TFLite 99.0.0 or newer; no known BSP has it"),
        ("", [], "a TFLite version that neither the file nor the table of operators states"),
        (
            "2.3.0",
            ["CUMSUM version 9"],
            "TFLite 2.3.0 or newer; every known BSP has it; the table of operators lacks CUMSUM version 9",
        ),
    ],
)
def test_needs(least: str, unknown: list[str], said: str) -> None:
    assert _needs({"needs_tflite": least, "unknown_to_the_table": unknown}) == said


def test_the_feature_map_is_explained_and_nearest_shows_fixed_output(home: Path) -> None:
    card = (home / "README.md").read_text()
    assert "what LOGISTIC makes of it" in card
    nearest = home.name == "demo_nearest"
    assert ("### What FIXED_OUTPUT looks like" in card) is nearest
    assert (home / "figures/fixed_output.png").is_file() is nearest
    assert not (home / "held.tflite").exists()


def test_a_held_upsampling_gives_the_output_that_the_verdict_calls_fixed(built_once: Checkout, tmp_path: Path) -> None:
    """The picture of FIXED_OUTPUT shows what ``example.py`` calls so."""
    home = built_once.root / "artifacts/demo_nearest"
    data = (home / "demo_nearest_int8.tflite").read_bytes()
    (tmp_path / "held.tflite").write_bytes(tflite_edit.hold_input(data, "RESIZE_NEAREST_NEIGHBOR"))
    held = example.Model(str(tmp_path / "held.tflite"), example.load_runtime(), threads=1, reference=True)
    with np.load(home / "golden_int8.npz") as golden:
        outputs = np.stack([held.run(tensor) for tensor in golden["input"]])
        assert example.judge(outputs, golden["output"], 20.0)["verdict"] == "FIXED_OUTPUT"
    with pytest.raises(DataError, match="has no operator RESIZE_BILINEAR"):
        tflite_edit.hold_input(data, "RESIZE_BILINEAR")
    with pytest.raises(DataError, match="a damaged TFLite file"):
        tflite_edit.hold_input(data[:2000], "RESIZE_NEAREST_NEIGHBOR")


@pytest.fixture(scope="module")
def drawn(built_once: Checkout) -> Any:
    """How to write the card of any recipe with the facts of the demo's bundle."""
    home = built_once.root / "artifacts/demo_nearest"
    compat = json.loads((home / "compat.json").read_text())

    def write(recipe: Recipe) -> str:
        facts = json.loads((home / "manifest.json").read_text())
        results = facts["evaluation"]["variants"]
        facts["evaluation"]["variants"] = {
            name: results["int8"] | {"iou": {"0": 90.0, "8": 0.04}, "ap50": 35.0, "objects": 9, "ap": {"0": 35.0}}
            for name in recipe.variants
        }
        if isinstance(recipe.labels, str):  # a file to download
            recipe = recipe.model_copy(update={"labels": [f"class {n}" for n in range(recipe.output.shape[-1])]})
        facts["sources"] = {"list": {"name": "list.csv", "licence": "any", "count": 4}}
        return _text(recipe, facts, compat, "")

    return write


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "deeplabv3"])
def test_published_latencies_stand_at_the_head_with_their_commit(name: str, drawn: Any) -> None:
    recipe = find_recipe(name)
    card = drawn(recipe)
    latency = rows_of(card, "At a glance |")["Latency"]
    for row in recipe.measured:
        assert f"{row.ms:g} ms on {row.accelerator}" in latency
        assert row.source.startswith(
            "https://github.com/NXP/eiq-model-zoo/tree/58c2b002e9f64f39b8c43e896e00446298544a33/"
        )
    assert f"Published by [NXP/eiq-model-zoo@58c2b00]({recipe.measured[0].source})" in latency
    assert "not measured by this project" in latency


@pytest.mark.parametrize("name", load_recipes())
def test_every_card_links_to_commits(name: str, drawn: Any) -> None:
    card = drawn(find_recipe(name))
    assert branch_links(card) == []
    pictures = [target for target in targets(card) if not target.startswith("https://")]
    assert sorted(pictures) == sorted(file for file in layout.card_files(find_recipe(name)) if file.endswith(".png"))


def test_classes_of_0_percent_are_not_listed(drawn: Any) -> None:
    card = drawn(find_recipe("deeplabv3"))
    assert "background 90.0 %. No overlap: cat." in card
    assert not re.search(r"\b0\.0 %(?! are)", card)


def test_sources_become_short_links() -> None:
    commit = "58c2b002e9f64f39b8c43e896e00446298544a33"
    github = "https://github.com/NXP/eiq-model-zoo"
    for source, text in (
        (f"{github}/tree/{commit}/tasks", f"[NXP/eiq-model-zoo@58c2b00]({github}/tree/{commit}/tasks)"),
        (f"{github}/issues/7; a | paper", f"[NXP/eiq-model-zoo#7]({github}/issues/7); a \\| paper"),
        ("https://arxiv.org/abs/1801.04381", "[arxiv.org/abs/1801.04381](https://arxiv.org/abs/1801.04381)"),
    ):
        assert markdown._link(source) == text
