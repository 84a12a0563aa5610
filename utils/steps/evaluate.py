"""evaluate: run every variant over the evaluation set with the board's own code, and hold it against the gate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from utils import environment, example, files
from utils.errors import GateError
from utils.graph import layout, record
from utils.graph.step import Step
from utils.model import datasets, preprocess
from utils.recipe.fields import Variant
from utils.recipe.schema import Recipe
from utils.steps import main, say, show_progress


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Measure; write ``evaluation.json``.

    Per variant: the artifact's sha256 and size, accuracy (%), the confusion matrix (row: label, column: answer; of
    images, or of pixels), for classification correct answers and the answer to each image that was answered wrongly,
    for segmentation the intersection over union of each class present; and, for all but the first variant, how far
    it is from the first: share of equal answers (%), mean absolute error of the outputs.
    """
    examples = datasets.load(recipe, recipe.evaluation.dataset)
    runtime = example.load_runtime()
    models = []
    for variant in recipe.variants:
        models.append(example.Model(str(layout.model_file(recipe.name, variant)), runtime, environment.cores()))
        models[-1].bind(recipe.input.name, recipe.output.name)
    classes = recipe.output.shape[-1]
    counts = [Count(classes) for _ in models]
    begin = time.monotonic()
    for index, image in enumerate(examples.images):
        tensor = preprocess.tensor_of(image[np.newaxis], recipe.input)
        scores = [model.dequantise(model.run(model.quantise(tensor)))[0] for model in models]
        answers = [score.argmax(-1) for score in scores]
        truth: Any = examples.labels[index] if not examples.masks else examples.masks[index]
        for count, score, answer in zip(counts, scores, answers, strict=True):
            count.add(index, truth, answer if not examples.masks else _resized(answer, truth.shape))
            count.compare(score, scores[0], answer, answers[0])
        show_progress(index + 1, len(examples.images), f"{index + 1} of {len(examples.images)} images")
        if time.monotonic() - begin > 10:
            say(f"{index + 1} of {len(examples.images)} images")
            begin = time.monotonic()
    results = {
        variant: files.describe_file(layout.model_file(recipe.name, variant))
        | count.result(segmentation=bool(examples.masks), first=number == 0)
        for number, (variant, count) in enumerate(zip(recipe.variants, counts, strict=True))
    }
    for variant, result in results.items():
        unit = "mIoU on" if examples.masks else "of"
        say(f"{variant}: {result['accuracy']:.2f} % {unit} {len(examples.images):,} images")
    _gate(recipe, results, with_own_weights=step.own is not None)
    report = {
        "dataset": recipe.evaluation.dataset,
        "metric": recipe.evaluation.metric,
        "count": len(examples.images),
        "runtime": {"name": runtime.name, "version": runtime.version},
        "variants": results,
    }
    outputs.new(step.writes[0]).write_text(files.dump_json(report), encoding="utf-8")


def _resized(answer: npt.NDArray[np.int64], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A class map at the size of the mask that it is held against."""
    image = Image.fromarray(answer.astype(np.uint8))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.NEAREST))


class Count:
    """What one variant answered so far."""

    def __init__(self, classes: int) -> None:
        self._confusion = np.zeros((classes, classes), np.int64)
        self._wrong: dict[str, int] = {}
        self._images = 0
        self._same: list[float] = []
        self._error: list[float] = []

    def add(self, index: int, truth: Any, answer: Any) -> None:
        """One image: its label and the answer, or its mask and the class map."""
        self._images += 1
        truth, answer = np.asarray(truth), np.asarray(answer)
        counted = truth != datasets.IGNORED if truth.ndim else np.asarray(True)
        np.add.at(self._confusion, (truth[counted], answer[counted]), 1)
        if not truth.ndim and truth != answer:
            self._wrong[str(index)] = int(answer)

    def compare(self, scores: Any, others: Any, answer: Any, other: Any) -> None:
        """The same image's outputs and answers beside those of the first variant."""
        self._same.append(float(np.mean(answer == other)))
        self._error.append(float(np.abs(scores - others).mean()))

    def result(self, *, segmentation: bool, first: bool) -> dict[str, Any]:
        """The variant's part of ``evaluation.json``."""
        hit = np.diag(self._confusion)
        result: dict[str, Any] = {}
        if segmentation:
            present = np.flatnonzero(self._confusion.sum(1))
            union = self._confusion.sum(1) + self._confusion.sum(0) - hit
            iou = {str(index): round(float(100 * hit[index] / union[index]), 4) for index in present}
            result |= {"accuracy": round(sum(iou.values()) / len(iou), 4), "iou": iou}
        else:
            correct = self._images - len(self._wrong)
            result |= {"accuracy": round(100 * correct / self._images, 4), "correct": correct, "wrong": self._wrong}
        if len(hit) <= 100:  # a thousand classes make a million numbers
            result["confusion"] = self._confusion.tolist()
        if not first:
            result["agreement"] = round(100 * float(np.mean(self._same)), 4)
            result["mean_error"] = float(f"{np.mean(self._error):.3g}")  # further digits differ between CPUs
        return result


def _gate(recipe: Recipe, results: Mapping[Variant, dict[str, Any]], *, with_own_weights: bool = False) -> None:
    gate, wrong = recipe.evaluation.gate, []
    first = results[recipe.variants[0]]
    for variant, result in results.items():
        least = getattr(gate, variant)
        if (
            result["accuracy"] < least and not with_own_weights
        ):  # what a user's weights ought to reach, only the user knows
            wrong.append(
                f"{variant}: {result['accuracy']:.2f} %, {least - result['accuracy']:.2f} points below {least} %"
            )
        loss = round(first["accuracy"] - result["accuracy"], 4)
        if loss > gate.loss:
            wrong.append(
                f"{variant} loses {loss:.2f} points against {recipe.variants[0]}, {loss - gate.loss:.2f} more than "
                f"{gate.loss}"
            )
        if result.get("agreement", 100.0) < gate.agreement:
            wrong.append(
                f"{variant} agrees with {recipe.variants[0]} on {result['agreement']:.2f} %, at least {gate.agreement}"
            )
    if wrong:
        raise GateError(
            "the accuracy is outside the gate:\n  " + "\n  ".join(wrong),
            where=f"{recipe.where}: evaluation.gate",
            hint="train better or calibrate on more images; lower the gate only if less is good enough",
        )


if __name__ == "__main__":
    main(work)
