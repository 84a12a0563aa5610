"""The task graph: reads ``recipes/``, yields tasks, does no work.

doit                     every model of the zoo
doit list                what can be built, a line each
doit mnist_bilinear      one model
doit mobilenet_v2 weights=FILE   the same network with your own weights
doit demo                both upsampling models on digits that it draws: no download
doit -n 1                one step at a time (otherwise one a core, at most four)
doit vela                compile every int8 file in artifacts/ for the i.MX 93's NPU; builds none
doit vela:MODEL bsp=BSP  one of them, for the BSP on your board (bsp=A,B: for several)
doit vela:MODEL --require-npu      fail when an operator stays on the CPU
doit compat:MODEL        where it will run, and what stands in the way
doit list --all --status MODEL     every step, and whether it would run (R) or is up to date (U)
doit clean MODEL         take away what was made of it

doit new name=NAME like=MODEL      write a recipe for a new model, with a comment on each key

doit lock                write what was built into artifacts.lock
doit verify              build again in a clean folder, compare with artifacts.lock
doit release version=X.Y.Z [models=NAME,NAME] [key=FILE] [--force]
doit release:check path=FOLDER [pubkey=FILE] [with=FOLDER]
doit publish version=X.Y.Z to=(dir:FOLDER | oci:FOLDER | oci://HOST/REPO | hf://ORG) [pubkey=FILE] [dry_run=1]
doit mirror to=FOLDER [models=NAME,NAME]
doit refetch source=FILE           forget the recorded hash of an unpinned source; the next doit fetches it again
doit board target=virtual          run what was built on the virtual board
doit board:MODEL target=root@HOST,root@OTHER:2222     run one model on boards over SSH
"""

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from doit import doit_cmd, get_var
from doit.action import CmdAction
from doit.exceptions import TaskFailed
from doit.task import Task, dict_to_task

from utils import environment, paths, program
from utils.graph import layout, plan
from utils.graph.report import Report
from utils.graph.step import Step
from utils.graph.tasks import REQUIRE_NPU, broken_task, check_npu, compile_task, run_pinned, step_task
from utils.model import own_weights
from utils.npu import bsp
from utils.recipe.load import read_recipes, refuse_broken

program.prepare(dies_of_closed_pipe=True)
doit_cmd.traceback = program.DoitTraceback
try:
    paths.require_plain_root()
    RECIPES, BROKEN = read_recipes()
    refuse_broken(sys.argv[1:])
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
    "verbosity": 2,
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
    """compile every int8 file in artifacts/ for the i.MX 93's NPU (bsp=BSP,... --require-npu)"""
    models = [name for name, found in RECIPES.items() if "int8" in found.variants]
    built = [name for name in models if layout.npu_file(name).is_file()]

    def finish(require_npu: bool) -> TaskFailed | None:
        for name in models:
            if name not in built:
                sys.stdout.write(f"vela: {name} is not built yet: doit {name}\n")
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
        yield compile_task(name, steps, partial(_clean_npu, name, steps))


def _clean_npu(name: str, steps: list[Step]) -> None:
    from utils.bundle import npu_folder  # jinja2: not before a task needs it

    for step, release in zip(steps, BSPS, strict=True):
        npu_folder.remove_bsp(RECIPES[name], release)
        step.clean()


def task_compat() -> Iterator[dict[str, Any]]:
    """where a built model will run, and what stands in the way: per board and BSP (bsp=BSP,...)"""
    asked = get_var("bsp", None)
    for name in RECIPES:
        command = [sys.executable, "-m", "utils.steps.compat", name, *(["--bsp", asked] if asked else [])]
        yield {
            "name": name,
            "doc": f"where {name} will run, and what stands in the way",
            "actions": [run_pinned(command)],
            "io": {"capture": False},
        }


def task_new() -> dict[str, Any]:
    """write a recipe for a new model: name=NAME like=MODEL"""
    given = [f"{option}={value}" for option in ("name", "like") if (value := get_var(option)) is not None]
    command = run_pinned([sys.executable, "-m", "utils.recipe.new", *given])
    return {"actions": [command], "io": {"capture": False}}


def _release(name: str, doc: str, *options: str, forces: bool = False) -> dict[str, Any]:
    """A task that is a command of utils/release, with the ``name=value`` that the user gave."""
    given = [f"{option}={value}" for option in options if (value := get_var(option)) is not None]

    def command(force: bool = False) -> list[str]:
        return [sys.executable, "-m", "utils.release", name, *given, *(["force=1"] if force else [])]

    return {
        "basename": name,
        "doc": doc,
        "actions": [CmdAction(command, shell=False, cwd=str(paths.ROOT), env=environment.pinned())],
        "params": [{"name": "force", "long": "force", "type": bool, "default": False}] if forces else [],
        "io": {"capture": False},
    }


def task_release() -> Iterator[dict[str, Any]]:
    """Locking, verifying, releasing, publishing."""
    yield _release("lock", "write what was built into artifacts.lock", "models")
    yield _release("verify", "build again in a clean folder, compare with artifacts.lock", "models")
    options = ("version", "models", "key", "boards")
    yield _release("release", "make release/VERSION/: version=X.Y.Z", *options, forces=True)
    yield _release("release:check", "hold a release against itself: path=FOLDER", "path", "pubkey", "with")
    yield _release("publish", "publish a release: version=X.Y.Z to=PLACE", "version", "path", "pubkey", "to", "dry_run")
    yield _release("mirror", "put all sources into a folder: to=FOLDER", "to", "models")
    yield _release("refetch", "forget the recorded hash of an unpinned source: source=FILE", "source")


def _board(doc: str, *words: str) -> dict[str, Any]:
    run = CmdAction([sys.executable, "-m", "utils.board", *words], shell=False, cwd=str(paths.ROOT))
    return {"basename": "board", "doc": doc, "actions": [run], "task_dep": ["_board"], "io": {"capture": False}}


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
