"""evaluate: run every variant over the evaluation set with the board's own code, and hold it against the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import datasets, example, files, plan, preprocess, record
from utils.errors import GateError
from utils.recipe import Recipe
from utils.steps import main, say


def work(recipe: Recipe, step: plan.Step, outputs: record.Outputs) -> None:
    """Measure; write ``evaluation.json``.

    Per variant: the artifact's sha256 and size, correct answers, accuracy (%), the confusion matrix (row: label,
    column: answer), and the answer to each image that was answered wrongly.
    """
    examples = datasets.load(recipe, recipe.evaluation.dataset)
    inputs = preprocess.tensor_of(examples.images, recipe.input)
    runtime = example.load_runtime()
    results: dict[str, Any] = {}
    for variant in recipe.variants:
        file = plan.model_file(recipe.name, variant)
        answers = _answers(recipe, file, runtime, inputs)
        correct = int((answers == examples.labels).sum())
        confusion = np.zeros((len(recipe.labels), len(recipe.labels)), int)
        np.add.at(confusion, (examples.labels, answers), 1)
        wrong = np.flatnonzero(answers != examples.labels)
        results[variant] = {
            **files.facts(file),
            "correct": correct,
            "accuracy": round(100 * correct / len(answers), 4),
            "confusion": confusion.tolist(),
            "wrong": {str(index): int(answers[index]) for index in wrong},
        }
        say(f"{variant}: {results[variant]['accuracy']:.2f} % of {len(answers):,} images")
    _gate(recipe, results)
    report = {
        "dataset": recipe.evaluation.dataset,
        "metric": recipe.evaluation.metric,
        "count": len(inputs),
        "runtime": {"name": runtime.name, "version": runtime.version},
        "variants": results,
    }
    outputs.new(step.writes[0]).write_text(files.dump_json(report), encoding="utf-8")


def _answers(
    recipe: Recipe, file: Path, runtime: example.Runtime, inputs: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    model = example.Model(str(file), runtime, threads=1)
    model.bind(recipe.input.name, recipe.output.name)
    tensors = model.quantise(inputs)
    return np.asarray([model.run(tensor[np.newaxis]).argmax() for tensor in tensors], np.int64)


def _gate(recipe: Recipe, results: dict[str, Any]) -> None:
    gate = recipe.evaluation.gate
    wrong = []
    for variant, result in results.items():
        least = getattr(gate, variant)
        if result["accuracy"] < least:
            wrong.append(
                f"{variant}: {result['accuracy']:.2f} %, {least - result['accuracy']:.2f} points below {least} %"
            )
    if {"float32", "int8"} <= results.keys():
        loss = round(results["float32"]["accuracy"] - results["int8"]["accuracy"], 4)
        if loss > gate.loss:
            wrong.append(f"int8 loses {loss:.2f} points against float32, {loss - gate.loss:.2f} more than {gate.loss}")
    if wrong:
        raise GateError(
            "the accuracy is outside the gate:\n  " + "\n  ".join(wrong),
            where=f"recipes/{recipe.folder}/recipe.toml: evaluation.gate",
            hint="train better or calibrate on more images; lower the gate only if less is good enough",
        )


if __name__ == "__main__":
    main(work)
