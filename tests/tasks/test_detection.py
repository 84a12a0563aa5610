"""What a detector's recipe is measured by and held against: objects at the size of each picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from utils.errors import DataError
from utils.recipe.load import find_recipe
from utils.recipe.tables import Example, Shown
from utils.sources.source import Source
from utils.tasks import answers_of, measure_of, read_truth_of, task_of
from utils.tasks.detection import boxes

RECIPE = find_recipe("ssd_mobilenet_v1")
SOURCE = Source("7.txt", (), 1, "0" * 64, None, "MIT", "boxes")
CAT, DOG = (RECIPE.labels.index(name) for name in ("cat", "dog"))  # type: ignore[union-attr]  # a list


def outputs(*found: tuple[int, float, list[float]]) -> list[np.ndarray]:
    """The outputs in the order of the recipe: boxes, classes, scores, count."""
    raw = [np.zeros((1, 10, 4), np.float32), np.zeros((1, 10), np.float32), np.zeros((1, 10), np.float32)]
    for place, (index, score, box) in enumerate(found):
        raw[0][0, place], raw[1][0, place], raw[2][0, place] = box, index, score
    return [*raw, np.asarray([len(found)], np.float32)]


def test_boxes_are_read_at_the_size_that_a_viewer_shows(tmp_path: Path) -> None:
    """A phone's picture lies on its side in the file; its EXIF says so, and the graph sees it upright."""
    file, picture = tmp_path / "7.txt", tmp_path / "7.jpg"
    file.write_text("16 0.5 0.5 1.0 0.5\n")
    read = read_truth_of(RECIPE)
    assert read is not None
    for turn, size in ((1, (80, 40)), (6, (40, 80))):
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.new("RGB", (80, 40)).save(picture, exif=exif)
        truth = read(RECIPE, SOURCE, file, picture)
        assert truth.size == size
        assert truth.boxes.tolist() == [[0, size[1] / 4, size[0], size[1] * 3 / 4]]
        assert truth.classes.tolist() == [DOG]  # the 17th class of those that have a name
    file.write_text("80 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"7\.txt, line 1: class 80, but the recipe names 80 classes"):
        read(RECIPE, SOURCE, file, picture)


def test_precision_and_agreement() -> None:
    truth = boxes.Truth(np.asarray([[0.0, 0, 100, 100], [100, 100, 200, 200]]), np.asarray([CAT, DOG]), (200, 200))
    cat, dog = (CAT, 0.9, [0.0, 0.0, 0.5, 0.5]), (DOG, 0.8, [0.5, 0.5, 1.0, 1.0])
    both, one = (measure_of(RECIPE)(RECIPE) for _ in range(2))
    both.add(0, truth, outputs(cat, dog), None)
    assert both.result() == {
        "accuracy": 100.0, "ap50": 100.0, "objects": 2, "ap": {str(CAT): 100.0, str(DOG): 100.0},
    }  # fmt: skip
    one.add(0, truth, outputs(cat), outputs(dog, cat))
    assert one.result() == {
        "accuracy": 50.0, "ap50": 50.0, "objects": 2, "ap": {str(CAT): 100.0, str(DOG): 0.0}, "agreement": 66.6667,
    }  # fmt: skip


def found(*entries: tuple[str, list[float]]) -> dict[str, Any]:
    objects = [{"label": label, "score": 0.9, "box": box} for label, box in entries]
    return {"file": "it.tflite", "predictions": [{"input": "inputs/a.jpg", "objects": objects}]}


@pytest.mark.parametrize(
    ("shown", "least", "answered", "says"),
    [
        ([("cat", [0, 0, 10, 10])], None, [("cat", [0, 0, 10, 8])], ""),
        ([("cat", [0, 0, 10, 10])], None, [("cat", [0, 0, 10, 4])], "0 of 1 objects right, not 1: cat 90 %"),
        ([("cat", [0, 0, 10, 10])], None, [("dog", [0, 0, 10, 10])], "0 of 1 objects right, not 1: dog 90 %"),
        ([("cat", [0, 0, 10, 10])], None, [], "0 of 1 objects right, not 1: nothing"),
        ([("cat", [0, 0, 10, 10]), ("dog", [5, 5, 20, 20])], 1, [("cat", [0, 0, 10, 10])], ""),
        ([], None, [], ""),
        ([], None, [("cat", [0, 0, 10, 10])], "0 of 0 objects right, not 0: cat 90 %"),
        (None, None, [("cat", [0, 0, 10, 10])], ""),
    ],
)
def test_example_pictures_are_held_against_what_they_show(
    shown: list[tuple[str, list[float]]] | None, least: int | None, answered: Any, says: str
) -> None:
    objects = None if shown is None else [Shown(label=label, box=[float(x) for x in box]) for label, box in shown]
    recipe = RECIPE.model_copy(update={"examples": [Example(source="cat", objects=objects, found=least)]})
    answers = answers_of(recipe)(recipe, list(recipe.labels))
    wrong = answers.differences(found(*answered), {}, {}, with_own_weights=False)
    assert wrong == ([f"it.tflite: inputs/a.jpg has {says}"] if says else [])
    assert answers.differences(found(*answered), {}, {}, with_own_weights=True) == []


def test_what_a_board_may_answer() -> None:
    prediction = task_of(RECIPE).prediction
    whole = {"label": "cat", "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0]}
    told = {"input": "a.jpg", "objects": [whole], "below": whole, "broken": 0, "overlay": None}
    assert prediction.model_validate(told).model_dump() == told
    for wrong in ({"box": [1.0, 2.0]}, {"box": [1.0, 2.0, 3.0, float("nan")]}, {"score": float("inf")}, {"more": 1}):
        with pytest.raises(ValueError, match="validation error"):
            prediction.model_validate({**told, "objects": [{**whole, **wrong}]})


def test_the_published_file_is_what_the_recipe_says() -> None:
    """80 of 90 numbers have a name; the input is the pixel itself; the published sha256 is that of the release."""
    assert isinstance(RECIPE.labels, list)
    assert len(boxes.named_classes(RECIPE.labels)) == 80
    assert {output.kind for output in RECIPE.outputs} == {"boxes", "classes", "scores", "count"}
    assert RECIPE.sources["model"].sha256 == "61d598093ed03ed41aa47c3a39a28ac01e960d6a810a5419b9a5016a1e9c469b"
    assert len(RECIPE.rows("evaluation")) == 128
    first = RECIPE.rows("evaluation")[0]
    assert first.truth is not None
    assert first.truth.urls[0].endswith("/object_detection/labels/val2017/000000000139.txt")
