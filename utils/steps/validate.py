"""validate: put the bundle together and run its example.py in it, as a user on the board would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np

from utils import files, paths
from utils.bundle import bundle
from utils.errors import ValidationError
from utils.graph import layout, record
from utils.graph.step import Step
from utils.lifeline import tied
from utils.model import datasets
from utils.recipe.schema import Recipe
from utils.steps import main, say
from utils.tasks import answers_of

#: Seconds that example.py may take for one bundle.
TIMEOUT_S = 600


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Fill the bundle, validate it; write its files and ``validation.json``: the verdict for each variant."""
    *bundled, validation = step.writes
    for file in bundled:
        outputs.new(file, file.relative_to(paths.work(recipe.name) / "bundle").as_posix())
    bundle.fill(recipe, outputs.staging, with_own_weights=step.own is not None)
    report = _run_example(recipe, outputs)
    _compare(recipe, outputs, report, with_own_weights=step.own is not None)
    for entry in report["models"]:
        check, samples = entry["check"], entry.get("samples")
        right = f", {samples['correct']}/{samples['count']} samples right" if samples else ""
        say(
            f"{entry['variant']}: {check['verdict']}, largest error {check['max_error']:.3g} "
            f"({check['unit']}, {check['tolerance']:g} allowed){right}"
        )
        # What differs from one CPU or hour to the next is not of the model: times, and the last bits of floats.
        del entry["first_ms"], entry["steady_ms"]
        if check["unit"] == "absolute":
            del check["max_error"], check["mean_error"], entry["predictions"]
            check.pop("min_iou", None)
    outputs.new(validation).write_text(files.dump_json(report), encoding="utf-8")


def _compare(recipe: Recipe, outputs: record.Outputs, report: dict[str, Any], *, with_own_weights: bool) -> None:
    """Hold what the board's own reading of files gave against what the build knows without files.

    The golden inputs and the evaluation never were a file: a slip in reading one shows only here.
    """
    evaluation = files.load_json(paths.work(recipe.name) / "evaluation.json")
    answers, wrong = answers_of(recipe)(recipe, datasets.labels(recipe)), []
    for entry in report["models"]:
        variant = entry["variant"]
        with np.load(outputs.staging / f"golden_{variant}.npz", allow_pickle=False) as golden:
            known = evaluation["variants"][variant]
            wrong += answers.differences(entry, known, golden, with_own_weights=with_own_weights)
    if wrong:
        raise ValidationError(
            "example.py and the build give different answers:\n  " + "\n  ".join(wrong),
            where=recipe.name,
            hint="input in the recipe, or the preprocessing in utils/example.py, is wrong",
        )


def _run_example(recipe: Recipe, outputs: record.Outputs) -> dict[str, Any]:
    asked = answers_of(recipe)(recipe, datasets.labels(recipe)).asked(layout.example_files(recipe))
    command = ["example.py", "--check", "--json", "-t", "1", "-n", "1", "--top", "21", "-i", *asked]
    command += ["-d", "cpu"]  # also on a host that has an NPU
    command += ["--samples"] if layout.has_samples(recipe) else []
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=outputs.staging,
            env=alone,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            preexec_fn=tied(),
        )
    except subprocess.TimeoutExpired:
        raise ValidationError(
            f"example.py took more than {TIMEOUT_S} s", where=recipe.name, hint="run it by hand in the bundle"
        ) from None
    if done.returncode in (0, 4):
        report: dict[str, Any] = json.loads(done.stdout)
        wrong = [entry for entry in report["models"] if entry["check"]["verdict"] != "PASS"]
        if not wrong:
            return report
        lines = [
            f"{entry['file']}: {entry['check']['verdict']}, largest error {entry['check']['max_error']} "
            f"({entry['check']['unit']}, {entry['check']['tolerance']} allowed): {entry['check']['remedy']}"
            for entry in wrong
        ]
    else:
        lines = [f"example.py ended with exit code {done.returncode}", *done.stderr.strip().splitlines()[-8:]]
    raise ValidationError(
        "the bundle is wrong:\n  " + "\n  ".join(lines),
        where=recipe.name,
        hint=f"nothing was put into artifacts/; the models are in build/{recipe.name}/",
    )


if __name__ == "__main__":
    main(work)
