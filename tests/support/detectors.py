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

from tests.support.handmade import pack
from utils import example, paths

#: Labels of its classes; one number names none.
LABELS = ["ball", "???", "box", "cone"]

#: Side of its input, and how many places on each side may hold an object.
SIDE, GRID = 32, 4

#: Objects in one answer.
MOST = 5

#: In the order of the operator.
NAMES = dict(zip(example.MEANINGS, ("found:3", "found:1", "found:0", "found:2"), strict=True))


def network(*, seed: int = 3, order: Sequence[str] = example.MEANINGS, classes: int = len(LABELS)) -> Any:
    """A ModelT: image (1, 32, 32, 3), float32 -> RESIZE_NEAREST_NEIGHBOR -> 2 x CONV_2D -> boxes and scores of objects.

    Args:
        seed: of the weights.
        order: of the graph's outputs, whose names say nothing.
        classes: that it tells apart.
    """
    rng = np.random.default_rng(seed)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description, model.subgraphs = 3, b"a detector put together by hand", [graph]
    model.buffers, model.operatorCodes, model.metadata, model.signatureDefs = [schema.BufferT()], [], [], []
    graph.tensors, graph.operators, graph.name = [], [], b"main"

    def tensor(name: str, shape: list[int], values: Any = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name.encode(), shape, 0, schema.TensorType.FLOAT32
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            made.buffer = len(model.buffers)
            made.type = schema.TensorType.INT32 if values.dtype == np.int32 else made.type
            model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(name: str, inputs: list[int], outputs: list[int], options: Any = None) -> Any:
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 3 if name == "RESIZE_NEAREST_NEIGHBOR" else 1
        made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes), inputs, outputs
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        model.operatorCodes.append(code)
        graph.operators.append(made)
        return code, made

    places = GRID * GRID
    image, small = tensor("image", [1, SIDE, SIDE, 3]), tensor("small", [1, SIDE // 2, SIDE // 2, 3])
    half = schema.ResizeNearestNeighborOptionsT()
    half.halfPixelCenters = True
    size = tensor("size", [2], np.asarray([SIDE // 2, SIDE // 2], np.int32))
    operator("RESIZE_NEAREST_NEIGHBOR", [image, size], [small], half)

    def head(name: str, wide: int, scale: float, bias: float) -> int:
        kernel = SIDE // 2 // GRID
        weights = (scale * rng.normal(size=(wide, kernel, kernel, 3))).astype(np.float32)
        options = schema.Conv2DOptionsT()
        options.strideW = options.strideH = kernel
        options.dilationWFactor = options.dilationHFactor = 1
        options.padding = schema.Padding.VALID
        made = tensor(name, [1, GRID, GRID, wide])
        biases = tensor(f"{name}_bias", [wide], np.full(wide, bias, np.float32))
        operator("CONV_2D", [small, tensor(f"{name}_kernel", list(weights.shape), weights), biases], [made], options)
        flat, reshape = tensor(f"{name}_flat", [1, places, wide]), schema.ReshapeOptionsT()
        reshape.newShape = [1, places, wide]
        operator("RESHAPE", [made, tensor(f"{name}_shape", [3], np.asarray([1, places, wide], np.int32))], [flat], reshape)
        return flat

    encoded, logits = head("boxes", 4, 0.2, 0.0), head("scores", classes + 1, 0.5, -1.0)
    scores = tensor("probabilities", [1, places, classes + 1])
    operator("LOGISTIC", [logits], [scores])
    middle = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    down, across = (axis.reshape(-1) for axis in np.meshgrid(middle, middle, indexing="ij"))
    anchors = np.stack([down, across, np.full(places, 0.4), np.full(places, 0.4)], 1).astype(np.float32)
    found = {meaning: tensor(name, []) for meaning, name in NAMES.items()}
    inputs = [encoded, scores, tensor("anchors", [places, 4], anchors)]
    code, made = operator("CUSTOM", inputs, [found[meaning] for meaning in example.MEANINGS])
    code.customCode, made.customOptions = example.POSTPROCESS.encode(), np.frombuffer(_options(classes), np.uint8)
    graph.inputs, graph.outputs = [image], [found[meaning] for meaning in order]
    return model


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


if __name__ == "__main__":
    write(Path(sys.argv[1]))
