"""Draw answers.png: what the two demo models make of the same digits, and where `doit compat` lets them run.

docker/run doit demo
docker/run python docs/pictures/draw_answers.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

mpl.use("Agg")

import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
DIGITS = (1, 2, 4, 5, 7)  # of the bundle's ten example inputs; both models read these
MODELS = {"demo_nearest": "nearest", "demo_bilinear": "bilinear"}
BLUE, RED, GREY = "#0072B2", "#D55E00", "#5F5F5F"  # stay apart for colour-blind readers
WORDS = {"green": ("right", BLUE), "red": ("FIXED OUTPUT", RED)}


def ask(bundle: Path, pixels: Any) -> tuple[Any, int, float]:
    """The feature map of one image (28, 28), the answer, and its probability, from the float32 file."""
    graph = Interpreter(str(bundle / f"{bundle.name}_float32.tflite"), experimental_preserve_all_tensors=True)
    graph.allocate_tensors()
    graph.set_tensor(graph.get_input_details()[0]["index"], (pixels / 255).astype(np.float32).reshape(1, 28, 28, 1))
    graph.invoke()
    scores = graph.get_tensor(graph.get_output_details()[0]["index"])[0]
    sigmoid = next(op for op in graph._get_ops_details() if op["op_name"] == "LOGISTIC")  # noqa: SLF001
    return np.squeeze(graph.get_tensor(sigmoid["outputs"][0])), int(scores.argmax()), float(scores.max())


def verdict(bundle: Path, accelerator: str) -> str:
    """What compat.json says of an accelerator: green or red."""
    targets = json.loads((bundle / "compat.json").read_text())["targets"]
    return next(target["verdict"] for target in targets if target["accelerator"] == accelerator)


def main() -> None:
    """Write answers.png beside this file."""
    mpl.rcParams.update({"font.family": "DejaVu Sans", "font.size": 10})
    columns = len(DIGITS)
    figure, axes = plt.subplots(
        3, columns + 1, figsize=(9, 4.3), width_ratios=[*[1] * columns, 2.0], layout="constrained"
    )
    bundles = [ROOT / "artifacts" / name for name in MODELS]
    names = [f"example_{number or 'input'}.png" for number in DIGITS]
    for column, name in enumerate(names):
        with Image.open(next(bundles[0].rglob(name))) as image:
            pixels = np.asarray(image.convert("L"))
        axes[0, column].imshow(pixels, cmap="gray", interpolation="nearest")
        for row, bundle in enumerate(bundles, 1):
            drawn, answer, score = ask(bundle, pixels)
            axes[row, column].imshow(drawn, cmap="viridis", interpolation="nearest")
            axes[row, column].set_xlabel(f"{answer}: {100 * score:.0f} %")
    for axis in axes[:, :columns].flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    for row, label in enumerate(["input", *MODELS.values()]):
        axes[row, 0].set_ylabel(label, fontsize=11, fontweight="bold")
        axes[row, columns].axis("off")
    axes[0, columns].text(
        0.02, 0.92, "One network,\ntwo upsamplings:\nfeature map, and\nthe answer below.",
        transform=axes[0, columns].transAxes, color=GREY, va="top",
    )  # fmt: skip
    for row, bundle in enumerate(bundles, 1):
        for line, (board, accelerator) in enumerate((("CPU", "cpu"), ("i.MX 8M Plus NPU, predicted", "vx"))):
            words, colour = WORDS[verdict(bundle, accelerator)]
            place = axes[row, columns]
            place.text(0.02, 0.92 - 0.5 * line, board, transform=place.transAxes, color=GREY, va="top")
            place.text(
                0.02, 0.74 - 0.5 * line, words, transform=place.transAxes, color=colour, va="top", fontsize=13,
                fontweight="bold",
            )  # fmt: skip
    file = Path(__file__).parent / "answers.png"
    figure.savefig(file, dpi=120, metadata={"Software": None})
    with Image.open(file) as image:
        image.convert("RGB").quantize(224, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
