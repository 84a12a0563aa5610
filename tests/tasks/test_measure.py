"""What each kind of task counts, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from utils import example
from utils.recipe.load import find_recipe
from utils.recipe.schema import Recipe
from utils.tasks import Measure, measure_of
from utils.tasks.counting import Confusion, Likeness
from utils.tasks.segmentation.measure import IGNORED


def recipe_of(name: str, classes: int) -> Recipe:
    """A recipe with so many classes."""
    found = find_recipe(name)
    shape = [*found.outputs[0].shape[:-1], classes]
    output = found.outputs[0].model_copy(update={"shape": shape})
    return found.model_copy(update={"output": output, "labels": [f"class {number}" for number in range(classes)]})


def scores(*answers: int, classes: int = 3) -> list[Any]:
    """An output with these classes as the highest of each position."""
    return [np.eye(classes, dtype=np.float32)[list(answers)][np.newaxis]]


def test_a_classification_counts_right_answers_and_names_wrong_ones() -> None:
    measure = measure_of(find_recipe("demo_nearest"))(recipe_of("demo_nearest", 3))
    for index, (truth, answer) in enumerate([(0, 0), (1, 2), (2, 2), (1, 1)]):
        measure.add(index, truth, scores(answer), None)
    assert measure.result() == {
        "accuracy": 75.0,
        "correct": 3,
        "wrong": {"1": 2},
        "confusion": [[1, 0, 0], [0, 1, 1], [0, 0, 1]],
    }


def test_a_thousand_classes_have_no_confusion_matrix() -> None:
    measure = measure_of(find_recipe("resnet50"))(recipe_of("resnet50", 101))
    measure.add(0, 100, scores(100, classes=101), None)
    assert "confusion" not in measure.result()


def test_a_later_variant_is_held_against_the_first() -> None:
    measure = measure_of(find_recipe("demo_nearest"))(recipe_of("demo_nearest", 3))
    measure.add(0, 0, scores(0), scores(0))
    measure.add(1, 0, scores(1), scores(0))
    found = measure.result()
    assert (found["agreement"], found["mean_error"]) == (50.0, float(f"{(0 + 2 / 3) / 2:.3g}"))


def segments(truths: list[Any], answers: list[Any], firsts: list[Any] | None = None) -> dict[str, Any]:
    measure: Measure = measure_of(find_recipe("deeplabv3"))(recipe_of("deeplabv3", 3))
    for index, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
        first = None if firsts is None else maps(firsts[index])
        measure.add(index, np.asarray(truth, np.uint8), maps(answer), first)
    return measure.result()


def maps(answer: Any) -> list[Any]:
    return [np.eye(3, dtype=np.float32)[np.asarray(answer)][np.newaxis]]


def test_miou_is_the_mean_over_the_classes_of_the_masks() -> None:
    """Class 0: 3 of 6 pixels; class 1: 2 of 3. Class 2 is in no mask: it has no IoU, and costs class 0 two pixels."""
    found = segments([[[0, 0, 0, 1]], [[1, 1, 0, 0]]], [[[0, 0, 2, 1]], [[1, 0, 2, 0]]])
    assert found["iou"] == {"0": 50.0, "1": 66.6667}
    assert found["accuracy"] == pytest.approx((50 + 66.6667) / 2, abs=1e-4)
    assert found["confusion"] == [[3, 0, 2], [1, 2, 0], [0, 0, 0]]


def test_pixels_that_are_ignored_do_not_count() -> None:
    whole, ignored = segments([[[0, 1]]], [[[0, 2]]]), segments([[[0, IGNORED]]], [[[0, 2]]])
    assert (whole["accuracy"], ignored["accuracy"]) == (50.0, 100.0)


def test_an_answer_is_measured_at_the_size_of_its_mask() -> None:
    found = segments([[[0, 0, 1, 1], [0, 0, 1, 1]]], [[[0, 1]]])
    assert found["accuracy"] == 100.0
    assert segments([[[0, 1]]], [[[0, 0, 1, 1], [0, 0, 1, 1]]])["accuracy"] == 100.0


def test_pixels_agree_with_the_first_variant() -> None:
    found = segments([[[0, 0, 0, 1]]], [[[0, 0, 1, 1]]], [[[0, 0, 0, 1]]])
    assert found["agreement"] == 75.0


def test_what_is_first_is_like_nothing() -> None:
    assert Likeness().result() == {}


def test_a_confusion_adds_up() -> None:
    counted = Confusion(2)
    counted.add(np.asarray([0, 0, 1]), np.asarray([0, 0, 0]))
    assert counted.result() == {"confusion": [[2, 0], [1, 0]]}


@pytest.mark.parametrize("name", ["demo_nearest", "deeplabv3"])
def test_the_board_compares_what_the_bundle_keeps(name: str) -> None:
    """Golden outputs have the shape that example.py asks for."""
    recipe = find_recipe(name)
    outputs = [output.model_dump(mode="json") for output in recipe.outputs]
    task = example.TASKS[recipe.task](recipe.input.model_dump(mode="json"), outputs)
    (kept,) = task.kept([np.zeros(recipe.outputs[0].shape, np.float32)])
    stride = recipe.outputs[0].golden_stride
    assert kept.shape == (np.zeros(recipe.outputs[0].shape)[:, ::stride, ::stride].shape if stride > 1 else kept.shape)
    assert kept.shape[-1] == recipe.classes == task.classes
