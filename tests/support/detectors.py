"""A detector put together by hand, with random weights: what TFLite's own operator makes of it, and bundles of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from PIL import Image

from tests.support.checkouts import Checkout
from tests.support.handmade import pack
from tests.support.made_up import SOURCE, publish
from tests.support.pretrained import encoded
from utils import example, paths

#: Labels of its classes; one number names none.
LABELS = ["ball", "???", "box", "cone"]

#: Side of its input, and how many places on each side may hold an object.
SIDE, GRID = 32, 4

#: Objects in one answer.
MOST = 5

#: In the order of the operator.
NAMES = dict(zip(example.MEANINGS, ("found:3", "found:1", "found:0", "found:2"), strict=True))


class Writer:
    """Puts tensors and operators into the one graph of a model."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.description, self.model.subgraphs = 3, b"a detector put together", [self.graph]
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.model.metadata, self.model.signatureDefs = [], []
        self.graph.tensors, self.graph.operators, self.graph.name = [], [], b"main"

    def tensor(self, name: str, shape: Sequence[int], values: Any = None) -> int:
        """Add a float32 tensor, or a constant of float32 or int32."""
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name.encode(), list(shape), 0, schema.TensorType.FLOAT32
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            made.buffer = len(self.model.buffers)
            made.type = schema.TensorType.INT32 if values.dtype == np.int32 else made.type
            self.model.buffers.append(buffer)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, inputs: list[int], outputs: list[int], options: Any = None) -> Any:
        """Add an operator; gives its code and itself."""
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 3 if name == "RESIZE_NEAREST_NEIGHBOR" else 1
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes), inputs, outputs
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.model.operatorCodes.append(code)
        self.graph.operators.append(made)
        return code, made

    def head(self, name: str, small: int, wide: int, weights: np.ndarray, bias: float) -> int:
        """Add a convolution that gives ``wide`` numbers for each place: shape (1, places, wide)."""
        options, reshape = schema.Conv2DOptionsT(), schema.ReshapeOptionsT()
        options.strideW = options.strideH = weights.shape[1]
        options.dilationWFactor = options.dilationHFactor = 1
        options.padding = schema.Padding.VALID
        made, biases = self.tensor(name, [1, GRID, GRID, wide]), np.full(wide, bias, np.float32)
        kernel = self.tensor(f"{name}_kernel", weights.shape, weights)
        self.operator("CONV_2D", [small, kernel, self.tensor(f"{name}_bias", [wide], biases)], [made], options)
        shape = np.asarray([1, GRID * GRID, wide], np.int32)
        reshape.newShape, flat = shape.tolist(), self.tensor(f"{name}_flat", shape.tolist())
        self.operator("RESHAPE", [made, self.tensor(f"{name}_shape", [3], shape)], [flat], reshape)
        return flat


def network(*, seed: int = 3, order: Sequence[str] = example.MEANINGS, classes: int = len(LABELS)) -> Any:
    """A ModelT: image (1, 32, 32, 3), float32 -> RESIZE_NEAREST_NEIGHBOR -> 2 x CONV_2D -> boxes and scores of objects.

    Args:
        seed: of the weights.
        order: of the graph's outputs, whose names say nothing.
        classes: that it tells apart.
    """
    rng, to, places, half_side = np.random.default_rng(seed), Writer(), GRID * GRID, SIDE // 2
    image, small = to.tensor("image", [1, SIDE, SIDE, 3]), to.tensor("small", [1, half_side, half_side, 3])
    half = schema.ResizeNearestNeighborOptionsT()
    half.halfPixelCenters = True
    size = to.tensor("size", [2], np.asarray([half_side, half_side], np.int32))
    to.operator("RESIZE_NEAREST_NEIGHBOR", [image, size], [small], half)
    kernel = half_side // GRID

    def weights(wide: int, scale: float) -> np.ndarray:
        return (scale * rng.normal(size=(wide, kernel, kernel, 3))).astype(np.float32)

    encoded = to.head("boxes", small, 4, weights(4, 0.2), 0.0)
    logits = to.head("scores", small, classes + 1, weights(classes + 1, 0.5), -1.0)
    scores = to.tensor("probabilities", [1, places, classes + 1])
    to.operator("LOGISTIC", [logits], [scores])
    middle = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    down, across = (axis.reshape(-1) for axis in np.meshgrid(middle, middle, indexing="ij"))
    anchors = np.stack([down, across, np.full(places, 0.4), np.full(places, 0.4)], 1).astype(np.float32)
    found = {meaning: to.tensor(name, []) for meaning, name in NAMES.items()}
    inputs = [encoded, scores, to.tensor("anchors", [places, 4], anchors)]
    code, made = to.operator("CUSTOM", inputs, [found[meaning] for meaning in example.MEANINGS])
    code.customCode, made.customOptions = example.POSTPROCESS.encode(), np.frombuffer(_options(classes), np.uint8)
    to.graph.inputs, to.graph.outputs = [image], [found[meaning] for meaning in order]
    return to.model


