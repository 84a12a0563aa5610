"""The task graph: reads ``recipes/``, yields tasks, does no work. `doit help` says what to type."""

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from doit import doit_cmd, get_var
from doit.exceptions import TaskFailed
from doit.task import Task, dict_to_task

from utils import environment, paths, program
from utils.front import main, stage
from utils.front.action import run_program
from utils.front.commands import MODEL_VARIABLES, OURS
from utils.front.report import Report
from utils.front.sharing import prepare_sharing
from utils.front.tasks import (
    REQUIRE_NPU,
    broken_task,
    check_npu,
    compile_task,
    explain_task,
    step_task,
    vela_file_task,
)
from utils.graph import layout, plan
from utils.graph.step import Step
from utils.model import own_weights
from utils.npu import bsp
from utils.recipe.load import read_recipes, refuse_broken

program.prepare(dies_of_closed_pipe=True)
main.take_over()
doit_cmd.traceback = program.DoitTraceback
try:
    paths.require_plain_root()
    RECIPES, BROKEN = read_recipes()
    refuse_broken(sys.argv[1:])
    prepare_sharing()
    weights = get_var("weights", os.environ.get("ZOO_WEIGHTS") or None)
    own_weights.choose(RECIPES, weights, get_var("weights_licence"), sys.argv[1:], BROKEN)
    BSPS = [bsp.find_bsp(name) for name in (get_var("bsp", None) or bsp.find_default_bsp().name).split(",")]
    STEPS = {name: plan.steps_of(found) for name, found in RECIPES.items()}
except Exception as error:
    program.end(error)

DOIT_CONFIG = {
    "minversion": "0.37.0",
    "default_tasks": [name for name, found in (RECIPES | BROKEN).items() if found.group == "zoo"],
    "backend": "sqlite3",
    "dep_file": ":memory:",  # the records of the steps are the truth (utils/graph/record.py)
    "continue": True,  # the models need nothing of each other: what can be built is built
    "reporter": Report,
    "num_process": environment.cores(),
    "par_type": "thread",  # every step is a process of its own already
    "verbosity": 1,
}


def task_models() -> Iterator[dict[str, Any]]:
    """Every model, its steps below it."""
    for name, broken in BROKEN.items():
        yield broken_task(name, broken)
    for name, found in RECIPES.items():
        yield {"basename": name, "name": None, "doc": found.summary}
        for step in STEPS[name]:
            yield step_task(step, STEPS[name])


def task_demo() -> dict[str, Any]:
    """both upsampling models on digits that the pipeline draws: no download"""
    models = [name for name, found in (RECIPES | BROKEN).items() if found.group == "demo"]
    return {"actions": None, "task_dep": models}


def task_vela() -> Iterator[Task]:
    """compile every int8 or uint8 file in artifacts/ for the i.MX 93's NPU (bsp=BSP,... file=PATH --require-npu)"""
    if own := get_var("file", None):
        yield vela_file_task(own, get_var("bsp", None), get_var("to", None))
        return
    models = [name for name, found in RECIPES.items() if layout.npu_variant(found)]
    built = [name for name in models if layout.npu_file(RECIPES[name]).is_file()]

    def finish(require_npu: bool) -> TaskFailed | None:
        for name in models:
            if name not in built:
                stage.find_screen().write(f"vela: {name} is not built yet: doit {name}")
        steps = [plan.vela_step(RECIPES[name], release) for name in built for release in BSPS]
        return check_npu(steps, require_npu)

    group = dict_to_task(
        {
            "name": "vela",
            "doc": task_vela.__doc__,
            "actions": [finish],
            "task_dep": [f"vela:{name}" for name in built],
            "params": [REQUIRE_NPU],
        }
    )
    group.has_subtask = True
    yield group
    for name in models:
        steps = [plan.vela_step(RECIPES[name], release) for release in BSPS]
        yield compile_task(RECIPES[name], steps, partial(_clean_npu, name, steps))


