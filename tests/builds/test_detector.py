"""A second detector, of random weights, is a folder: measured, validated, drawn; and what its recipe may get wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import detectors
from tests.support.checkouts import FAILED, Checkout, clean_env, copy_project
from utils import example
from utils.tasks.detection import boxes

pytestmark = pytest.mark.heavy

MODEL = "squares"


def files(root: Path) -> dict[str, bytes]:
    """What git would keep."""
    found = [file for name in ("utils", "recipes") for file in (root / name).rglob("*")]
    return {
        str(file.relative_to(root)): file.read_bytes() for file in found if file.is_file() and file.suffix != ".pyc"
    }


def environment(mirror: Path) -> dict[str, str]:
    return {"ZOO_MIRROR": str(mirror), "ZOO_OFFLINE": "1"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Path]:
    """A checkout with the detector built: look, do not touch."""
    folder = tmp_path_factory.mktemp("squares")
    project, mirror = copy_project(folder / "zoo"), folder / "mirror"
    detectors.add_model(project, mirror, MODEL)
    done = project.doit(MODEL, env=environment(mirror))
    assert done.returncode == 0, done.stdout + done.stderr
    return project, mirror


@pytest.fixture
def changed(made: tuple[Checkout, Path], tmp_path: Path) -> Checkout:
    """A copy that a test may change."""
    shutil.copytree(made[0].root, tmp_path / "zoo", symlinks=True)
    return Checkout(tmp_path / "zoo")


def read(project: Checkout, name: str) -> Any:
    return json.loads((project.root / "artifacts" / MODEL / name).read_text())


def test_a_second_detector_is_one_folder(made: tuple[Checkout, Path], tmp_path: Path) -> None:
    before, after = files(copy_project(tmp_path / "zoo").root), files(made[0].root)
    assert after.keys() - before.keys() == {f"recipes/{MODEL}/recipe.toml", f"recipes/{MODEL}/squares.csv"}
    assert all(after[name] == content for name, content in before.items())


def test_it_is_measured_as_by_hand(made: tuple[Checkout, Path]) -> None:
    """By LiteRT alone, whose outputs come in the order of the file, and COCO's precision of them."""
    from ai_edge_litert.interpreter import Interpreter

    project, mirror = made
    home = project.root / "artifacts" / MODEL
    interpreter = Interpreter(str(home / f"{MODEL}_float32.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    (entry,), ends = interpreter.get_input_details(), interpreter.get_output_details()
    truths, answers = [], []
    for line in (project.root / f"recipes/{MODEL}/squares.csv").read_text().splitlines()[1:]:
        cells = line.split(",")
        with Image.open(mirror / cells[1]) as image:
            size, small = image.size, np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR), np.float32)
        interpreter.set_tensor(entry["index"], (small[np.newaxis] - 127.5) / np.float32(127.5))
        interpreter.invoke()
        raw = {kind: interpreter.get_tensor(end["index"])[0] for kind, end in zip(detectors.TURNED, ends, strict=True)}
        assert float(raw["count"]) == detectors.MOST
        wide = np.asarray([size[1], size[0]] * 2)
        corners = np.clip(raw["boxes"] * wide, 0, wide)[:, [1, 0, 3, 2]].astype(np.float64)
        answers.append(boxes.Answers(corners, raw["classes"].astype(np.int64), raw["scores"]))
        truths.append(boxes.read_truth(mirror / cells[4], cells[3], detectors.LABELS, size))
    wanted = boxes.average_precision(truths, answers, detectors.LABELS)
    result = read(project, "manifest.json")["evaluation"]["variants"]["float32"]
    assert result["accuracy"] == pytest.approx(wanted.ap, abs=1e-3)
    assert result["ap50"] == pytest.approx(wanted.ap50, abs=1e-3)
    assert result["objects"] == wanted.objects == sum(len(truth.classes) for truth in truths)
    assert 10 < wanted.ap < 100  # what it finds in pictures that show nothing costs precision
    assert [len(truth.classes) for truth in truths[4:]] == [0, 0]


