"""validate: put the bundle together and run its example.py in it, as a user on the board would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from utils import bundle, plan, record
from utils.errors import ValidationError
from utils.recipe import Recipe
from utils.steps import main, say

#: Seconds that example.py may take for one bundle.
PATIENCE = 600


def work(recipe: Recipe, step: plan.Step, outputs: record.Outputs) -> None:
    """Fill the bundle, validate it; write its files and ``validation.json``: the verdict for each variant."""
    *files, validation = step.writes
    for file in files:
        outputs.new(file)
    bundle.fill(recipe, outputs.staging)
    report = _run_example(recipe, outputs)
    for entry in report["models"]:
        check, samples = entry["check"], entry["samples"]
        say(
            f"{entry['variant']}: {check['verdict']}, largest error {check['max_error']:.3g} "
            f"({check['unit']}, {check['tolerance']:g} allowed), {samples['correct']}/{samples['count']} samples right"
        )
        for timing in ("first_ms", "steady_ms"):  # of this machine and this hour: not of the model
            del entry[timing]
    outputs.new(validation).write_text(record.dump_json(report), encoding="utf-8")


def _run_example(recipe: Recipe, outputs: record.Outputs) -> dict[str, Any]:
    command = ["example.py", "--check", "--samples", "--json", "-t", "1", "-n", "1", "-i", "example_input.png"]
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            [sys.executable, *command], cwd=outputs.staging, env=alone, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise ValidationError(
            f"example.py took more than {PATIENCE} s", where=recipe.name, hint="run it by hand in the bundle"
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
