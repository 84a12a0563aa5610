"""What the kinds of task share that answer once an input: they are measured and checked by the best label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from utils.recipe.schema import Recipe
from utils.tasks.counting import Confusion, Likeness

__all__ = ["Answers", "Measure"]


class Measure:
    """Counts the inputs whose highest output is the label."""

    def __init__(self, recipe: Recipe) -> None:
        self._confusion = Confusion(recipe.classes)
        self._likeness = Likeness()
        self._wrong: dict[str, int] = {}
        self._count = 0

    def add(
        self,
        index: int,
        truth: Any,
        outputs: Sequence[npt.NDArray[np.float32]],
        first: Sequence[npt.NDArray[np.float32]] | None,
    ) -> None:
        """Count one input; ``truth`` is its label."""
        scores = outputs[0].reshape(-1)
        answer = int(scores.argmax())
        self._count += 1
        self._confusion.add(np.asarray(truth), np.asarray(answer))
        if truth != answer:
            self._wrong[str(index)] = answer
        if first is not None:
            others = first[0].reshape(-1)
            self._likeness.add(float(answer == others.argmax()), float(np.abs(scores - others).mean()))

    def result(self) -> dict[str, Any]:
        """Top-1 in %, correct answers, and the answer to each input that was answered wrongly."""
        correct = self._count - len(self._wrong)
        counted = {"accuracy": round(100 * correct / self._count, 4), "correct": correct, "wrong": self._wrong}
        return counted | self._confusion.result() | self._likeness.result()


class Answers:
    """What example.py must say of the samples and of the example inputs."""

    def __init__(self, recipe: Recipe, labels: list[str]) -> None:
        self.recipe, self.labels = recipe, labels

    def golden_inputs(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The example inputs."""
        return inputs

    def asked(self, files: Sequence[str]) -> Sequence[str]:
        """The recipe's own files; of inputs of the evaluation set the first: the samples have the others."""
        return files if isinstance(self.recipe.examples, list) else files[:1]

    def differences(
        self,
        entry: Mapping[str, Any],
        evaluation: Mapping[str, Any],
        golden: Mapping[str, npt.NDArray[Any]],
        *,
        with_own_weights: bool,
    ) -> list[str]:
        """Compare samples with the evaluation, and answers with the recipe or with the golden tensors."""
        wrong = []
        if samples := entry.get("samples"):
            missed = [int(index) for index in evaluation["wrong"]]
            expected = samples["count"] - sum(index < samples["count"] for index in missed)
            if samples["correct"] != expected:
                wrong.append(f"{entry['file']}: {samples['correct']} samples right, the evaluation had {expected}")
        if not isinstance(self.recipe.examples, list):
            wanted = [self.labels[int(golden["output"][0].argmax())]]
        else:
            wanted = [] if with_own_weights else [each.label or "" for each in self.recipe.examples]
        for answer, label in zip(entry["predictions"], wanted, strict=False):
            best = answer["top"][0]["label"]
            if label and best != label:
                wrong.append(f"{entry['file']}: {answer['input']} gives {best!r}, not {label!r}")
        return wrong