def test_its_bundle_runs(made: tuple[Checkout, Path], tmp_path: Path) -> None:
    home = made[0].root / "artifacts" / MODEL
    assert subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"], cwd=home).returncode == 0
    (entry,) = read(made[0], "manifest.json")["validation"]["models"]
    assert (entry["task"], entry["check"]["verdict"], entry["check"]["inputs"]) == ("detection", "PASS", 4)
    assert entry["check"]["objects"] > 4
    facts = read(made[0], "model.json")
    assert [output["kind"] for output in facts["output"]] == ["count", "classes", "boxes", "scores"]
    assert (facts["output"][1]["classes"], facts["output"][2]["iou"], facts["output"][3]["threshold"]) == (4, 0.95, 0.6)
    command = [str(Path(example.sys.executable)), "example.py", "-i", "inputs", "-o", str(tmp_path), "-n", "1"]
    done = subprocess.run(command, cwd=home, env=clean_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "example_1_overlay.png").is_file()
    assert re.search(r"^    (ball|box|cone|class 1) +\d+\.\d %  at ", done.stdout, re.MULTILINE)


def test_its_card(made: tuple[Checkout, Path]) -> None:
    home = made[0].root / "artifacts" / MODEL
    card = (home / "README.md").read_text()
    result = read(made[0], "manifest.json")["evaluation"]["variants"]["float32"]
    assert f"float32 {result['accuracy']:.2f} % AP on 6 images; a sample" in card
    assert f"| float32 | {result['accuracy']:.2f} % | {result['ap50']:.2f} % | {result['objects']} |" in card
    assert "`found:2`, count [1]; `found:1`, classes [1, 5]; `found:3`, boxes [1, 5, 4]; `found:0`, scores" in card
    assert "stays on the CPU (1 x TFLite_Detection_PostProcess, `detector-postprocess`)" in card
    assert "show what int8 loses" not in card
    for figure in ("result", "precision"):
        assert f"(figures/{figure}.png)" in card
        with Image.open(home / f"figures/{figure}.png") as image:
            assert image.width > 400
    with Image.open(home / "figures/result.png") as image:
        shown = np.asarray(image.convert("RGB")).astype(int)
    half = shown.shape[1] // 2
    (found,) = (entry["objects"][0]["label"] for entry in _predictions(home)[:1])
    colour = example.palette(256)[detectors.LABELS.index(found) + 1].astype(int)
    near = (np.abs(shown - colour).max(-1) <= 40).sum(0)
    assert near[half:].sum() > 20  # a frame among the answers
    assert near[:half].sum() == 0  # none was drawn by hand


def _predictions(home: Path) -> list[dict[str, Any]]:
    command = [example.sys.executable, "example.py", "--json", "-i", "inputs", "-n", "1"]
    done = subprocess.run(command, cwd=home, env=clean_env(), capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout)["models"][0]["predictions"])


