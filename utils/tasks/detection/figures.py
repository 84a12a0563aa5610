"""The figures of a detector: what each example picture shows beside what was found, and the AP of each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import example
from utils.tasks import Scene, pictures

__all__ = ["Figures", "Pair", "pairs", "precision"]


class Figures:
    """Draws what the last variant finds in the example pictures."""

    template = Path(__file__).with_name("card.md.j2")

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def draw(self) -> None:
        """Draw ``result`` and ``precision``."""
        scene = self._scene
        variant, spec = scene.recipe.variants[-1], scene.recipe.input.model_dump(mode="json")
        task = example.Detection(spec, [output.model_dump(mode="json") for output in scene.recipe.outputs])
        model, shown = scene.open(scene.model(variant), reference=True), []
        examples = scene.recipe.examples if isinstance(scene.recipe.examples, list) else []
        for entry, name, tensor in zip(examples, scene.files, scene.tensors(scene.shown.inputs), strict=True):
            found = task.objects(model.real(model.run_all(model.quantise(tensor[np.newaxis]))))
            truth = [(each.label, each.box) for each in entry.objects or ()]
            shown.append(self._pair(scene.folder / name, spec, found.above(task.threshold), truth))
        pairs(scene.figure("result"), shown, f"answers of the {variant} model, score {task.threshold:g} or more")
        by_class = scene.evaluation["variants"][variant]["ap"]
        named = [(scene.labels[int(index)], value) for index, value in by_class.items()]
        precision(scene.figure("precision"), named, scene.evaluation["variants"][variant]["accuracy"], variant)

    def _pair(
        self, file: Path, spec: dict[str, Any], found: example.Objects, truth: list[tuple[str, list[float]]]
    ) -> Pair:
        labels = self._scene.labels
        picture, size = example.read_picture(str(file), spec, example.LARGEST)
        scale = picture.shape[1] / size[0]
        boxes = example.in_picture(found.boxes, size, spec) * scale
        texts = [
            f"{example.object_name(int(index), labels)} {100 * score:.0f} %"
            for index, score in zip(found.classes, found.scores, strict=True)
        ]
        shown = np.asarray([box for _, box in truth], np.float64).reshape(-1, 4) * scale
        numbers = [labels.index(label) for label, _ in truth]
        return Pair(
            np.asarray(example.draw_objects(picture, shown, [label for label, _ in truth], numbers), np.uint8),
            np.asarray(example.draw_objects(picture, boxes, texts, found.classes.tolist()), np.uint8),
        )


@dataclass(frozen=True)
class Pair:
    """One picture twice, uint8, shape (H, W, 3): with what it shows, and with what was found."""

    truth: npt.NDArray[np.uint8]
    found: npt.NDArray[np.uint8]


def pairs(file: Path, shown: list[Pair], title: str) -> None:
    """Truth and answers side by side; ``title`` is above the answers."""
    heights = [each.truth.shape[0] / each.truth.shape[1] for each in shown]
    figure, axes = pictures.new_figure(8.6, 4.2 * sum(heights) + 0.4, len(shown), 2, height_ratios=heights)
    axes[0, 0].set_title("what it shows, drawn by hand", fontsize=9)
    axes[0, 1].set_title(title, fontsize=9)
    for row, each in zip(axes, shown, strict=True):
        row[0].imshow(each.truth)
        row[1].imshow(each.found)
        for axis in row:
            axis.axis("off")
    pictures.save_figure(figure, file, colours=256)


def precision(file: Path, by_class: list[tuple[str, float]], mean: float, variant: str) -> None:
    """The AP of each class, in %, the best first; the line is their mean."""
    ordered = sorted(by_class, key=lambda entry: (-entry[1], entry[0]))
    figure, axes = pictures.new_figure(8.6, 2.6)
    axis, places = axes[0, 0], range(len(ordered))
    axis.bar(places, [value for _, value in ordered], color=pictures.BLUE)
    axis.axhline(mean, color=pictures.ORANGE, linewidth=1)
    axis.set_xticks(places, [label for label, _ in ordered], rotation=90, fontsize=6)
    axis.set_xlim(-0.7, len(ordered) - 0.3)
    axis.set_ylabel("AP, %")
    axis.set_title(f"{variant}: AP 0.50:0.95 of each class of the sample; line: their mean, {mean:.1f} %", fontsize=9)
    pictures.save_figure(figure, file)
