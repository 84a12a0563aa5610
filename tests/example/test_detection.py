"""A detector as a user on the board runs it: objects, their boxes, and what goes wrong."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import detectors, handmade
from tests.support.delegates import CC, SOURCE
from tests.support.examples import bare, change, refused, run
from tests.support.runtimes import OLD_RUNTIMES, install_runtime
from utils import example
from utils.bundle import board_report

pytestmark = pytest.mark.heavy

MODEL = "hand_float32.tflite"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle: look, do not touch."""
    return detectors.make_bundle(tmp_path_factory.mktemp("detector") / "bundle")


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    shutil.copytree(whole, tmp_path / "bundle")
    return tmp_path / "bundle"


def report(folder: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The entry of its one model."""
    done = run(folder, "--json", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (entry,) = json.loads(done.stdout)["models"]
    return dict(entry)


def edit(folder: Path, changed: Callable[[Any], None]) -> None:
    """Change the model, and let model.json vouch for it: the golden tensors are those of before."""
    change(folder / MODEL, folder / MODEL, lambda model, _: changed(model))
    detectors.vouch(folder)


def constant(model: Any, name: str) -> np.ndarray:
    """The values of a float constant of the model, to be written to."""
    tensor = next(found for found in model.subgraphs[0].tensors if found.name == name.encode())
    values = np.array(np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.float32))
    model.buffers[tensor.buffer].data = values.view(np.uint8)
    return values


# --- right


def test_objects_of_a_picture(whole: Path) -> None:
    entry = report(whole, "--check", "-i", "a.png", "b.png")
    assert entry["task"] == "detection"
    assert entry["check"]["verdict"] == "PASS"
    assert entry["check"]["inputs"] == 4
    assert entry["check"]["objects"] > 10
    assert entry["check"]["top1_agreement"] == 1.0
    assert entry["check"]["min_iou"] > 0.99
    first, second = entry["predictions"]
    assert set(first) == {"input", "objects", "below", "broken", "overlay"}
    assert (first["input"], first["broken"], first["overlay"]) == ("a.png", 0, None)
    assert first["objects"] != second["objects"]
    scores = [found["score"] for found in first["objects"]]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.5
    for found in first["objects"]:
        left, upper, right, lower = found["box"]
        assert 0 <= left < right <= 96  # pixels of the picture, though some boxes leave it
        assert 0 <= upper < lower <= 64
        assert found["label"] in ("ball", "class 1", "box", "cone")


def test_a_board_may_report_all_of_it(whole: Path, library: Path, tmp_path: Path) -> None:
    """The closed schema of a board's report takes what is printed, with every key."""
    arguments = ["--json", "--compare", "-d", str(library), "-i", "a.png", "b.png", "-o", str(tmp_path), "-m", MODEL]
    printed = run(whole, *arguments).stdout
    report = board_report.parse_report(printed, "a board")
    (entry,) = report.models
    told = json.loads(printed)["models"][0]
    assert entry.check is not None
    assert entry.check.model_dump(exclude_unset=True) == told["check"]
    assert entry.predictions == told["predictions"]


def test_every_order_of_the_outputs_gives_the_same_answers(whole: Path, tmp_path: Path) -> None:
    """By the names in model.json, and for a file that it does not name by the graph's own operator."""
    runtime = example.load_runtime()
    pixels = np.asarray(Image.open(whole / "a.png"))
    tensor = example.normalise(example.fit_image(Image.fromarray(pixels), detectors.SPEC), detectors.SPEC)[np.newaxis]
    seen = set()
    for order in itertools.permutations(example.MEANINGS):
        file = detectors.write(tmp_path / "turned.tflite", order=order)
        model = example.Model(str(file), runtime, threads=1)
        by_name = example.Detection(detectors.SPEC, detectors.outputs())
        model.bind("image", *(output["name"] for output in detectors.outputs()))
        known = by_name.objects(model.real(model.run_all(tensor)))
        assumed = example.assume(str(file), example.Model(str(file), runtime, threads=1))
        model.bind("image", *(output["name"] for output in assumed.task.outputs))
        assert isinstance(assumed.task, example.Detection)
        bare_one = assumed.task.objects(model.real(model.run_all(tensor)))
        for found in (known, bare_one):
            seen.add((found.boxes.tobytes(), found.classes.tobytes(), found.scores.tobytes()))
    assert len(seen) == 1


def test_the_threshold(whole: Path) -> None:
    (usual,) = report(whole, "-i", "a.png")["predictions"]
    (all_of_them,) = report(whole, "-i", "a.png", "--threshold", "0")["predictions"]
    (two,) = report(whole, "-i", "a.png", "--threshold", "0", "--top", "2")["predictions"]
    (none,) = report(whole, "-i", "a.png", "--threshold", "1")["predictions"]
    assert len(all_of_them["objects"]) >= len(usual["objects"]) > 0
    assert all_of_them["objects"][: len(usual["objects"])] == usual["objects"]
    assert two["objects"] == all_of_them["objects"][:2]
    assert all_of_them["below"] is None
    assert (none["objects"], none["below"]) == ([], all_of_them["objects"][0])
    for wrong in ("1.5", "-0.1", "half", "nan"):
        assert "is not a number from 0 to 1" in run(whole, "-i", "a.png", "--threshold", wrong).stderr


def test_the_threshold_of_the_model(bundle: Path) -> None:
    facts = json.loads((bundle / "model.json").read_text())
    score = next(output for output in facts["output"] if output["kind"] == "scores")
    score["threshold"] = 0.97
    (bundle / "model.json").write_text(json.dumps(facts))
    (found,) = report(bundle, "-i", "a.png")["predictions"]
    assert found["objects"]
    assert all(each["score"] >= 0.97 for each in found["objects"])
    assert found["below"]["score"] < 0.97


def test_what_a_person_reads(whole: Path) -> None:
    said = run(whole, "--check", "-i", "a.png").stdout
    assert re.search(
        r"PASS: 4 inputs, \d+ objects, 100 % found again, largest error \S+ \(absolute, 0.05 allowed\)", said
    )
    (found,) = report(whole, "-i", "a.png")["predictions"]
    best = found["objects"][0]
    left, upper, right, lower = best["box"]
    place = f"at {left:.0f},{upper:.0f} to {right:.0f},{lower:.0f}"
    assert f"    {best['label']:<20} {100 * best['score']:5.1f} %  {place}" in said
    nothing = run(whole, "-i", "a.png", "--threshold", "1").stdout
    assert f"no object above the threshold; the best is {best['label']}, {100 * best['score']:.1f} %" in nothing


def test_boxes_are_drawn(whole: Path, tmp_path: Path) -> None:
    (found,) = report(whole, "-i", "a.png", "-o", str(tmp_path), "-m", MODEL)["predictions"]
    assert found["overlay"] == str(tmp_path / "a_overlay.png")
    drawn, plain = (np.asarray(Image.open(file).convert("RGB")) for file in (found["overlay"], whole / "a.png"))
    assert drawn.shape == plain.shape
    left, _, right, lower = (round(edge) for edge in found["objects"][0]["box"])
    number = detectors.LABELS.index(found["objects"][0]["label"])
    frame = drawn[lower - 1, left:right]
    assert (frame == example.palette(256)[number + 1]).all(1).mean() > 0.5  # another box may cross it
    assert (drawn != plain).any()


def test_a_large_picture_is_drawn_smaller(whole: Path, tmp_path: Path) -> None:
    Image.fromarray(detectors.picture(0).repeat(50, 0).repeat(50, 1)).save(tmp_path / "large.png")
    (found,) = report(whole, "-i", str(tmp_path / "large.png"), "-o", str(tmp_path), "-m", MODEL)["predictions"]
    assert max(edge for each in found["objects"] for edge in each["box"]) > 2048  # in the picture's own pixels
    with Image.open(found["overlay"]) as drawn:
        assert drawn.size == (2048, 1365)


def test_pixels_without_pillow(whole: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", example.fit_image(Image.open(whole / "a.png"), detectors.SPEC))
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL/__init__.py").write_text("raise ImportError('not on this board', name='PIL')\n")
    done = run(whole, "--json", "-i", str(tmp_path / "a.npy"), env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["models"][0]["predictions"]
    (wanted,) = report(whole, "-i", "a.png")["predictions"]
    assert [each["score"] for each in found["objects"]] == [each["score"] for each in wanted["objects"]]
    for ours, theirs in zip(found["objects"], wanted["objects"], strict=True):  # of 32 x 32, and of 96 x 64
        assert np.allclose(np.asarray(ours["box"]) * [3, 2, 3, 2], theirs["box"], atol=0.3)


def test_a_file_without_model_json(whole: Path, tmp_path: Path) -> None:
    file = detectors.write(tmp_path / "found.tflite", order=("count", "scores", "classes", "boxes"))
    said = bare("-m", str(file), "-i", str(whole / "a.png"), cwd=tmp_path)
    assert "output: detection, 4 classes, without labels: give --labels" in said
    (wanted,) = report(whole, "-i", "a.png")["predictions"]
    for found in wanted["objects"]:
        assert f"{100 * found['score']:5.1f} %  at " in said
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(detectors.LABELS) + "\n")
    named = bare("-m", str(file), "-i", str(whole / "a.png"), "--labels", str(labels), cwd=tmp_path)
    assert f"    {wanted['objects'][0]['label']:<20} " in named


# --- what goes wrong


@pytest.mark.parametrize("labels", [["ball", "box", "cone"], ["background", *detectors.LABELS]])
def test_labels_of_the_wrong_length(bundle: Path, labels: list[str]) -> None:
    (bundle / "labels.txt").write_text("\n".join(labels) + "\n")
    said = refused(bundle, "-i", "a.png")
    assert f"labels.txt has {len(labels)} labels, the model 4 outputs" in said


def test_nan_boxes_are_left_out_and_named(bundle: Path) -> None:
    def damage(model: Any) -> None:
        constant(model, "boxes_bias")[:] = np.nan

    edit(bundle, damage)
    entry = report(bundle, "--check", "-i", "a.png", code=4)
    assert entry["check"]["verdict"] == "NAN"
    assert entry["check"]["max_error"] is None
    (found,) = entry["predictions"]
    assert (found["objects"], found["below"], found["broken"]) == ([], None, detectors.MOST)
    assert "5 objects are left out: they hold NaN or infinity" in run(bundle, "-i", "a.png").stdout


def test_nan_scores_are_no_objects(bundle: Path) -> None:
    """The runtime's own operator keeps no box whose score is NaN: what is left does not change with the input."""

    def damage(model: Any) -> None:
        constant(model, "scores_bias")[:] = np.nan

    edit(bundle, damage)
    entry = report(bundle, "--check", "-i", "a.png", code=4)
    assert entry["check"]["verdict"] in ("FIXED_OUTPUT", "NAN")
    assert entry["predictions"][0]["objects"] == []


def test_nothing_is_found(bundle: Path) -> None:
    def damage(model: Any) -> None:
        constant(model, "scores_bias")[:] = -100

    edit(bundle, damage)
    entry = report(bundle, "--check", "-i", "a.png", code=4)
    assert entry["check"]["verdict"] == "FIXED_OUTPUT"
    assert entry["predictions"][0]["objects"] == []
    said = run(bundle, "-i", "a.png").stdout
    assert "    no object above the threshold\n" in said


def test_saturated_scores(bundle: Path) -> None:
    def damage(model: Any) -> None:
        values = constant(model, "scores_kernel")
        values *= 1e4

    edit(bundle, damage)
    assert report(bundle, "--check", code=4)["check"]["verdict"] == "SATURATED"


def test_boxes_elsewhere(bundle: Path) -> None:
    def damage(model: Any) -> None:
        constant(model, "boxes_bias")[:2] += 6  # tenths of an anchor's side

    edit(bundle, damage)
    entry = report(bundle, "--check", code=4)
    assert entry["check"]["verdict"] == "MISMATCH"
    assert entry["check"]["top1_agreement"] < 1


def test_a_box_outside_of_the_picture_is_not_an_answer(bundle: Path) -> None:
    def damage(model: Any) -> None:
        constant(model, "boxes_bias")[:2] += 200

    edit(bundle, damage)
    (found,) = report(bundle, "-i", "a.png")["predictions"]
    assert (found["objects"], found["below"]) == ([], None)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (lambda outputs: outputs[0].update(kind="boxes"), "the kinds are not boxes, classes, scores, count, each once"),
        (lambda outputs: outputs[0].pop("kind"), "the kinds are not"),
        (lambda outputs: outputs.pop(1), "the kinds are not"),
        (lambda outputs: outputs[2].update(shape=[1, 4, 4]), "the shapes of boxes, classes and scores"),
        (lambda outputs: outputs[3].update(threshold=2), "output.threshold is not a number from 0 to 1"),
        (lambda outputs: outputs[2].update(iou="half"), "output.iou is not a number from 0 to 1"),
        (lambda outputs: outputs[1].update(classes="4"), "output.classes is not a whole number"),
    ],
)
def test_a_damaged_model_json(bundle: Path, changed: Callable[[Any], Any], what: str) -> None:
    facts = json.loads((bundle / "model.json").read_text())
    changed(facts["output"])
    (bundle / "model.json").write_text(json.dumps(facts))
    said = refused(bundle)
    assert what in said
    assert "model.json is damaged" in said


