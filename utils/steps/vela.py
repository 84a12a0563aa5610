"""vela-BSP: compile the bundle's int8 or uint8 file for the i.MX 93's NPU, with the Vela of one BSP, into ``imx93/``.

``utils/bundle/npu_folder.py`` says what stands there. The rest of the bundle stays as it is, and its own check sums
stay true.
"""

from __future__ import annotations

from utils import files, paths
from utils.bundle import npu_folder
from utils.graph import layout, plan, record
from utils.graph.step import Step
from utils.npu import bsp, vela
from utils.recipe.schema import Recipe
from utils.steps import main, note, say


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Compile, and put the folder ``imx93`` into the bundle in one move."""
    release = bsp.find_bsp(step.name.removeprefix("vela-"))
    model, final = layout.npu_file(recipe), layout.npu_folder(recipe.name)
    with record.locked(plan.step_of(recipe, "card").record, lambda: note("waits: the card is being made")):
        folder = outputs.staging / final.name
        npu_folder.keep_others(final, folder, release, files.sha256(model))
        target = folder / release.name / layout.npu_name(recipe)
        target.parent.mkdir(parents=True)
        compiled = vela.compile_model(model, release, target)
        found = vela.describe_run(release, model, target, compiled)
        (target.parent / "vela.json").write_text(files.dump_json(found), encoding="utf-8")
        npu_folder.install_npu_folder(recipe, folder)
    operators, summary = found["operators"], found["summary"]
    for entry in compiled.cpu:
        note(f"on the CPU: {entry.operator} {entry.output!r}: {entry.reason}")
    say(
        f"{paths.relative(final / release.name)}/: {operators['npu']} of {operators['total']} operators on the NPU, "
        f"{summary['ms']:.3g} ms by Vela {release.vela}'s estimate"
    )


if __name__ == "__main__":
    main(work)