def test_the_same_bytes_in_another_folder(made: tuple[Checkout, Path], tmp_path: Path) -> None:
    project, mirror = copy_project(tmp_path / "another" / "place"), tmp_path / "mirror"
    detectors.add_model(project, mirror, MODEL)
    done = project.doit(MODEL, env=environment(mirror))
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.hashes(f"artifacts/{MODEL}/**/*") == made[0].hashes(f"artifacts/{MODEL}/**/*")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'labels = ["ball", "???", "box", "cone"]',
            'labels = ["ball", "box", "cone"]',
            "labels: 3 labels for 4 classes",
        ),
        ('"cone"]', '"cone", "cube"]', "labels: 5 labels for 4 classes"),
        (
            'kind = "classes"\nclasses = 4',
            'kind = "scores"',
            "detection has 4 output(s), boxes, classes, scores, count",
        ),
        ("classes = 4\n", "", "output.classes: is missing"),
        ("threshold = 0.6", "iou = 0.6", "iou: is for the output of kind 'boxes', not 'scores'"),
        ('"first" }', '"first", objects = [{ label = "bal", box = [0, 0, 9, 9] }] }', "did you mean 'ball'"),
        ('"first" }', '"first", objects = [{ label = "box", box = [9, 0, 9, 9] }] }', "objects.0.box: is empty"),
        ('"first" }', '"first", objects = [], found = 1 }', "found: 1 of 0 objects"),
        ('"first" }', '"first", found = 1 }', "found: counts objects, and there are none"),
        ('fit = "stretch"', 'fit = "crop"', "input.fit: a detection is measured on whole images"),
        ('variants = ["float32"]', 'variants = ["float32", "int8"]', "only int8 can be made"),
    ],
)
def test_a_recipe_that_cannot_be_right(changed: Checkout, old: str, new: str, says: str) -> None:
    changed.change(f"recipes/{MODEL}/recipe.toml", old, new)
    done = changed.doit(MODEL)
    assert done.returncode in (*FAILED, 3), done.stdout + done.stderr
    assert says in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        (
            [
                ('name = "found:1"', 'name = "X"'),
                ('name = "found:0"', 'name = "found:1"'),
                ('name = "X"', 'name = "found:0"'),
            ],
            "found:0: the graph's scores, expected its classes",
        ),
        (
            [("classes = 4\n", "classes = 3\n"), ('["ball", "???", "box", "cone"]', '["ball", "box", "cone"]')],
            "labels: 3, but the graph tells 4 classes apart",
        ),
        ([("shape = [1, 5, 4]", "shape = [1, 6, 4]")], "found:3: FLOAT32[1, 5, 4], expected FLOAT32[1, 6, 4]"),
    ],
)
def test_a_recipe_that_contradicts_its_graph(
    changed: Checkout, made: tuple[Checkout, Path], edits: Any, says: str
) -> None:
    """Outputs in another order, or labels that do not fit, would give wrong names without a word."""
    for old, new in edits:
        changed.change(f"recipes/{MODEL}/recipe.toml", old, new)
    done = changed.doit(MODEL, env=environment(made[1]))
    assert done.returncode in FAILED
    assert says in done.stderr
    assert "exit code 7" in done.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 0.5 0.5 2.0 0.2\n", "0.txt, line 1: the box '0 0.5 0.5 2.0 0.2' leaves the picture"),
        ("3 0.5 0.5 0.2 0.2\n", "0.txt, line 1: class 3, but the recipe names 3 classes"),
        ("ball 0.5 0.5 0.2 0.2\n", "0.txt, line 1: 'ball 0.5 0.5 0.2 0.2' is no box"),
    ],
)
def test_wrong_boxes_in_a_list(changed: Checkout, made: tuple[Checkout, Path], text: str, says: str) -> None:
    pinned = detectors.publish(made[1], text.encode())
    file = changed.root / f"recipes/{MODEL}/squares.csv"
    head, first, *rest = file.read_text().splitlines()
    cells = first.split(",")
    cells[4:] = [str(pinned["sha256"]), str(pinned["size"])]
    file.write_text("\n".join([head, ",".join(cells), *rest]) + "\n")
    done = changed.doit(MODEL, env=environment(made[1]))
    assert done.returncode in FAILED
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_an_example_that_shows_what_is_not_found(changed: Checkout, made: tuple[Checkout, Path]) -> None:
    shown = '"first", objects = [{ label = "ball", box = [0, 0, 1, 1] }] }'
    changed.change(f"recipes/{MODEL}/recipe.toml", '"first" }', shown)
    done = changed.doit(MODEL, env=environment(made[1]))
    assert done.returncode in FAILED
    assert "inputs/example_input.png has 0 of 1 objects right, not 1: " in done.stderr


def test_examples_that_a_fixed_output_would_match(changed: Checkout, made: tuple[Checkout, Path]) -> None:
    """No object has a score of 1: nothing would be compared."""
    changed.change(f"recipes/{MODEL}/recipe.toml", "threshold = 0.6", "threshold = 1.0")
    done = changed.doit(MODEL, env=environment(made[1]))
    assert done.returncode in FAILED
    assert "a fixed output would pass" in " ".join(done.stderr.split())
