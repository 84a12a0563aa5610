"""vela-BSP: compile the bundle's int8 or uint8 file for the i.MX 93's NPU, with the Vela of one BSP.

The step ``imx93`` puts the result into the bundle.
"""

from __future__ import annotations

from utils import paths
from utils.bundle import npu_folder
from utils.graph import plan, record
from utils.graph.step import Step
from utils.npu import bsp
from utils.recipe.schema import Recipe
from utils.steps import main, note, say


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Compile; write the compiled file, and ``vela.json``."""
    release = bsp.find_bsp(step.name.removeprefix("vela-"))
    subject = npu_folder.subject_of(recipe)
    with record.locked(plan.step_of(recipe, "card").record, lambda: note("waits: the card is being made")):
        compiled, described = (outputs.new(file) for file in step.writes)
        told = npu_folder.compile_file(subject, release, compiled, note)
        assert described.is_file()
    say(f"{paths.relative(subject.final / release.name)}/: {told}")


if __name__ == "__main__":
    main(work)
