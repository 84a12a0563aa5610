"""What the build holds against the answers of example.py in the bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from utils.recipe.load import find_recipe
from utils.recipe.schema import Recipe
from utils.recipe.tables import Example
from utils.tasks import Answers, answers_of

LABELS = ["background", "cat", "dog"]
WRONG = {"wrong": {"3": 1, "120": 0}}


def answers(recipe: Recipe, labels: list[str]) -> Answers:
    return answers_of(recipe)(recipe, labels)


def digits(correct: int, best: str, **options: Any) -> list[str]:
    """A bundle whose examples are of the evaluation set: its first golden output answers "2"."""
    entry = {
        "file": "x_int8.tflite",
        "samples": {"count": 100, "correct": correct},
        "predictions": [
            {"input": "inputs/a.png", "top": [{"label": best, "score": 0.9}, {"label": "1", "score": 0.1}]}
        ],
    }
    golden = {"output": np.eye(10, dtype=np.int8)[[2, 5]][:, np.newaxis]}
    found = answers(find_recipe("demo_nearest"), [str(number) for number in range(10)])
    return found.differences(entry, WRONG, golden, **{"with_own_weights": False} | options)


def test_samples_are_right_as_often_as_in_the_evaluation() -> None:
    """Of its 100 the evaluation missed number 3; number 120 is none of them."""
    assert digits(99, "2") == []
    assert digits(100, "2") == ["x_int8.tflite: 100 samples right, the evaluation had 99"]


def test_a_file_gives_what_its_pixels_gave() -> None:
    assert digits(99, "4") == ["x_int8.tflite: inputs/a.png gives '4', not '2'"]
    assert digits(99, "4", with_own_weights=True)  # own weights too: both are the same file


def pictures(*best: str, own: bool = False) -> list[str]:
    recipe = find_recipe("resnet50")
    shown = [Example(source="a", label="tench"), Example(source="b")]
    found = answers(recipe.model_copy(update={"examples": shown}), ["tench", "shark"])
    entry = {"file": "x.tflite", "predictions": [{"input": str(n), "top": [{"label": b}]} for n, b in enumerate(best)]}
    return found.differences(entry, WRONG, {}, with_own_weights=own)


def test_a_picture_gives_the_label_of_the_recipe_where_it_has_one() -> None:
    assert pictures("tench", "shark") == []
    assert pictures("shark", "shark") == ["x.tflite: 0 gives 'shark', not 'tench'"]
    assert pictures("shark", "shark", own=True) == []


def segments(
    shares: dict[str, float], share: list[float] | None = None, label: str | None = "cat", *, own: bool = False
) -> list[str]:
    recipe = find_recipe("deeplabv3").model_copy(update={"examples": [Example(source="cat", label=label, share=share)]})
    listed = [{"label": name, "share": value} for name, value in shares.items()]
    entry = {"file": "x.tflite", "predictions": [{"input": "a.jpg", "classes": listed, "overlay": None}]}
    return answers(recipe, LABELS).differences(entry, {}, {}, with_own_weights=own)


@pytest.mark.parametrize(
    ("shares", "share", "said"),
    [
        ({"background": 70.0, "cat": 30.0}, None, []),
        ({"background": 70.0, "cat": 20.0, "dog": 10.0}, [19.0, 21.0], []),
        ({"background": 70.0, "dog": 30.0}, None, ["x.tflite: a.jpg has most of 'dog', not 'cat'"]),
        ({"background": 100.0}, None, ["x.tflite: a.jpg has most of 'background', not 'cat'"]),
        ({"cat": 22.5}, [19.0, 21.0], ["x.tflite: a.jpg has 22.50 % 'cat', 19 to 21 % are right"]),
    ],
)
def test_a_picture_shows_the_class_of_the_recipe(
    shares: dict[str, float], share: list[float] | None, said: list[str]
) -> None:
    assert segments(shares, share) == said
    assert segments(shares, share, own=True) == []
    assert segments(shares, None, None) == []


INPUTS = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4, 1)


@pytest.mark.parametrize(
    ("name", "count", "golden"),
    [("demo_nearest", 2, 2), ("resnet50", 2, 4), ("resnet50", 1, 2), ("deeplabv3", 2, 2), ("deeplabv3", 1, 2)],
)
def test_few_pictures_have_mirror_images_as_golden_inputs(name: str, count: int, golden: int) -> None:
    found = answers(find_recipe(name), LABELS).golden_inputs(INPUTS[:count])
    assert len(found) == golden
    np.testing.assert_array_equal(found[:count], INPUTS[:count])
    np.testing.assert_array_equal(found[count:], INPUTS[: golden - count, :, ::-1])


@pytest.mark.parametrize(("name", "asked"), [("demo_nearest", 1), ("resnet50", 3), ("deeplabv3", 3)])
def test_inputs_of_the_evaluation_set_are_asked_for_once(name: str, asked: int) -> None:
    """The samples hold the others."""
    assert list(answers(find_recipe(name), LABELS).asked(["a", "b", "c"])) == ["a", "b", "c"][:asked]
