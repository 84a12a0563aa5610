"""What is true of a detector's pictures, as text files of boxes have it, and how near its answers come: COCO's AP."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import example, limits
from utils.errors import DataError
from utils.untrusted import as_text, read_untrusted

__all__ = ["Answers", "Precision", "Truth", "agreement", "average_precision", "named_classes", "read_truth"]

_COLUMNS = "a line has a class, then centre x, centre y, width and height as shares of the picture"

#: What rounding to six digits, as YOLO's files have it, may add to a share.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Truth:
    """The objects that a picture shows.

    Attributes:
        boxes: float64, shape (K, 4): left, top, right, bottom in pixels of the picture; K may be 0.
        classes: int64, shape (K,), index into the recipe's labels.
        size: width and height of the picture.
    """

    boxes: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    size: tuple[int, int]


@dataclass(frozen=True)
class Answers:
    """The objects that a detector found in a picture, the highest score first.

    Attributes:
        boxes: float64, shape (K, 4): left, top, right, bottom in pixels of the picture.
        classes: int64, shape (K,), index into the recipe's labels, or none of theirs.
        scores: float32, shape (K,).
    """

    boxes: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    @classmethod
    def of(cls, objects: example.Objects, size: tuple[int, int], spec: dict[str, Any]) -> Answers:
        """The answers of a detector at the size of the picture; the board's own code brings them there."""
        return cls(example.in_picture(objects.boxes, size, spec), objects.classes, objects.scores)


@dataclass(frozen=True)
class Precision:
    """Average precision as COCO defines it (https://cocodataset.org/#detection-eval), in %.

    Attributes:
        ap: mean over the classes that the pictures show, and over IoU from 0.50 to 0.95 in steps of 0.05.
        ap50: the same at an IoU of 0.50.
        by_class: index of a class -> its AP; only classes that the pictures show.
        objects: how many objects the pictures show.
    """

    ap: float
    ap50: float
    by_class: dict[int, float]
    objects: int


def named_classes(labels: Sequence[str]) -> list[int]:
    """The indices of the labels that name a class: annotations number these, 0, 1, ..."""
    return [index for index, label in enumerate(labels) if label != example.UNNAMED]


def read_truth(file: Path, name: str, labels: Sequence[str], size: tuple[int, int]) -> Truth:
    """Read a text file of boxes as YOLO's tools write it: a line for each object, no line for a picture without any.

    Args:
        file: its path.
        name: its name in a message.
        labels: of the recipe; a class of the file counts those that are named.
        size: width and height of the picture.

    Raises:
        DataError: a line is malformed, its class has no label, or its box leaves the picture.
    """
    known, boxes, classes, another = named_classes(labels), [], [], "list another file of boxes"
    content = read_untrusted(file, where=name, error=DataError, hint=another, most=limits.BOXES_BYTES)
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        where, words = f"{name}, line {number}", line.split()
        if not words:
            continue
        try:
            index, numbers = int(words[0]), [float(word) for word in words[1:]]
            if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
                raise ValueError
        except ValueError:
            raise DataError(f"{as_text(line, 60)!r} is no box", where=where, hint=_COLUMNS) from None
        if not 0 <= index < len(known):
            raise DataError(
                f"class {index}, but the recipe names {len(known)} classes",
                where=where,
                hint=f"correct labels in the recipe, or {another}",
            )
        across, down, wide, high = numbers
        box = np.asarray([across - wide / 2, down - high / 2, across + wide / 2, down + high / 2])
        if not (wide > 0 and high > 0) or box.min() < -_ROUNDING or box.max() > 1 + _ROUNDING:
            raise DataError(
                f"the box {as_text(line, 60)!r} leaves the picture, or is empty", where=where, hint=_COLUMNS
            )
        boxes.append(np.clip(box, 0, 1) * [size[0], size[1], size[0], size[1]])
        classes.append(known[index])
    return Truth(np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(classes, np.int64), size)


def average_precision(truths: Sequence[Truth], answers: Sequence[Answers], labels: Sequence[str]) -> Precision:
    """Compute COCO's average precision with COCO's own code; answers of unnamed classes count nowhere.

    Args:
        truths: what each picture shows.
        answers: what was found in each, in the same order. Scores have no threshold: each cut of the list counts.
        labels: of the recipe.

    Raises:
        DataError: no picture shows an object, so there is nothing to measure.
    """
    if not any(len(truth.classes) for truth in truths):
        raise DataError("no picture of the evaluation set shows an object", hint="name another data set")
    known = named_classes(labels)
    images = [
        {"id": number, "width": truth.size[0], "height": truth.size[1]} for number, truth in enumerate(truths, start=1)
    ]
    shown = [
        {"image_id": number, "category_id": int(index), "iscrowd": 0, **_as_coco(box)}
        for number, truth in enumerate(truths, start=1)
        for box, index in zip(truth.boxes, truth.classes, strict=True)
    ]
    for number, entry in enumerate(shown, start=1):
        entry["id"] = number
    found = [
        {"image_id": number, "category_id": int(index), "score": float(score), **_as_coco(box)}
        for number, answer in enumerate(answers, start=1)
        for box, index, score in zip(answer.boxes, answer.classes, answer.scores, strict=True)
        if index in known
    ]
    if not found:  # COCO's code takes no empty list
        present = sorted({int(index) for truth in truths for index in truth.classes})
        return Precision(0.0, 0.0, dict.fromkeys(present, 0.0), len(shown))
    categories = [{"id": index, "name": labels[index]} for index in known]
    table = _evaluate({"images": images, "annotations": shown, "categories": categories, "info": {}}, found)
    every = table[..., 0, -1]  # over all sizes of objects, with up to 100 answers a picture: (IoU, recall, class)
    measured = [column for column in range(every.shape[2]) if every[0, 0, column] > -1]  # -1: no picture shows it
    by_class = {known[column]: 100 * float(every[:, :, column].mean()) for column in measured}
    return Precision(
        100 * float(every[:, :, measured].mean()), 100 * float(every[0][:, measured].mean()), by_class, len(shown)
    )


def _as_coco(box: npt.NDArray[np.float64]) -> dict[str, Any]:
    left, upper, right, lower = (float(edge) for edge in box)
    return {"bbox": [left, upper, right - left, lower - upper], "area": (right - left) * (lower - upper)}


def _evaluate(truth: dict[str, Any], found: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """The precision at each IoU, recall, class, size and length of the list of answers; -1 where nothing is shown."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        known = COCO()
        known.dataset = truth
        known.createIndex()
        run = COCOeval(known, known.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
    return np.asarray(run.eval["precision"], np.float64)


def agreement(first: Sequence[example.Objects], second: Sequence[example.Objects], allowed: example.Matching) -> float:
    """The share of the objects that both runs find alike, in %; 100 where neither has to find any."""
    pairs = [
        example.match_objects(one, other, allowed)
        for ours, theirs in zip(first, second, strict=True)
        for one, other in ((ours, theirs), (theirs, ours))
    ]
    wanted = sum(matched.wanted for matched in pairs)
    right = sum(sum(error <= allowed.score + 1e-6 for error in matched.errors) for matched in pairs)
    return 100.0 * right / wanted if wanted else 100.0
