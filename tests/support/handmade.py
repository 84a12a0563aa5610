"""A small network put together by hand, without TensorFlow, and a bundle of it: what hostile files are made from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from utils import example, paths

#: Labels of its five classes.
LABELS = ["red", "green", "blue", "gray", "none"]


def network(*, whole_numbers: bool = False) -> Any:
    """A ModelT: image (1, 8, 8, 3) -> CONV_2D -> RESHAPE -> FULLY_CONNECTED -> SOFTMAX -> scores (1, 5).

    Args:
        whole_numbers: int8 from end to end, else float32.
    """
    rng = np.random.default_rng(5)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description, model.subgraphs = 3, b"put together by hand", [graph]
    model.buffers, model.operatorCodes, model.metadata, model.signatureDefs = [schema.BufferT()], [], [], []
    graph.tensors, graph.operators, graph.name = [], [], b"main"
    kind = schema.TensorType.INT8 if whole_numbers else schema.TensorType.FLOAT32

    def tensor(
        name: str, shape: list[int], values: Any = None, scale: float = 0.05, zero: int = 0, of: int = kind
    ) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), shape, of, 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            made.buffer = len(model.buffers)
            model.buffers.append(buffer)
        if whole_numbers and scale:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def weights(name: str, shape: list[int]) -> int:
        if whole_numbers:
            return tensor(name, shape, rng.integers(-20, 20, shape, np.int8), 0.01)
        return tensor(name, shape, rng.normal(size=shape).astype(np.float32))

    def biases(name: str, count: int, scale: float) -> int:
        zeros = np.zeros(count, np.int32 if whole_numbers else np.float32)
        return tensor(name, [count], zeros, scale, of=schema.TensorType.INT32 if whole_numbers else kind)

    def operator(name: str, inputs: list[int], outputs: list[int], options: Any, version: int = 1) -> None:
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = version
        made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes), inputs, outputs
        made.builtinOptions = options
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        model.operatorCodes.append(code)
        graph.operators.append(made)

    version = 3 if whole_numbers else 1
    image = tensor("image", [1, 8, 8, 3], scale=1 / 127)
    maps, flat, scores = tensor("maps", [1, 8, 8, 4]), tensor("flat", [1, 256]), tensor("scores", [1, 5])
    answer = tensor("answer", [1, 5], scale=1 / 256, zero=-128)
    conv, reshape, dense = schema.Conv2DOptionsT(), schema.ReshapeOptionsT(), schema.FullyConnectedOptionsT()
    conv.strideW = conv.strideH = conv.dilationWFactor = conv.dilationHFactor = 1
    reshape.newShape = [1, 256]
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    shape = tensor("shape", [2], np.asarray([1, 256], np.int32), 0, of=schema.TensorType.INT32)
    into = [image, weights("kernel", [4, 3, 3, 3]), biases("bias", 4, 0.01 / 127)]
    operator("CONV_2D", into, [maps], conv, version)
    operator("RESHAPE", [maps, shape], [flat], reshape)
    into = [flat, weights("dense", [5, 256]), biases("offset", 5, 0.0005)]
    operator("FULLY_CONNECTED", into, [scores], dense, 4 if whole_numbers else 1)
    operator("SOFTMAX", [scores], [answer], softmax, 2 if whole_numbers else 1)
    graph.inputs, graph.outputs = [image], [answer]
    return model


def pack(model: Any) -> bytes:
    """The model as the bytes of a .tflite file."""
    import flatbuffers

    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def changed(edit: Callable[[Any], Any], *, whole_numbers: bool = False) -> bytes:
    """The network's bytes after ``edit`` has changed its ModelT."""
    model = network(whole_numbers=whole_numbers)
    edit(model)
    return pack(model)


def make_bundle(folder: Path) -> Path:
    """A bundle of the network as float32 and int8, with golden tensors, samples, labels and an image."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(paths.EXAMPLE, folder / "example.py")
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    rng, variants, runtime = np.random.default_rng(6), {}, example.load_runtime()
    pixels = rng.integers(0, 256, (6, 8, 8, 3), np.uint8)
    Image.fromarray(pixels[0]).save(folder / "image.png")
    channels = {"colour": "rgb", "resize": "bilinear", "fit": "stretch", "mean": [127.5] * 3, "std": [127.5] * 3}
    spec = {"name": "image", "shape": [1, 8, 8, 3], **channels}
    answers: list[int] = []
    for variant in ("float32", "int8"):
        file = folder / f"hand_{variant}.tflite"
        file.write_bytes(pack(network(whole_numbers=variant == "int8")))
        model = example.Model(str(file), runtime, threads=1, reference=True)
        inputs = np.stack([model.quantise(example.normalise(image[None], spec)) for image in pixels])
        outputs = np.stack([model.run(tensor) for tensor in inputs])
        answers = outputs.reshape(len(pixels), 5).argmax(-1).tolist()
        np.savez(folder / f"golden_{variant}.npz", input=inputs, output=outputs)
        facts = {"size": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "aliases": []}
        variants[variant] = {"file": file.name, "golden": f"golden_{variant}.npz", **facts}
    np.savez(folder / "samples.npz", images=pixels, labels=np.asarray(answers))
    facts = {
        "format": 1, "task": "classification", "labels": "labels.txt", "samples": "samples.npz", "input": spec,
        "output": {"name": "answer", "shape": [1, 5], "kind": "probabilities"}, "body": {"upsampling": "none"},
        "tolerance": {"int8_steps": 4, "float32": 0.001}, "variants": variants,
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(facts))
    return folder