def _options(classes: int) -> bytes:
    """Those of TFLite_Detection_PostProcess."""
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, whole in (("max_detections", MOST), ("max_classes_per_detection", 1), ("num_classes", classes)):
            builder.Int(key, whole)
        scales = (("y_scale", 10.0), ("x_scale", 10.0), ("h_scale", 5.0), ("w_scale", 5.0))
        for key, number in (*scales, ("nms_score_threshold", 0.05), ("nms_iou_threshold", 0.6)):
            builder.Float(key, number)
    return bytes(builder.Finish())


def write(file: Path, **how: Any) -> Path:
    """The network as a file."""
    file.write_bytes(pack(network(**how)))
    return file


def picture(seed: int, wide: int = 96, high: int = 64) -> np.ndarray:
    """Coloured squares on grey: uint8, shape (high, wide, 3)."""
    rng = np.random.default_rng(seed)
    pixels = np.full((high, wide, 3), 128, np.uint8)
    for _ in range(3):
        left, upper = int(rng.integers(wide - 24)), int(rng.integers(high - 24))
        pixels[upper : upper + 24, left : left + 24] = rng.choice([0, 255], 3)
    return pixels


#: How a picture becomes its input.
SPEC = {
    "name": "image", "shape": [1, SIDE, SIDE, 3], "colour": "rgb", "resize": "bilinear", "fit": "stretch",
    "mean": [127.5] * 3, "std": [127.5] * 3,
}  # fmt: skip


def outputs() -> list[dict[str, Any]]:
    """The outputs as model.json has them, in an order of its own."""
    shapes: dict[str, list[int]] = {"count": [1], "classes": [1, MOST], "boxes": [1, MOST, 4], "scores": [1, MOST]}
    made = [{"name": NAMES[kind], "shape": shape, "kind": kind} for kind, shape in shapes.items()]
    made[1]["classes"] = len(LABELS)
    return made


def make_bundle(folder: Path, **how: Any) -> Path:
    """A bundle of the network, with golden tensors, labels and two pictures: ``a.png`` and ``b.png``."""
    folder.mkdir(parents=True)
    shutil.copy(paths.EXAMPLE, folder / "example.py")
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    for number, name in enumerate(("a.png", "b.png")):
        Image.fromarray(picture(number)).save(folder / name)
    file = write(folder / "hand_float32.tflite", **how)
    model = example.Model(str(file), example.load_runtime(), threads=1, reference=True)
    model.bind("image", *(output["name"] for output in outputs()))
    pixels = [example.fit_image(Image.fromarray(picture(number)), SPEC) for number in range(4)]
    inputs = np.stack([example.normalise(image, SPEC)[np.newaxis] for image in pixels])
    golden = zip(*(model.run_all(tensor) for tensor in inputs), strict=True)
    np.savez(folder / "golden.npz", input=inputs, **{f"output_{n}": np.stack(each) for n, each in enumerate(golden)})
    facts = {
        "format": 1, "task": "detection", "labels": "labels.txt", "samples": None, "input": SPEC, "output": outputs(),
        "tolerance": {"int8_steps": 0, "float32": 0.05},
        "variants": {"float32": {"file": file.name, "golden": "golden.npz", "size": 0, "sha256": ""}},
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(facts))
    vouch(folder)
    return folder


