"""The task graph: reads ``recipes/``, yields tasks, does no work.

doit                     every model of the zoo
doit list                what can be built, a line each
doit mnist_bilinear      one model
doit mobilenet_v2 weights=FILE   the same network with your own weights
doit demo                both upsampling models on digits that it draws: no download
doit -n 1                one step at a time (otherwise one a core, at most four)
doit list --all --status MODEL     every step, and whether it would run (R) or is up to date (U)
doit clean MODEL         take away what was made of it
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

from doit import get_var
from doit.action import CmdAction
from doit.tools import config_changed

from utils import environment, own_weights, paths, plan, recipe
from utils.errors import ZooError
from utils.report import Report

try:
    RECIPES = recipe.load_all()
    DATABASE = paths.state()
    own_weights.choose(
        RECIPES, get_var("weights") or os.environ.get("ZOO_WEIGHTS"), get_var("weights_licence"), sys.argv[1:]
    )
except ZooError as error:
    sys.stderr.write(f"error: {error}\n")
    raise SystemExit(error.exit_code) from None

DOIT_CONFIG = {
    "minversion": "0.37.0",
    "default_tasks": [name for name, found in RECIPES.items() if found.group == "zoo"],
    "backend": "sqlite3",  # a kill leaves it old, but readable
    "dep_file": str(DATABASE),
    "continue": True,  # the models need nothing of each other: what can be built is built
    "reporter": Report,
    "num_process": environment.cores(),
    "par_type": "thread",  # every step is a process of its own already
    "verbosity": 2,
}


def _task(step: plan.Step) -> dict[str, Any]:
    run = CmdAction(
        step.command, shell=False, cwd=str(paths.ROOT), env=environment.pinned() | {"ZOO_PARENT": str(os.getpid())}
    )
    return {
        "basename": step.model,
        "name": step.name,
        "doc": step.doc,
        "actions": [run],
        "file_dep": [paths.relative(file) for file in (*step.reads, *step.code)],
        "targets": [paths.relative(file) for file in step.writes],
        "uptodate": [config_changed(step.config), step.is_current],  # the second is the truth: utils/record.py
        "io": {"capture": False},  # steps speak to the terminal themselves
        "clean": [step.clean],
    }


def task_models() -> Iterator[dict[str, Any]]:
    """Every model, its steps below it."""
    for name, found in RECIPES.items():
        yield {"basename": name, "name": None, "doc": found.summary}
        for step in plan.steps_of(found):
            yield _task(step)


def task_demo() -> dict[str, Any]:
    """both upsampling models on digits that the pipeline draws: no download"""
    return {"actions": None, "task_dep": [name for name, found in RECIPES.items() if found.group == "demo"]}