def test_swapped_names_are_no_detector(bundle: Path) -> None:
    """Boxes have another shape than scores: the mistake is named before a run."""
    facts = json.loads((bundle / "model.json").read_text())
    names = {output["kind"]: output for output in facts["output"]}
    names["boxes"]["name"], names["scores"]["name"] = names["scores"]["name"], names["boxes"]["name"]
    (bundle / "model.json").write_text(json.dumps(facts))
    assert "hand_float32.tflite has output shape [1, 5], model.json says [1, 5, 4]" in refused(bundle)


def test_the_threshold_is_for_detectors(tmp_path: Path) -> None:
    folder = handmade.make_bundle(tmp_path / "labels")
    said = refused(folder, "-i", "image.png", "--threshold", "0.4")
    assert "--threshold is for models that find objects" in said


# --- on a delegate


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' delegate, which takes the network's RESIZE_NEAREST_NEIGHBOR."""
    if CC is None:
        pytest.skip("no C compiler here to build the delegate with")
    file = tmp_path_factory.mktemp("delegate") / "libtest_delegate.so"
    subprocess.run([CC, "-std=c11", "-O2", "-fPIC", "-shared", "-o", str(file), str(SOURCE), "-lm"], check=True)
    return file


@pytest.mark.parametrize(
    ("mode", "code", "verdict"),
    [
        ("correct", 0, "PASS"),
        ("fixed", 4, "FIXED_OUTPUT"),
        ("wrong", 4, "MISMATCH"),
        ("nan", 4, "FIXED_OUTPUT"),  # the runtime's own operator drops what is NaN
    ],
)
def test_verdicts_of_a_delegate(whole: Path, library: Path, mode: str, code: int, verdict: str) -> None:
    arguments = ["--compare", "-d", str(library), "--delegate-option", f"mode={mode}", "-i", "a.png"]
    entry = report(whole, *arguments, code=code)
    assert entry["nodes"]["delegated"] == 1
    assert entry["check"]["verdict"] == verdict
    assert entry["compare"]["verdict"] == verdict
    assert entry["cpu"]["check"]["verdict"] == "PASS"
    said = run(whole, *arguments).stdout
    assert "a.png: libtest_delegate.so, and beside it cpu" in said
    for found in entry["cpu"]["predictions"][0]["objects"]:
        assert f"{100 * found['score']:5.1f} %  at" in said


@pytest.mark.parametrize(
    ("mode", "code", "verdict"), [("correct", 0, "PASS"), ("fixed", 4, "FIXED_OUTPUT"), ("wrong", 4, "MISMATCH")]
)
def test_scores_of_a_delegate(whole: Path, library: Path, mode: str, code: int, verdict: str) -> None:
    """Its post-processing gets the scores from the delegate, and stays on the CPU."""
    arguments = ["-d", str(library), "--delegate-option", "take=logistic", "--delegate-option", f"mode={mode}"]
    entry = report(whole, *arguments, code=code)
    assert entry["nodes"] == {"total": 7, "delegated": 1, "partitions": 1}
    assert entry["check"]["verdict"] == verdict


@pytest.mark.runtimes
@pytest.mark.parametrize("runtime", OLD_RUNTIMES)
def test_old_runtimes(whole: Path, library: Path, tmp_path: Path, runtime: str) -> None:
    python = str(install_runtime(runtime, tmp_path) / "bin/python")
    for mode, code, verdict in (("correct", 0, "PASS"), ("fixed", 4, "FIXED_OUTPUT")):
        command = [python, "example.py", "--json", "--compare", "-d", str(library), "--delegate-option", f"mode={mode}"]
        done = subprocess.run(command, cwd=whole, capture_output=True, text=True, timeout=600)
        assert done.returncode == code, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert found["runtime"] == {"name": "tflite_runtime", "version": runtime}
        assert found["models"][0]["check"]["verdict"] == verdict