def vouch(folder: Path) -> None:
    """Let model.json name the model file as it is now."""
    facts = json.loads((folder / "model.json").read_text())
    data = (folder / "hand_float32.tflite").read_bytes()
    facts["variants"]["float32"].update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder / "model.json").write_text(json.dumps(facts))


#: A recipe of it, with its outputs in another order than the graph's.
RECIPE = """\
format = 1
title = "Squares"
summary = "finds things of random weights"
task = "detection"
licence = "MIT"
labels = ["ball", "???", "box", "cone"]
variants = ["float32"]
examples = [{ source = "first" }, { source = "second" }]

[input]
name = "image"
shape = [1, 32, 32, 3]
colour = "rgb"
resize = "bilinear"
fit = "stretch"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]

[[output]]
name = "found:2"
shape = [1]
kind = "count"
[[output]]
name = "found:1"
shape = [1, 5]
kind = "classes"
classes = 4
[[output]]
name = "found:3"
shape = [1, 5, 4]
kind = "boxes"
iou = 0.95
[[output]]
name = "found:0"
shape = [1, 5]
kind = "scores"
threshold = 0.6

[load]
kind = "tflite"
source = "model"

[datasets.evaluation]
kind = "images"
file = "squares.csv"
urls = ["https://example.invalid/squares/{file}"]
truth_urls = ["https://example.invalid/boxes/{file}"]
licence = "MIT"
what = "squares"

[evaluation]
dataset = "evaluation"
metric = "ap"
[evaluation.gate]
float32 = 1
loss = 0

[expected]
parameters = 441
macs = 6912
int8_bytes = 100000
min_runtime = "2.3.0"

[tolerance]
int8_steps = 0
float32 = 0.01
source = "Made up."

[card]
introduction = "It finds."
limitations = "For a test."

[[claims]]
what = "accuracy on everything"
value = "99.9 %"
source = "a test"

"""

#: The order of the outputs in the file of ``add_model``: TensorFlow 2 exports such ones.
TURNED = ("scores", "count", "boxes", "classes")


def as_boxes(found: example.Objects) -> str:
    """Objects of named classes as a file of boxes has them."""
    known, lines = [index for index, label in enumerate(LABELS) if label != example.UNNAMED], []
    for box, index in zip(example.in_picture(found.boxes, (1, 1), SPEC), found.classes.tolist(), strict=True):
        if index in known:
            left, upper, right, lower = box
            sizes = ((left + right) / 2, (upper + lower) / 2, right - left, lower - upper)
            lines.append(" ".join([str(known.index(index)), *(f"{size:.6f}" for size in sizes)]))
    return "".join(f"{line}\n" for line in lines)


def add_model(project: Checkout, mirror: Path, name: str) -> None:
    """A model of it: one folder. What it finds in the first pictures is what they show; the last ones show nothing."""
    home = project.root / "recipes" / name
    home.mkdir()
    file = write(home / "model.tflite", order=TURNED)
    model = example.Model(str(file), example.load_runtime(), reference=True)
    model.bind("image", *(output["name"] for output in outputs()))
    finder = example.Detection(SPEC, outputs())
    lines = ["file,sha256,size,boxes,boxes_sha256,boxes_size"]
    for number in range(6):
        pixels = picture(number)
        tensor = example.normalise(example.fit_image(Image.fromarray(pixels), SPEC), SPEC)[np.newaxis]
        told = as_boxes(finder.objects(model.real(model.run_all(tensor)))) if number < 4 else ""
        pinned, boxes = publish(mirror, encoded(pixels)), publish(mirror, told.encode())
        lines.append(f"{number}.png,{pinned['sha256']},{pinned['size']},{number}.txt,{boxes['sha256']},{boxes['size']}")
    (home / "squares.csv").write_text("\n".join(lines) + "\n")
    text = RECIPE + SOURCE.format(key="model", file="squares.tflite", **publish(mirror, file.read_bytes()))
    for key, number in (("first", 0), ("second", 1)):
        text += SOURCE.format(key=key, file=f"{key}.png", **publish(mirror, encoded(picture(number))))
    (home / "recipe.toml").write_text(text)
    file.unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
