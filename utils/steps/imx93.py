"""imx93: put what Vela has compiled into the bundle's folder ``imx93/``, with a page about all BSPs and check sums.

``utils/bundle/npu_folder.py`` says what stands there. The rest of the bundle stays as it is, and its own check sums
stay true.
"""

from __future__ import annotations

import shutil

from utils.bundle import npu_folder
from utils.graph import layout, record
from utils.graph.step import Step
from utils.recipe.schema import Recipe
from utils.steps import main


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Copy every compiled file and its ``vela.json``; write the page and the check sums."""
    for file in step.reads:
        if file.name in ("vela.json", layout.npu_name(recipe)):
            copy = outputs.folder / file.parent.name / file.name
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, copy)
    npu_folder.write_page(npu_folder.subject_of(recipe), outputs.folder)


if __name__ == "__main__":
    main(work)
