"""The folder ``imx93/`` of a bundle: a folder a BSP, a page about all of them, and check sums.

``imx93/<bsp>/`` has the compiled file and ``vela.json``; ``imx93/README.md`` sets the estimates of all BSPs beside what
was measured and published; ``imx93/SHA256SUMS`` covers all of it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from utils import files
from utils.bundle import markdown
from utils.errors import DataError
from utils.graph import layout
from utils.npu import bsp
from utils.recipe.schema import Recipe

__all__ = ["install_npu_folder", "keep_others", "remove_bsp"]

#: The text of the page.
TEMPLATE = Path(__file__).with_name("npu_folder.md.j2")

#: An estimate this many times a neighbour's is pointed out.
MARKED = 1.5


def install_npu_folder(recipe: Recipe, folder: Path) -> None:
    """Write the page and the check sums of a finished ``folder``, and put it into the bundle in one move."""
    (folder / "README.md").write_text(_page(recipe, folder), encoding="utf-8")
    (folder / files.SUMS).write_text(files.make_sums(folder), encoding="utf-8")
    files.replace_folder(folder, layout.npu_folder(recipe.name))


def remove_bsp(recipe: Recipe, release: bsp.Bsp) -> None:
    """Take what was compiled for one BSP out of the bundle; the page and the sums then speak of the others."""
    final = layout.npu_folder(recipe.name)
    if not (final / release.name).is_dir():
        return
    with files.staging(layout.npu_folder(recipe.name).parent.parent, ".imx93.") as staging:
        folder = staging.folder / final.name
        keep_others(final, folder, release, None)
        if any(folder.iterdir()):
            install_npu_folder(recipe, folder)
        else:
            shutil.rmtree(final)


def keep_others(old: Path, new: Path, release: bsp.Bsp, sha256: str | None) -> None:
    """Copy what other BSPs' Velas made of the file with this sha256 (None: of any file) into a new folder."""
    new.mkdir()
    for file in old.glob("*/vela.json"):
        try:
            same = sha256 is None or files.load_json(file)["input"]["sha256"] == sha256
        except (OSError, DataError, KeyError, TypeError):  # damaged
            same = False
        if same and file.parent.name != release.name:
            files.copy_folder(file.parent, new / file.parent.name)


def _page(recipe: Recipe, folder: Path) -> str:
    """The text of ``imx93/README.md``: from every ``vela.json`` in the folder, in the order of the BSPs."""
    known = [name for name in bsp.load_bsps() if (folder / name / "vela.json").is_file()]
    runs = [files.load_json(folder / name / "vela.json") for name in known]
    published = [row for row in recipe.measured if (row.board, row.accelerator) == ("i.MX 93", "NPU")]
    return markdown.render(
        TEMPLATE,
        recipe=recipe,
        runs=runs,
        published=[row for row in published if row.variant == "int8"],
        marked=_marked(runs),
        kept=[_by_reason(run["cpu"]) for run in runs],
        slowest=[sorted(run["layers"], key=lambda layer: -layer["cycles"])[:5] for run in runs],
        bsps=bsp.load_bsps(),
    )


def _marked(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
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
