"""Pictures of a model card that several kinds of task share. The same numbers give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "RED",
    "Sight",
    "answers",
    "confusion",
    "digits",
    "feature_maps",
    "fixed_output",
    "new_figure",
    "save_figure",
    "training",
]

#: Colours that stay apart for colour-blind readers (Okabe and Ito's palette).
BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#7F7F7F"

#: Pixels per inch: 2x of what a README shows, and still small files.
DPI = 110

Pixels = npt.NDArray[np.uint8]


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure of ``width`` x ``height`` inches and its axes, always a 2-d array."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcdefaults()
    mpl.rcParams.update(
        {"font.family": "DejaVu Sans", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **options)
    return figure, axes


def save_figure(figure: Any, file: Path, colours: int = 64, kept: set[tuple[int, int, int]] | None = None) -> None:
    """Write a figure as a PNG with a palette of so many colours, and close it; those that are ``kept`` stay exact."""
    import matplotlib.pyplot as plt
    from PIL import Image

    figure.savefig(file, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    with Image.open(file) as image:  # few colours: a palette makes the file a third of the size
        kept = kept or set()
        found = image.convert("RGB").quantize(colours - len(kept), dither=Image.Dither.NONE)
        if kept:
            parts = [part for colour in sorted(kept) for part in colour]
            found.putpalette([*(found.getpalette() or [])[: 3 * (colours - len(kept))], *parts])
            found = image.convert("RGB").quantize(palette=found, dither=Image.Dither.NONE)
        found.save(file, optimize=True)


def digits(file: Path, images: Pixels, labels: list[str], answers: dict[str, list[str]], title: str) -> None:
    """A strip of inputs, each with its label and every variant's answer; wrong answers are red.

    Args:
        file: the PNG to write.
        images: uint8, shape (N, H, W, 1).
        labels: what each image is.
        answers: variant -> what it answers for each image.
        title: a sentence above the strip.
    """
    columns = min(len(images), 10)
    rows = -(-len(images) // columns)
    figure, axes = new_figure(0.85 * columns, 1.35 * rows + 0.3, rows, columns)
    for place, axis in enumerate(axes.flat):
        axis.axis("off")
        if place >= len(images):
            continue
        axis.imshow(images[place, ..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(f"is {labels[place]}", fontsize=8)
        for line, (variant, given) in enumerate(answers.items()):
            right = given[place] == labels[place]
            axis.text(
                0.5, -0.16 - 0.17 * line, f"{variant}: {given[place]}", transform=axis.transAxes, ha="center",
                fontsize=7, color=GREY if right else RED, fontweight="normal" if right else "bold",
            )  # fmt: skip
    figure.suptitle(title, fontsize=9)
    save_figure(figure, file)


def answers(file: Path, images: Pixels, given: list[list[tuple[str, float]]], title: str) -> None:
    """Example inputs, and beside each the best answers as bars; scores that print as 0.0 % are left out.

    Args:
        file: the PNG to write.
        images: uint8, shape (N, H, W, 1 or 3).
        given: for each image label and score in %, best first.
        title: a sentence above the bars.
    """
    figure, axes = new_figure(7.0, 1.9 * len(images) + 0.4, len(images), 2, width_ratios=[1, 2])
    axes[0, 0].set_title("input", fontsize=9)
    axes[0, 1].set_title(title, fontsize=9)
    for (left, right), image, ranked in zip(axes, images, given, strict=True):
        best = [(label, score) for label, score in ranked if f"{score:.1f}" != "0.0"]
        left.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")  # a map of colours is for gray alone
        left.axis("off")
        places = range(len(best))
        right.barh(places, [score for _, score in best], color=[BLUE, *[GREY] * (len(best) - 1)], height=0.7)
        for place, (_, score) in enumerate(best):
            inside = score > 85
            right.text(
                score - 1 if inside else score + 1, place, f"{score:.1f} %", va="center", fontsize=8,
                ha="right" if inside else "left", color="white" if inside else "black",
            )  # fmt: skip
        right.set_yticks(places, [label for label, _ in best])
        right.set_ylim(max(len(best), 4) - 0.4, -0.6)
        right.set_xlim(0, 100)
        right.tick_params(length=0)
    save_figure(figure, file, colours=256)


def training(file: Path, history: dict[str, list[float]], final: dict[str, float]) -> None:
    """Loss and error over the epochs of training, with the final error on the evaluation set.

    Args:
        file: the PNG to write.
        history: epoch, loss, accuracy (0..1), one entry a block of steps.
        final: variant -> accuracy in % on the evaluation set.
    """
    figure, ((left, right),) = new_figure(7.0, 2.6, 1, 2)
    epoch = history["epoch"]
    left.plot(epoch, history["loss"], color=BLUE, linewidth=1)
    left.set_title("training loss")
    right.plot(epoch, [100 - 100 * a for a in history["accuracy"]], color=BLUE, linewidth=1, label="training set")
    for (variant, accuracy), colour in zip(final.items(), (ORANGE, RED), strict=False):
        right.axhline(
            max(100 - accuracy, 0.01), color=colour, linewidth=1, linestyle="--" if variant == "int8" else "-",
            label=f"{variant}, evaluation set: {100 - accuracy:.2f} %",
        )  # fmt: skip
    right.set_title("wrong answers, %")
    right.set_yscale("log")
    right.set_ylim(0.1, 100)
    right.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    right.legend(fontsize=7, frameon=False)
    for axis in (left, right):
        axis.set_xlabel("epoch")
        axis.set_xlim(0, max(epoch))
        axis.grid(alpha=0.25)
    save_figure(figure, file)


def confusion(file: Path, matrix: list[list[int]], labels: list[str], title: str) -> None:
    """The confusion matrix: what each label was taken for. Right answers are grey, errors blue by number."""
    counts = np.asarray(matrix)
    size = len(labels)
    errors = counts.astype(float)
    np.fill_diagonal(errors, np.nan)
    edge = 0.36 * size + 0.9
    figure, ((axis,),) = new_figure(edge, edge)
    top = max(float(np.nanmax(errors)), 1.0)
    axis.imshow(errors, cmap="Blues", vmin=0, vmax=1.3 * top)
    for row in range(size):
        for column in range(size):
            count = int(counts[row, column])
            if count:
                dark = row != column and count > 0.7 * top
                axis.text(
                    column, row, f"{count}", ha="center", va="center", fontsize=7,
                    color="white" if dark else GREY if row == column else "black",
                )  # fmt: skip
    axis.set_xticks(range(size), labels, rotation=90 if max(map(len, labels)) > 3 else 0)
    axis.set_yticks(range(size), labels)
    axis.set_xlabel("answer")
    axis.set_ylabel("label")
    axis.set_title(title, fontsize=9)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.tick_params(length=0)
    save_figure(figure, file)


def feature_maps(file: Path, images: Pixels, maps: npt.NDArray[np.float32], title: str) -> None:
    """Inputs, and below each the one-channel map that the network's body makes of it.

    Args:
        file: the PNG to write.
        images: uint8, shape (N, H, W, 1).
        maps: shape (N, H, W), real values.
        title: a sentence above the pictures.
    """
    figure, axes = new_figure(0.85 * len(images), 2.1, 2, len(images))
    low, high = float(maps.min()), float(maps.max())
    for place in range(len(images)):
        axes[0, place].imshow(images[place, ..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes[1, place].imshow(
            maps[place], cmap="viridis", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest"
        )
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0, 0].set_ylabel("input")
    axes[1, 0].set_ylabel("map")
    figure.suptitle(title, fontsize=9)
    save_figure(figure, file)


@dataclass(frozen=True)
class Sight:
    """What a model makes of some inputs.

    Attributes:
        maps: the one-channel maps of its body, shape (N, H, W), real values.
        scores: shape (N, labels), in %.
    """

    maps: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


def fixed_output(file: Path, images: Pixels, right: Sight, fixed: Sight, labels: list[str]) -> None:
    """One input a row: beside it the right map and scores, and beside those the ones that do not change.

    Args:
        file: the PNG to write.
        images: uint8, shape (N, H, W, 1).
        right: what the model makes of them.
        fixed: what it makes of them where an accelerator skips an operator.
        labels: of the scores.
    """
    figure, axes = new_figure(8.6, 1.35 * len(images) + 0.6, len(images), 5, width_ratios=[1, 1, 2.2, 1, 2.2])
    heads = ("input", "right: map", "right: scores, %", "FIXED_OUTPUT: map", "FIXED_OUTPUT: scores, %")
    for column, head in enumerate(heads):
        axes[0, column].set_title(head, fontsize=8, color=RED if column > 2 else "black")
    low = float(min(right.maps.min(), fixed.maps.min()))
    high = max(float(max(right.maps.max(), fixed.maps.max())), low + 1e-6)
    for row, image in enumerate(images):
        axes[row, 0].imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        for first, sight, colour in ((1, right, BLUE), (3, fixed, RED)):
            axes[row, first].imshow(sight.maps[row], cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
            bars = axes[row, first + 1]
            bars.bar(range(len(labels)), sight.scores[row], color=colour)
            bars.set_xticks(range(len(labels)), labels, fontsize=7)
            bars.set_ylim(0, 100)
            bars.set_yticks([0, 50, 100], ["0", "50", "100"], fontsize=7)
            bars.tick_params(length=0)
        for column in (0, 1, 3):
            axes[row, column].set_xticks([])
            axes[row, column].set_yticks([])
    save_figure(figure, file)