def _clean_npu(name: str, steps: list[Step]) -> None:
    from utils.bundle import npu_folder  # jinja2: not before a task needs it

    for step, release in zip(steps, BSPS, strict=True):
        npu_folder.remove_bsp(RECIPES[name], release)
        step.clean()


def task_compat() -> Iterator[dict[str, Any] | Task]:
    """where a built model will run, and what stands in the way: per board and BSP (bsp=BSP,...)"""
    asked = ["--bsp", bsps] if (bsps := get_var("bsp", None)) else []
    if own := get_var("file", None):
        command = [sys.executable, "-m", "utils.steps.compat", *asked, "--", own]
        yield dict_to_task({"name": "compat", "actions": [run_program(command, talks=True)]})
        return
    for name in RECIPES:
        command = [sys.executable, "-m", "utils.steps.compat", name, *asked]
        yield {
            "name": name,
            "doc": f"where {name} will run, and what stands in the way",
            "actions": [run_program(command, talks=True)],
        }


def task_explain() -> Iterator[dict[str, Any]]:
    """which layers lose in int8, and what to try (also with weights=PATH)"""
    for found in RECIPES.values():
        yield explain_task(found)


def task_new() -> dict[str, Any]:
    """write a recipe for a new model: name=NAME like=MODEL"""
    given = [f"{option}={value}" for option in OURS["new"].variables if (value := get_var(option)) is not None]
    command = [sys.executable, "-m", "utils.recipe.new", *given]
    return {"actions": [run_program(command, talks=True)]}


def task_programs() -> Iterator[dict[str, Any]]:
    """Commands that are one program each."""
    dask = "utils.shared.worker"
    programs = {"catalogue": ["utils.catalogue"], "worker": [dask, "worker"], "scheduler": [dask, "scheduler"]}
    for name, words in programs.items():
        given = [f"--{option}={value}" for option in OURS[name].variables if (value := get_var(option)) is not None]
        run = run_program([sys.executable, "-m", *words, *given], talks=True, pins=False)
        yield {"basename": name, "doc": OURS[name].summary, "actions": [run]}


def _release(name: str, *, forces: bool = False, module: str = "utils.release") -> dict[str, Any]:
    """A task that is a command of utils/release, with the ``name=value`` that the user gave."""
    own = [option for option in OURS[name].variables if option not in MODEL_VARIABLES]
    given = [f"{option}={value}" for option in own if (value := get_var(option)) is not None]
    command = [sys.executable, "-m", module, name, *given]

    def forced(force: bool) -> None:
        if force:
            command.append("force=1")

    return {
        "basename": name,
        "doc": OURS[name].summary,
        "actions": [*([forced] if forces else []), run_program(command, talks=True)],
        "params": [{"name": "force", "long": "force", "type": bool, "default": False}] if forces else [],
    }


def task_release() -> Iterator[dict[str, Any]]:
    """Locking, verifying, releasing, publishing; and whether a step cache is what it should be."""
    for name in ("lock", "verify", "release", "release:check", "publish", "mirror", "refetch"):
        yield _release(name, forces=name == "release")
    yield _release("steps:check", module="utils.shared")


def _board(doc: str, *words: str) -> dict[str, Any]:
    run = run_program([sys.executable, "-m", "utils.board", *words], talks=True, pins=False)
    return {"basename": "board", "doc": doc, "actions": [run], "task_dep": ["_board"]}


def task_board() -> Iterator[dict[str, Any]]:
    """Bundles on boards; a measurement, so it runs whenever it is asked for, and builds nothing."""
    targets = str(get_var("target", ""))
    yield _board("what the boards need", "prepare", targets) | {"basename": "_board", "task_dep": []}
    yield {
        "basename": "board",
        "name": None,
        "doc": "run what was built on boards: target=virtual, or target=root@HOST[:PORT],...",
        "task_dep": ["_board"],
    }
    for name in RECIPES:
        # One that was not built is there when it is named, to say so.
        if (paths.bundle(name) / "SHA256SUMS").is_file() or f"board:{name}" in sys.argv:
            yield _board(f"run {name} on boards", "run", targets, name) | {"name": name}
