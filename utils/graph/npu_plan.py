"""The steps after a bundle: compile it with the Vela of each BSP, and put what was compiled into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from utils import files, paths
from utils.graph import layout
from utils.graph.folder import Folder, is_compiled_from
from utils.graph.step import Step
from utils.model.own_weights import resolve_own_weights
from utils.npu import bsp, vela
from utils.recipe.schema import Recipe

__all__ = ["imx93_step", "npu_steps", "vela_step"]


def vela_step(recipe: Recipe, release: bsp.Bsp) -> Step:
    """Compile the bundle's int8 or uint8 file with the Vela of one BSP."""
    folder = layout.compiled_folder(recipe.name) / release.name
    lock = vela.lock_file(release.vela)
    return Step(
        model=recipe.name,
        name=f"vela-{release.name}",
        module="utils.steps.vela",
        doc=f"compile for the NPU of the i.MX 93 with Vela {release.vela}, of {release.name}",
        reads=(layout.npu_file(recipe), *([lock] if lock.is_file() else [])),
        code=(paths.UTILS / "steps" / "vela.py",),
        writes=(folder / layout.npu_name(recipe), folder / "vela.json"),
        facts=recipe.part("title") | {"bsp": asdict(release)},
        own=resolve_own_weights(recipe),
        compiler=release.vela,
    )


def imx93_step(recipe: Recipe) -> Step:
    """Put what Vela has compiled, for every BSP, into the bundle; as it is planned depends on what there is now."""
    final = layout.npu_folder(recipe.name)
    reads = [folder / name for folder in _find_compiled(recipe) for name in (layout.npu_name(recipe), "vela.json")]
    return Step(
        model=recipe.name,
        name="imx93",
        module="utils.steps.imx93",
        doc="put what was compiled for the i.MX 93 into the bundle, with a page about it",
        reads=(*reads, layout.npu_file(recipe)),
        code=(paths.UTILS / "steps" / "imx93.py",),
        writes=(*(final / file.parent.name / file.name for file in reads), final / "README.md", final / files.SUMS),
        facts=recipe.part("title", "measured"),
        own=resolve_own_weights(recipe),
        folder=Folder(final, source=layout.npu_file(recipe)),
    )


def npu_steps(recipe: Recipe) -> list[Step]:
    """The steps that have put something for the NPU into the bundle, as far as they were made in this checkout."""
    if not layout.npu_folder(recipe.name).is_dir():
        return []
    steps = [*(vela_step(recipe, release) for release in bsp.load_bsps().values()), imx93_step(recipe)]
    return [step for step in steps if step.record.is_file()]


def _find_compiled(recipe: Recipe) -> Iterator[Path]:
    """The folders of the BSPs that the bundle's file was compiled for, in the order of the BSPs.

    One that this checkout has not compiled is taken from the bundle: somebody else did.
    """
    places = (layout.compiled_folder(recipe.name), layout.npu_folder(recipe.name))
    for name in bsp.load_bsps():
        for folder in (place / name for place in places):
            is_whole = (folder / layout.npu_name(recipe)).is_file()
            if is_whole and is_compiled_from(folder, layout.npu_file(recipe)):
                yield folder
                break
