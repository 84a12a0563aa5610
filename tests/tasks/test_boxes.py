"""Files of boxes, and the average precision of what a detector finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils import example
from utils.errors import DataError
from utils.tasks.detection import boxes

#: Two classes, and between them a number of the output that names none.
LABELS = ["cat", "???", "dog"]


def truth(*entries: tuple[int, list[float]], size: tuple[int, int] = (100, 100)) -> boxes.Truth:
    corners = np.asarray([corner for _, corner in entries], np.float64).reshape(-1, 4)
    return boxes.Truth(corners, np.asarray([index for index, _ in entries], np.int64), size)


def answers(*entries: tuple[int, float, list[float]]) -> boxes.Answers:
    corners = np.asarray([corner for _, _, corner in entries], np.float64).reshape(-1, 4)
    numbers, scores = ([entry[place] for entry in entries] for place in (0, 1))
    return boxes.Answers(corners, np.asarray(numbers, np.int64), np.asarray(scores, np.float32))


def read(tmp_path: Path, text: str | bytes) -> boxes.Truth:
    file = tmp_path / "0.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return boxes.read_truth(file, "picture.txt", LABELS, (200, 100))


def test_a_file_of_boxes_counts_the_named_classes(tmp_path: Path) -> None:
    found = read(tmp_path, "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.25 0.2 0.5\n")
    assert found.classes.tolist() == [2, 0]
    assert found.boxes.tolist() == [[80.0, 30.0, 120.0, 70.0], [0.0, 0.0, 40.0, 50.0]]


def test_a_picture_without_any_object(tmp_path: Path) -> None:
    found = read(tmp_path, "")
    assert found.boxes.shape == (0, 4)
    assert found.classes.shape == (0,)


def test_a_box_that_rounding_moved_over_the_edge_is_cut(tmp_path: Path) -> None:
    found = read(tmp_path, "0 0.5 0.500002 1.0 1.0\n")
    assert found.boxes.tolist() == [[0.0, pytest.approx(0.0002), 200.0, 100.0]]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0 0.5 0.5 0.2\n", "'0 0.5 0.5 0.2' is no box"),
        ("0 0.5 0.5 0.2 0.2 0.9\n", "is no box"),
        ("cat 0.5 0.5 0.2 0.2\n", "is no box"),
        ("0 0.5 nan 0.2 0.2\n", "is no box"),
        ("0 0.5 0.5 inf 0.2\n", "is no box"),
        (b"\xff\xfe\x00\x00\n", "is no box"),
        ("2 0.5 0.5 0.2 0.2\n", "class 2, but the recipe names 2 classes"),
        ("-1 0.5 0.5 0.2 0.2\n", "class -1"),
        ("0 0.95 0.5 0.2 0.2\n", "leaves the picture"),
        ("0 0.5 -0.5 0.2 0.2\n", "leaves the picture"),
        ("0 0.5 0.5 0 0.2\n", "or is empty"),
    ],
)
def test_a_malformed_box_is_named_with_its_line(tmp_path: Path, text: str | bytes, what: str) -> None:
    first = b"0 0.5 0.5 0.2 0.2\n"
    with pytest.raises(DataError, match=r"picture.txt, line 2") as caught:
        read(tmp_path, first + (text if isinstance(text, bytes) else text.encode()))
    assert what in caught.value.what
    assert caught.value.hint


def test_a_file_of_boxes_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than"):
        read(tmp_path, b"0 0.5 0.5 0.2 0.2\n" * 100_000)


def test_right_answers_have_full_precision() -> None:
    shown = [truth((0, [10, 10, 50, 50]), (2, [60, 60, 90, 90])), truth((2, [0, 0, 100, 40]))]
    found = [
        answers((0, 0.9, [10, 10, 50, 50]), (2, 0.8, [60, 60, 90, 90])),
        answers((2, 0.3, [0, 0, 100, 40])),
    ]
    precision = boxes.average_precision(shown, found, LABELS)
    assert precision.ap == precision.ap50 == pytest.approx(100.0)
    assert precision.by_class == {0: pytest.approx(100.0), 2: pytest.approx(100.0)}
    assert precision.objects == 3


def test_a_box_that_is_half_off_counts_at_low_iou_only() -> None:
    """An IoU of 0.6 is right at 0.50, 0.55 and 0.60: three of ten."""
    shown, found = [truth((0, [0, 0, 100, 100]))], [answers((0, 0.9, [0, 0, 100, 60]))]
    precision = boxes.average_precision(shown, found, LABELS)
    assert precision.ap50 == pytest.approx(100.0)
    assert precision.ap == pytest.approx(30.0)


def test_precision_by_hand() -> None:
    """Two cats; of the answers, in the order of their scores: right, wrong, right.

    Precision is 1 up to a recall of 0.5, then 2/3: 51 and 50 of COCO's 101 points of recall.
    """
    shown = [truth((0, [0, 0, 40, 40]), (0, [50, 50, 90, 90]))]
    found = [answers((0, 0.9, [0, 0, 40, 40]), (0, 0.8, [50, 0, 90, 40]), (0, 0.7, [50, 50, 90, 90]))]
    precision = boxes.average_precision(shown, found, LABELS)
    assert precision.ap50 == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)


def test_a_class_that_no_picture_shows_does_not_count() -> None:
    shown = [truth((0, [0, 0, 40, 40]))]
    found = [
        answers((0, 0.9, [0, 0, 40, 40]), (2, 0.99, [0, 0, 40, 40]), (1, 1.0, [0, 0, 9, 9]), (90, 1, [0, 0, 9, 9]))
    ]
    precision = boxes.average_precision(shown, found, LABELS)
    assert precision.ap == pytest.approx(100.0)
    assert set(precision.by_class) == {0}


@pytest.mark.parametrize("found", [answers(), answers((1, 0.9, [0.0, 0.0, 40.0, 40.0]))])
def test_no_detection_is_a_precision_of_nought(found: boxes.Answers) -> None:
    precision = boxes.average_precision([truth((2, [0, 0, 40, 40]))], [found], LABELS)
    assert (precision.ap, precision.ap50, precision.by_class) == (0.0, 0.0, {2: 0.0})


def test_pictures_without_objects_cannot_measure() -> None:
    with pytest.raises(DataError, match="no picture of the evaluation set shows an object"):
        boxes.average_precision([truth()], [answers((0, 0.9, [0, 0, 40, 40]))], LABELS)


def test_an_answer_in_a_picture_without_objects_costs_precision() -> None:
    shown = [truth((0, [0, 0, 40, 40])), truth()]
    found = [answers((0, 0.8, [0, 0, 40, 40])), answers((0, 0.9, [0, 0, 40, 40]))]
    assert boxes.average_precision(shown, found, LABELS).ap == pytest.approx(50.0)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    boxes.average_precision([truth((0, [0, 0, 40, 40]))], [answers((0, 0.9, [0, 0, 40, 40]))], LABELS)
    assert capfd.readouterr() == ("", "")


def test_answers_are_brought_to_the_picture() -> None:
    spec: dict[str, Any] = {"shape": [1, 300, 300, 3], "fit": "stretch"}
    objects = example.Objects(np.asarray([[0.25, -0.5, 0.5, 2.0]], np.float32), np.asarray([2]), np.ones(1), 0)
    assert boxes.Answers.of(objects, (640, 480), spec).boxes.tolist() == [[0.0, 120.0, 640.0, 240.0]]


def test_agreement_counts_objects() -> None:
    def objects(*entries: tuple[int, float, list[float]]) -> example.Objects:
        given = answers(*entries)
        return example.Objects(given.boxes.astype(np.float32), given.classes, given.scores, 0)

    allowed = example.Matching(0.5, 0.05, 0.9, 10)
    cat, dog = (0, 0.9, [0.0, 0.0, 0.5, 0.5]), (2, 0.8, [0.5, 0.5, 1.0, 1.0])
    assert boxes.agreement([objects(cat, dog)], [objects(dog, cat)], allowed) == 100.0
    assert boxes.agreement([objects(cat, dog)], [objects(cat)], allowed) == pytest.approx(200 / 3)
    assert boxes.agreement([objects()], [objects()], allowed) == 100.0
