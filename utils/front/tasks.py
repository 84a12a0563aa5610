"""Steps as doit's tasks: each runs in a process of its own, and its record says whether it has to."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from doit.exceptions import TaskFailed
from doit.task import Task, dict_to_task

from utils import paths
from utils.errors import ZooError
from utils.front.action import run_program
from utils.front.outlook import is_current
from utils.front.report import Cleaning
from utils.front.sharing import StepProgram, run_step
from utils.graph import layout, plan
from utils.graph.step import Step
from utils.npu import vela
from utils.recipe.load import BrokenModel
from utils.recipe.schema import Recipe

__all__ = [
    "REQUIRE_NPU",
    "broken_task",
    "check_npu",
    "compile_task",
    "explain_task",
    "step_task",
    "vela_file_task",
]

#: The option of every Vela task.
REQUIRE_NPU = {
    "name": "require_npu",
    "long": "require-npu",
    "type": bool,
    "default": False,
    "help": "fail when an operator stays on the CPU",
}


def step_task(step: Step, steps: Sequence[Step]) -> dict[str, Any]:
    """The sub-task of one step of a model.

    The step's record alone tells whether it has to run, by the contents of all that it reads. So doit gets no file_dep,
    for which it would keep a database of its own: what is not there cannot be damaged, locked or full.

    Args:
        step: which.
        steps: all of the model's, of which some write what it reads.
    """
    reads = {*step.reads}
    before = [other.name for other in steps if not reads.isdisjoint(other.writes)]
    return {
        "basename": step.model,
        "name": step.name,
        "doc": step.doc,
        "actions": [run_step(step)],
        "task_dep": [f"{step.model}:{name}" for name in before],
        "targets": [paths.relative(file) for file in step.writes],
        "uptodate": [partial(is_current, step)],
        "meta": {"steps": [step]},
        "clean": [Cleaning(step.clean, "its files and its record")],
    }


def broken_task(name: str, broken: BrokenModel) -> dict[str, Any]:
    """The task of a model whose recipe does not load: it fails with the reason, and other models build."""

    def fail() -> TaskFailed:
        return TaskFailed(str(broken.error))

    return {"basename": name, "doc": f"broken: {broken.reason}", "actions": [fail]}


def check_npu(steps: Sequence[Step], require_npu: bool) -> TaskFailed | None:
    """The failure of a Vela task that must leave no operator on the CPU; None where all is well."""
    try:
        vela.require_npu([step.writes[-1] for step in steps] if require_npu else [])
    except ZooError as error:
        return TaskFailed(str(error))
    return None


def compile_task(recipe: Recipe, steps: Sequence[Step], clean: Callable[[], object]) -> Task:
    """The task that compiles one model for several BSPs; no file_dep and no targets: it builds nothing before it.

    Each result gets into the bundle at once: the next BSP's Vela may not be installed.

    Args:
        recipe: of the model.
        steps: one a BSP.
        clean: removes what they wrote.
    """
    model, file = recipe.name, layout.npu_file(recipe)
    names = ", ".join(step.name.removeprefix("vela-") for step in steps)

    def find_model() -> TaskFailed | None:
        return None if file.is_file() else TaskFailed(f"there is no {paths.relative(file)}: doit {model} makes it")

    def check(require_npu: bool) -> TaskFailed | None:
        return check_npu(steps, require_npu)

    def is_compiled(task: Task) -> bool:
        asked = (task.options or {}).get("require_npu")
        return not asked and all(map(is_current, steps)) and plan.imx93_step(recipe).is_current()

    def put() -> StepProgram:
        command = [sys.executable, "-m", "utils.steps.imx93", model, "imx93"]
        return StepProgram(command, lambda: plan.imx93_step(recipe), travels=False)

    task = dict_to_task(
        {
            "name": f"vela:{model}",
            "doc": f"compile {model} for the i.MX 93's NPU: {names}",
            "actions": [find_model, *[action for step in steps for action in (run_step(step), put())], check],
            "uptodate": [is_compiled],
            "params": [REQUIRE_NPU],
            "meta": {"steps": list(steps)},
            "clean": [Cleaning(clean, f"what was compiled for {names}")],
        }
    )
    task.subtask_of = "vela"
    return task


def vela_file_task(file: str, bsps: str | None, to: str | None) -> Task:
    """The task that compiles a file of the user's own."""
    command = [sys.executable, "-m", "utils.steps.vela_file", *(["--bsp", bsps] if bsps else [])]
    command += [*(["--to", to] if to else []), "--", file]

    def take_option(require_npu: bool) -> None:
        if require_npu:
            command.insert(3, "--require-npu")

    actions = [take_option, run_program(command, talks=True)]
    return dict_to_task({"name": "vela", "actions": actions, "params": [REQUIRE_NPU]})


def explain_task(recipe: Recipe) -> dict[str, Any]:
    """The task that says which layers int8 loses in; it builds both files, and no more, before it.

    A model without both files has a task too, that says so: it is not one of those that ``doit explain`` runs.
    """
    name, folder = recipe.name, layout.explain_folder(recipe.name)
    task = {
        "doc": f"which layers of {name} lose in int8, and what to try",
        "actions": [run_program([sys.executable, "-m", "utils.steps.explain", name], talks=True)],
        "clean": [Cleaning(lambda: shutil.rmtree(folder, ignore_errors=True), paths.relative(folder))],
    }
    if not layout.compares_int8(recipe):
        return task | {"basename": f"explain:{name}"}
    return task | {"basename": "explain", "name": name, "task_dep": [f"{name}:float32", f"{name}:int8"]}
