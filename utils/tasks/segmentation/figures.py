"""The figure of a segmentation: each example picture, and beside it the class of each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from utils import example
from utils.tasks import Scene, pictures

__all__ = ["Figures", "Segments", "segments"]


class Figures:
    """Draws what the last variant makes of the example pictures."""

    template = Path(__file__).with_name("card.md.j2")

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def draw(self) -> None:
        """Draw ``result``."""
        scene, variant, found = self._scene, self._scene.recipe.variants[-1], []
        model, spec = scene.open(scene.model(variant)), scene.recipe.input.model_dump(mode="json")
        for name, tensor in zip(scene.files, scene.tensors(scene.shown.inputs), strict=True):
            classes = example.class_map(model.run(model.quantise(tensor[np.newaxis])))
            image, whole = example.at_own_size(str(scene.folder / name), spec, classes)
            tinted, legend = example.tint(image, whole, scene.labels), example.legend(whole, scene.labels)
            found.append(Segments(image, tinted, legend))
        segments(scene.figure("result"), found, f"output of the {variant} model")


@dataclass(frozen=True)
class Segments:
    """One picture, and what a segmentation makes of it.

    Attributes:
        image: uint8, shape (H, W, 3).
        tinted: the same with its classes tinted.
        legend: text and colour, 0..255, of each class.
    """

    image: npt.NDArray[np.uint8]
    tinted: npt.NDArray[np.uint8]
    legend: list[tuple[str, tuple[int, int, int]]]


def segments(file: Path, shown: list[Segments], title: str) -> None:
    """Inputs, beside each the tinted picture, and beside that the legend; ``title`` is above the outputs."""
    from matplotlib.patches import Patch

    heights = [each.image.shape[0] / each.image.shape[1] for each in shown]
    figure, axes = pictures.new_figure(
        8.6, 3.3 * sum(heights) + 0.4, len(shown), 3, width_ratios=[3.3, 3.3, 2], height_ratios=heights
    )
    axes[0, 0].set_title("input", fontsize=9)
    axes[0, 1].set_title(title, fontsize=9)
    for row, each in zip(axes, shown, strict=True):
        row[0].imshow(each.image)
        row[1].imshow(each.tinted)
        patches = [
            Patch(facecolor=[part / 255 for part in colour], edgecolor="black", linewidth=0.5, label=text)
            for text, colour in each.legend
        ]
        row[2].legend(handles=patches, loc="upper left", frameon=False, borderaxespad=0)
        for axis in row:
            axis.axis("off")
    kept = {colour for each in shown for _, colour in each.legend}
    pictures.save_figure(figure, file, colours=256, kept=kept)
