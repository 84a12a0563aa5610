"""vela-BSP: compile the bundle's int8 file for the i.MX 93's NPU, with the Vela of one BSP, into ``imx93/`` there.

``imx93/<bsp>/`` has the compiled file and ``vela.json``; ``imx93/README.md`` sets the estimates of all BSPs that were
compiled for beside what was measured and published; ``imx93/SHA256SUMS`` covers all of it. The rest of the bundle
stays as it is, and its own check sums stay true.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from utils import files, paths
from utils.bundle import markdown
from utils.graph import layout, plan, record
from utils.graph.step import Step
from utils.npu import bsp, vela
from utils.recipe.schema import Recipe
from utils.steps import main, say

#: The text of the page.
TEMPLATE = Path(__file__).with_name("vela.md.j2")

#: An estimate this many times a neighbour's is pointed out.
MARKED = 1.5


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Compile, and put the folder ``imx93`` into the bundle in one move."""
    release = bsp.find_bsp(step.name.removeprefix("vela-"))
    model, final = layout.npu_file(recipe.name), layout.npu_folder(recipe.name)
    with record.locked(plan.step_of(recipe, "card").record, lambda: say("waits: the card is being made")):
        folder = outputs.staging / final.name
        keep_others(final, folder, release, files.sha256(model))
        target = folder / release.name / f"{recipe.name}_int8_vela.tflite"
        target.parent.mkdir(parents=True)
        compiled = vela.compile_model(model, release, target)
        found = vela.describe_run(release, model, target, compiled)
        (target.parent / "vela.json").write_text(files.dump_json(found), encoding="utf-8")
        (folder / "README.md").write_text(page(recipe, folder), encoding="utf-8")
        (folder / files.SUMS).write_text(files.make_sums(folder), encoding="utf-8")
        files.replace_folder(folder, final)
    operators, summary = found["operators"], found["summary"]
    say(
        f"{paths.relative(final / release.name)}/: {operators['npu']} of {operators['total']} operators on the NPU, "
        f"{summary['ms']:.3g} ms by Vela {release.vela}'s estimate"
    )
    for entry in compiled.cpu:
        say(f"on the CPU: {entry.operator} {entry.output!r}: {entry.reason}")


def keep_others(old: Path, new: Path, release: bsp.Bsp, sha256: str) -> None:
    """Copy what other BSPs' Velas made of the same file; what was made of another file is left behind."""
    new.mkdir()
    for file in old.glob("*/vela.json"):
        try:
            same = files.load_json(file)["input"]["sha256"] == sha256
        except (ValueError, KeyError, TypeError):  # damaged
            same = False
        if same and file.parent.name != release.name:
            shutil.copytree(file.parent, new / file.parent.name, copy_function=shutil.copyfile)


def page(recipe: Recipe, folder: Path) -> str:
    """The text of ``imx93/README.md``: from every ``vela.json`` in the folder, in the order of the BSPs."""
    known = [name for name in bsp.load_bsps() if (folder / name / "vela.json").is_file()]
    runs = [files.load_json(folder / name / "vela.json") for name in known]
    published = [row for row in recipe.measured if (row.board, row.accelerator) == ("i.MX 93", "NPU")]
    return markdown.render(
        TEMPLATE,
        recipe=recipe,
        runs=runs,
        published=[row for row in published if row.variant == "int8"],
        marked=marked(runs),
        kept=[_by_reason(run["cpu"]) for run in runs],
        slowest=[sorted(run["layers"], key=lambda layer: -layer["cycles"])[:5] for run in runs],
        bsps=bsp.load_bsps(),
    )


def marked(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs whose estimate is far above both neighbours', or the only one's: a version that does this model harm.

    It is no comparison of two numbers: versions model the hardware differently. It says where to look.
    """
    found = []
    for index, run in enumerate(runs):
        near = [other["summary"]["ms"] for other in runs[max(index - 1, 0) : index + 2] if other is not run]
        if near and run["summary"]["ms"] >= MARKED * max(near):
            found.append({"run": run, "times": run["summary"]["ms"] / max(near)})
    return found


def _by_reason(kept: list[dict[str, str]]) -> list[tuple[int, str, str]]:
    """How many operators of which kind stay on the CPU for which reason; details of one tensor left out."""
    counts = Counter((entry["operator"], entry["reason"].split("; ")[0]) for entry in kept)
    return [(count, operator, reason) for (operator, reason), count in counts.items()]


if __name__ == "__main__":
    main(work)
