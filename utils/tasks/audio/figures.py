"""The figures of a word spotter: waveforms, features, best answers, errors, and a recording that it gets wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import example
from utils.recipe.tensors import AudioInput
from utils.tasks import Scene, pictures
from utils.tasks.audio import TASK

__all__ = ["Figures", "Heard", "recordings"]

#: Example recordings that are shown, and answers to each.
SHOWN, ANSWERS = 3, 5


class Figures:
    """Draws what the last variant makes of recordings, with the reference kernels: the same on every machine."""

    template = Path(__file__).with_name("card.md.j2")

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._variant = scene.recipe.variants[-1]
        self._model = scene.open(scene.model(self._variant), reference=True)

    def draw(self) -> None:
        """Draw ``result``, and what ``TASK.figures`` names."""
        scene, variant = self._scene, self._variant
        heard = [self._hear(samples) for samples in scene.shown.inputs[:SHOWN]]
        names = [Path(name).name for name in scene.files[:SHOWN]]
        self._draw("result", heard, names, f"output of the {variant} model: the best answers")
        found, result = scene.load(), scene.evaluation["variants"][variant]
        number, worst = self._find_mistake(found.inputs, found.labels, [int(index) for index in result["wrong"]])
        label = scene.labels[int(found.labels[number])]
        says = "a recording that it gets wrong" if result["wrong"] else "no mistakes: its least certain right answer"
        self._draw("mistake", [worst], [f"is {label!r}"], f"{variant}: {says}", label)
        if "confusion" in TASK.figures(scene.recipe):
            title = f"{variant}: {len(result['wrong'])} of {scene.evaluation['count']:,} wrong"
            pictures.confusion(scene.figure("confusion"), result["confusion"], scene.labels, title)

    def _draw(self, name: str, heard: list[Heard], titles: list[str], title: str, label: str = "") -> None:
        spec = self._scene.recipe.input
        assert isinstance(spec, AudioInput)  # the schema asks for it
        recordings(self._scene.figure(name), heard, titles, title, spec, label)

    def _hear(self, samples: npt.NDArray[np.int16]) -> Heard:
        """One recording, its features, and the best answers."""
        tensor = self._scene.tensors(samples[np.newaxis])
        scores = self._model.dequantise(self._model.run(self._model.quantise(tensor))).reshape(-1)
        ranked = example.best(scores, self._scene.labels, len(scores))
        coefficients = self._scene.recipe.input.model_dump()["coefficients"]
        best = [(line["label"], 100 * line["score"]) for line in ranked]
        return Heard(samples, tensor.reshape(-1, coefficients), scores, best)

    def _find_mistake(self, inputs: Any, labels: Any, wrong: list[int]) -> tuple[int, Heard]:
        """The number of the recording whose label gets the lowest score, and the recording; of the wrong ones."""
        heard = {number: self._hear(inputs[number]) for number in (wrong or range(len(inputs)))}
        worst = min(heard, key=lambda number: (float(heard[number].scores[labels[number]]), number))
        return worst, heard[worst]


@dataclass(frozen=True)
class Heard:
    """One recording, and what a model makes of it.

    Attributes:
        samples: int16, shape (samples,).
        features: float32, shape (windows, coefficients).
        scores: of all labels, shape (labels,).
        best: label and score in % of all answers, best first.
    """

    samples: npt.NDArray[np.int16]
    features: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    best: list[tuple[str, float]]


def recordings(file: Path, heard: list[Heard], names: list[str], title: str, spec: AudioInput, label: str = "") -> None:
    """A recording a row: its waveform, its features, and the best answers as bars.

    Args:
        file: the PNG to write.
        heard: the recordings.
        names: a text above each waveform.
        title: a sentence above the bars.
        spec: the recipe's input.
        label: the right answer, whose bar is of the other colour; empty: no bar is.
    """
    figure, axes = pictures.new_figure(8.6, 1.7 * len(heard) + 0.6, len(heard), 3, width_ratios=[1.2, 1.2, 1.6])
    seconds = spec.samples / spec.rate
    for row, (each, name) in enumerate(zip(heard, names, strict=True)):
        wave, image, bars = axes[row]
        loudest = max(float(np.abs(each.samples.astype(np.int32)).max()), 1.0)  # the features do not know the volume
        wave.plot(np.arange(len(each.samples)) / spec.rate, each.samples / loudest, color=pictures.BLUE, linewidth=0.4)
        wave.set_xlim(0, seconds)
        wave.set_ylim(-1, 1)
        wave.set_yticks([-1, 0, 1])
        wave.set_title(name, fontsize=9)
        # The first coefficient is the loudness: it would leave no colours to the others.
        shown = each.features[:, 1:].T if each.features.shape[1] > 1 else each.features.T
        top = max(float(np.abs(shown).max()), 1e-6)
        image.imshow(
            shown, aspect="auto", origin="lower", cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest",
            extent=(0, seconds, 0.5, len(shown) + 0.5),
        )  # fmt: skip
        best = [(answer, score) for answer, score in each.best[:ANSWERS] if f"{score:.1f}" != "0.0"]
        best += [(answer, score) for answer, score in each.best if answer == label and (answer, score) not in best]
        places = range(len(best))
        colours = [pictures.ORANGE if answer == label else pictures.GREY for answer, _ in best]
        colours[0] = pictures.RED if label and best[0][0] != label else pictures.BLUE
        bars.barh(places, [score for _, score in best], color=colours, height=0.7)
        for place, (_, score) in enumerate(best):
            inside = score > 85
            bars.text(
                score - 1 if inside else score + 1, place, f"{score:.1f} %", va="center", fontsize=8,
                ha="right" if inside else "left", color="white" if inside else "black",
            )  # fmt: skip
        bars.set_yticks(places, [answer for answer, _ in best])
        bars.set_ylim(max(len(best), 4) - 0.4, -0.6)
        bars.set_xlim(0, 100)
        bars.tick_params(length=0)
    axes[0, 1].set_title("features: coefficients 2 and up", fontsize=9)
    axes[0, 2].set_title(title, fontsize=9)
    for axis in axes[-1, :2]:
        axis.set_xlabel("seconds", fontsize=8)
    pictures.save_figure(figure, file, colours=128)
