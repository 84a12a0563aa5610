"""The folder ``imx93/`` of a bundle: a folder per BSP, a page about all of them, and checksums.

``imx93/<bsp>/`` has the compiled file and ``vela.json``. ``imx93/README.md`` shows the estimates of all BSPs beside the
published measurements. ``imx93/SHA256SUMS`` covers all files.
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

#: The page points out an estimate that is this many times a neighbour's.
MARKED = 1.5


def install_npu_folder(recipe: Recipe, folder: Path) -> None:
    """Write the page and the checksums of a finished ``folder``, and move it into the bundle."""
    (folder / "README.md").write_text(_page(recipe, folder), encoding="utf-8")
    (folder / files.SUMS).write_text(files.make_sums(folder), encoding="utf-8")
    files.replace_folder(folder, layout.npu_folder(recipe.name))


def remove_bsp(recipe: Recipe, release: bsp.Bsp) -> None:
    """Remove the folder of one BSP from the bundle, and update the page and the checksums."""
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
    """Copy the folders of other BSPs that were compiled from the file with this sha256 (None: any file)."""
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
        published=[row for row in published if row.variant == layout.npu_variant(recipe)],
        marked=_marked(runs),
        kept=[_by_reason(run["cpu"]) for run in runs],
        slowest=[sorted(run["layers"], key=lambda layer: -layer["cycles"])[:5] for run in runs],
        bsps=bsp.load_bsps(),
    )


def _marked(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs whose estimate is far above those of both neighbours, or of the only one.

    Versions model the hardware differently, so this does not rank them: it says where to look.
    """
    found = []
    for index, run in enumerate(runs):
        near = [other["summary"]["ms"] for other in runs[max(index - 1, 0) : index + 2] if other is not run]
        if near and run["summary"]["ms"] >= MARKED * max(near):
            found.append({"run": run, "times": run["summary"]["ms"] / max(near)})
    return found


def _by_reason(kept: list[dict[str, str]]) -> list[tuple[int, str, str]]:
    """Count the operators that stay on the CPU by kind and reason, without the details of single tensors."""
    counts = Counter((entry["operator"], entry["reason"].split("; ")[0]) for entry in kept)
    return [(count, operator, reason) for (operator, reason), count in counts.items()]
