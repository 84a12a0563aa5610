"""What Vela makes of a file: a folder per BSP, a page about all of them, and checksums.

In a bundle it is ``imx93/``: ``imx93/<bsp>/`` has the compiled file and ``vela.json``, ``imx93/README.md`` shows the
estimates of all BSPs beside the published measurements, and ``imx93/SHA256SUMS`` covers all files. Beside a file of the
user's own it is ``<name>_imx93/``.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import files
from utils.bundle import markdown
from utils.errors import DataError
from utils.graph import layout
from utils.npu import bsp, vela
from utils.npu.vela import Compiled
from utils.recipe.card import Measured
from utils.recipe.schema import Recipe

__all__ = ["Subject", "compile_file", "compile_into", "remove_bsp", "subject_of", "write_page"]

#: The text of the page.
TEMPLATE = Path(__file__).with_name("npu_folder.md.j2")

#: The page points out an estimate that is this many times a neighbour's.
MARKED = 1.5


@dataclass(frozen=True)
class Subject:
    """What is compiled.

    Attributes:
        title: for the page.
        model: the file.
        final: the folder of the results.
        compiled: name of the compiled file.
        published: what others measured of it on the NPU.
    """

    title: str
    model: Path
    final: Path
    compiled: str
    published: tuple[Measured, ...] = ()


def subject_of(recipe: Recipe) -> Subject:
    """The bundle's file of integers."""
    published = [row for row in recipe.measured if (row.board, row.accelerator) == ("i.MX 93", "NPU")]
    return Subject(
        title=recipe.title,
        model=layout.npu_file(recipe),
        final=layout.npu_folder(recipe.name),
        compiled=layout.npu_name(recipe),
        published=tuple(row for row in published if row.variant == layout.npu_variant(recipe)),
    )


def compile_into(subject: Subject, release: bsp.Bsp, staging: Path, note: Callable[[str], None]) -> str:
    """Compile for one BSP, and move the folder with its page and checksums into place at once.

    Folders of other BSPs that were made of the same file stay.

    Args:
        subject: what to compile.
        release: whose Vela.
        staging: an empty folder on the same file system as the final one.
        note: told of each operator that stays on the CPU.

    Returns:
        A line about the result.

    Raises:
        DataError: the file is none that Vela compiles.
        BuildError: that Vela is not installed, or fails.
    """
    folder = staging / subject.final.name
    _keep_others(subject.final, folder, release, files.sha256(subject.model))
    (folder / release.name).mkdir()
    told = compile_file(subject, release, folder / release.name / subject.compiled, note)
    _install(subject, folder)
    return told


def compile_file(subject: Subject, release: bsp.Bsp, target: Path, note: Callable[[str], None]) -> str:
    """Compile for one BSP into the file ``target``, with ``vela.json`` beside it; otherwise as ``compile_into``."""
    compiled: Compiled = vela.compile_model(subject.model, release, target)
    found = vela.describe_run(release, subject.model, target, compiled)
    (target.parent / "vela.json").write_text(files.dump_json(found), encoding="utf-8")
    for entry in compiled.cpu:
        note(f"on the CPU: {entry.operator} {entry.output!r}: {entry.reason}")
    operators = found["operators"]
    return (
        f"{operators['npu']} of {operators['total']} operators on the NPU, "
        f"{compiled.summary.ms:.3g} ms by Vela {release.vela}'s estimate"
    )


def write_page(subject: Subject, folder: Path) -> None:
    """Write the page and the checksums of a finished ``folder``."""
    (folder / "README.md").write_text(_page(subject, folder), encoding="utf-8")
    (folder / files.SUMS).write_text(files.make_sums(folder), encoding="utf-8")


def _install(subject: Subject, folder: Path) -> None:
    write_page(subject, folder)
    files.replace_folder(folder, subject.final)


def remove_bsp(recipe: Recipe, release: bsp.Bsp) -> None:
    """Remove the folder of one BSP from the bundle, and update the page and the checksums."""
    subject = subject_of(recipe)
    if not (subject.final / release.name).is_dir():
        return
    with files.staging(subject.final.parent.parent, ".imx93.") as staging:
        folder = staging.folder / subject.final.name
        _keep_others(subject.final, folder, release, None)
        if any(folder.iterdir()):
            _install(subject, folder)
        else:
            shutil.rmtree(subject.final)


def _keep_others(old: Path, new: Path, release: bsp.Bsp, sha256: str | None) -> None:
    """Copy the folders of other BSPs that were compiled from the file with this sha256 (None: any file)."""
    new.mkdir()
    for file in old.glob("*/vela.json"):
        try:
            same = sha256 is None or files.load_json(file)["input"]["sha256"] == sha256
        except (OSError, DataError, KeyError, TypeError):  # damaged
            same = False
        if same and file.parent.name != release.name:
            files.copy_folder(file.parent, new / file.parent.name)


def _page(subject: Subject, folder: Path) -> str:
    """The text of the page: from every ``vela.json`` in the folder, in the order of the BSPs."""
    known = [name for name in bsp.load_bsps() if (folder / name / "vela.json").is_file()]
    runs = [files.load_json(folder / name / "vela.json") for name in known]
    return markdown.render(
        TEMPLATE,
        title=subject.title,
        runs=runs,
        published=subject.published,
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
