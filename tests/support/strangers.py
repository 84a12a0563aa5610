"""Models as strangers bring them: small graphs with the shapes and oddities of files that other projects publish.

They follow google-coral/test_data, mlcommons/tiny, MediaPipe, TensorFlow Hub and LiteRT's own test data. Each function
of :data:`CORPUS` gives a ModelT with random weights; no TensorFlow takes part.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.support import detectors
from tests.support.handmade import pack
from utils import example

TYPES = schema.TensorType

#: Side of the pictures: the shortest that counts as one is 24.
SIDE = 32


class Graph(detectors.Writer):
    """Puts tensors of any type and operators of any kind into the one graph of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(14)

    def add(
        self,
        name: str | None,
        shape: Sequence[int],
        of: int = TYPES.FLOAT32,
        values: np.ndarray | None = None,
        scale: float = 0.0,
        zero: int = 0,
    ) -> int:
        """Add a tensor of this type; with a scale it is quantised."""
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name and name.encode(), list(shape), 0, of
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            made.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        if scale:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def constant(self, values: Sequence[int] | np.ndarray, of: int = TYPES.INT32) -> int:
        """Add int32 numbers, or an array of another type."""
        array = values if isinstance(values, np.ndarray) else np.asarray(values, np.int32)
        return self.add(f"constant{len(self.graph.tensors)}", array.shape, of, array)

    def custom(self, name: str, inputs: list[int], outputs: list[int]) -> None:
        """Add a custom operator."""
        code, _ = self.operator("CUSTOM", inputs, outputs)
        code.customCode = name.encode()

    def ends(self, inputs: list[int], outputs: list[int]) -> Any:
        """Say which tensors are the inputs and outputs; the model."""
        self.graph.inputs, self.graph.outputs = inputs, outputs
        return self.model

    def picture(self, of: int = TYPES.FLOAT32, shape: Sequence[int] = (1, SIDE, SIDE, 3), name: str = "image") -> int:
        """Add an input for a picture."""
        return self.add(name, shape, of)

    def means(self, image: int) -> int:
        """The mean of each channel of a float picture: 1 x C."""
        options = schema.ReducerOptionsT()
        options.keepDims = False
        made = self.add("means", [1, self.graph.tensors[image].shape[3]])
        self.operator("MEAN", [image, self.constant([1, 2])], [made], options)
        return made

    def dense(self, given: int, wide: int, name: str | None = "dense") -> int:
        """A fully connected layer of random weights: 1 x N to 1 x ``wide``."""
        weights = self.rng.normal(size=(wide, self.graph.tensors[given].shape[-1])).astype(np.float32)
        bias = self.rng.normal(size=wide).astype(np.float32)
        made = self.add(name, [1, wide])
        into = [given, self.constant(weights, TYPES.FLOAT32), self.constant(bias, TYPES.FLOAT32)]
        self.operator("FULLY_CONNECTED", into, [made], schema.FullyConnectedOptionsT())
        return made

    def reshape(self, given: int, shape: Sequence[int], name: str | None = "shaped", of: int = TYPES.FLOAT32) -> int:
        """The same numbers in another shape."""
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        made = self.add(name, shape, of)
        self.operator("RESHAPE", [given, self.constant(list(shape))], [made], options)
        return made

    def softmax(self, given: int, name: str = "probabilities") -> int:
        """Probabilities over the last axis."""
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        made = self.add(name, self.graph.tensors[given].shape)
        self.operator("SOFTMAX", [given], [made], options)
        return made

    def pixels(self, image: int, channels: int, name: str = "maps", stride: int = 1) -> int:
        """A convolution of 1 x 1: ``channels`` numbers for every pixel."""
        options = schema.Conv2DOptionsT()
        options.strideW = options.strideH = stride
        options.dilationWFactor = options.dilationHFactor = 1
        _, height, width, depth = self.graph.tensors[image].shape
        weights = self.rng.normal(size=(channels, 1, 1, depth)).astype(np.float32)
        bias = np.zeros(channels, np.float32)
        made = self.add(name, [1, -(-height // stride), -(-width // stride), channels])
        into = [image, self.constant(weights, TYPES.FLOAT32), self.constant(bias, TYPES.FLOAT32)]
        self.operator("CONV_2D", into, [made], options)
        return made

    def cast(self, given: int, of: int = TYPES.FLOAT32, name: str = "cast") -> int:
        """The same numbers in another type."""
        made = self.add(name, self.graph.tensors[given].shape, of)
        self.operator("CAST", [given], [made])
        return made

    def concatenate(self, given: list[int], name: str = "joined") -> int:
        """Vectors end to end."""
        options = schema.ConcatenationOptionsT()
        options.axis = 1
        made = self.add(name, [1, sum(self.graph.tensors[index].shape[1] for index in given)])
        self.operator("CONCATENATION", given, [made], options)
        return made

    def best(self, given: int, of: int, name: str = "classes") -> int:
        """The number of the largest value of the last axis."""
        options = schema.ArgMaxOptionsT()
        options.outputType = of
        made = self.add(name, self.graph.tensors[given].shape[:-1], of)
        self.operator("ARG_MAX", [given, self.constant([len(self.graph.tensors[given].shape) - 1])], [made], options)
        return made


# --- sounds and other features: no pictures


def word_spotter() -> Any:
    """mlcommons/tiny's keyword spotting: MFCC, 1 x 49 x 10 x 1, int8 with a scale -> 12 probabilities."""
    to = Graph()
    heard = to.add("input_1", [1, 49, 10, 1], TYPES.INT8, scale=0.5847, zero=83)
    flat = to.add("flat", [1, 490], TYPES.INT8, scale=0.5847, zero=83)
    options = schema.ReshapeOptionsT()
    options.newShape = [1, 490]
    to.operator("RESHAPE", [heard, to.constant([1, 490])], [flat], options)
    weights = to.add("weights", [12, 490], TYPES.INT8, to.rng.integers(-20, 20, (12, 490), np.int8), 0.002)
    bias = to.add("bias", [12], TYPES.INT32, np.zeros(12, np.int32), 0.5847 * 0.002)
    scores = to.add("scores", [1, 12], TYPES.INT8, scale=0.1)
    answer = to.add("answer", [1, 12], TYPES.INT8, scale=1 / 256, zero=-128)
    to.operator("FULLY_CONNECTED", [flat, weights, bias], [scores], schema.FullyConnectedOptionsT())[0].version = 4
    last = schema.SoftmaxOptionsT()
    last.beta = 1.0
    to.operator("SOFTMAX", [scores], [answer], last)[0].version = 2
    return to.ends([heard], [answer])


def float_word_spotter() -> Any:
    """The same in float, with a shape of windows that is wider: 1 x 49 x 40 x 1."""
    to = Graph()
    heard = to.add("mfcc", [1, 49, 40, 1])
    return to.ends([heard], [to.softmax(to.dense(to.reshape(heard, [1, 1960]), 4))])


def anomaly_detector() -> Any:
    """mlcommons/tiny's ToyADMOS: 1 x 640 -> 1 x 640."""
    to = Graph()
    given = to.add("input_1", [1, 640])
    return to.ends([given], [to.dense(given, 640)])


def spectrogram() -> Any:
    """VGGish: 1 x 96 x 64 x 1 -> 128 numbers."""
    to = Graph()
    given = to.add("spectrogram", [1, 96, 64, 1])
    return to.ends([given], [to.dense(to.means(given), 128)])


def accelerometer() -> Any:
    """The magic wand: 1 x 128 x 3 x 1 -> 4 probabilities."""
    to = Graph()
    given = to.add("acceleration", [1, 128, 3, 1])
    return to.ends([given], [to.softmax(to.dense(to.reshape(given, [1, 384]), 4))])


def channels_first() -> Any:
    """A network from PyTorch: 1 x 3 x 32 x 32."""
    to = Graph()
    given = to.add("x", [1, 3, SIDE, SIDE])
    return to.ends([given], [to.dense(to.reshape(given, [1, 3 * SIDE * SIDE]), 10)])


# --- pictures: one vector


def classifier() -> Any:
    """A picture -> 5 probabilities."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.softmax(to.dense(to.means(image), 5))])


def gray_classifier() -> Any:
    """A gray square -> 10 probabilities, as MNIST's."""
    to = Graph()
    image = to.picture(shape=(1, 28, 28, 1))
    return to.ends([image], [to.softmax(to.dense(to.reshape(image, [1, 784]), 10))])


def imagenet_logits() -> Any:
    """A picture -> 1001 numbers without a softmax."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.dense(to.means(image), 1001)])


def embedding() -> Any:
    """A feature extractor: a picture -> 1280 numbers."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.dense(to.means(image), 1280)])


def class_number() -> Any:
    """A picture -> the number of the best class, without scores."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.best(to.dense(to.means(image), 7), TYPES.INT32)])


# --- pictures: one answer for every pixel


def class_map() -> Any:
    """A DeepLab whose last operator is ARG_MAX: 1 x 32 x 32, int64, 21 classes."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.best(to.pixels(image, 21), TYPES.INT64)])


def class_map_with_axis() -> Any:
    """Another with a last axis of 1, int32."""
    to = Graph()
    image = to.picture()
    best = to.best(to.pixels(image, 21), TYPES.INT32)
    return to.ends([image], [to.reshape(best, [1, SIDE, SIDE, 1], "map", TYPES.INT32)])


def class_map_from_bytes() -> Any:
    """Another that takes uint8, as Coral's."""
    to = Graph()
    image = to.add("ImageTensor", [1, SIDE, SIDE, 3], TYPES.UINT8, scale=1 / 128, zero=128)
    values = to.add("values", [1, SIDE, SIDE, 3])
    to.operator("DEQUANTIZE", [image], [values])
    return to.ends([image], [to.best(to.pixels(values, 21), TYPES.INT64)])


def deeplab() -> Any:
    """A DeepLab that resizes its scores: 1 x 32 x 32 x 21."""
    to = Graph()
    image = to.picture()
    small = to.pixels(image, 21, stride=4)
    made = to.add("ResizeBilinear", [1, SIDE, SIDE, 21])
    to.operator("RESIZE_BILINEAR", [small, to.constant([SIDE, SIDE])], [made], schema.ResizeBilinearOptionsT())
    return to.ends([image], [made])


def unet() -> Any:
    """Coral's U-Net: three classes, with a softmax."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.softmax(to.pixels(image, 3))])


def style_transfer() -> Any:
    """A picture -> a picture."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.pixels(image, 3)])


def heat_maps() -> Any:
    """Key points as maps: 1 x 16 x 16 x 17."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.pixels(image, 17, stride=2)])


# --- pictures: objects and points


def yolo() -> Any:
    """A detector with one grid of anchors: 1 x 8 x 8 x 85."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.pixels(image, 85, stride=4)])


def centernet() -> Any:
    """A detector with three grids of the picture's size: heat, sizes, offsets."""
    to = Graph()
    image = to.picture()
    return to.ends([image], [to.pixels(image, wide, f"grid_{wide}") for wide in (90, 2, 4)])


def raw_ssd() -> Any:
    """An SSD without post-processing: 1 x 16 x 4 and 1 x 16 x 5."""
    model = detectors.network()
    graph = model.subgraphs[0]
    last = graph.operators.pop()
    graph.outputs = list(last.inputs[:2])
    model.operatorCodes.pop()
    return model


def ssd() -> Any:
    """An SSD with TFLite_Detection_PostProcess."""
    return detectors.network()


def builtin_ssd(names: Sequence[str] = ("detection_boxes", "detection_classes", "detection_scores", "count")) -> Any:
    """Four outputs of the shapes that TFLite_Detection_PostProcess has, without it; these are their names."""
    to = Graph()
    image = to.picture()
    means = to.means(image)
    boxes = to.reshape(to.dense(means, 40), [1, 10, 4], names[0])
    many = to.add(names[3], [1], values=np.asarray([10], np.float32))
    return to.ends([image], [boxes, to.dense(means, 10, names[1]), to.dense(means, 10, names[2]), many])


def unnamed_ssd() -> Any:
    """The same with names that say nothing."""
    return builtin_ssd([f"StatefulPartitionedCall:{number}" for number in range(4)])


def movenet() -> Any:
    """MoveNet: int32 without a scale -> 17 points: 1 x 1 x 17 x 3."""
    to = Graph()
    image = to.picture(TYPES.INT32)
    return to.ends([image], [to.reshape(to.dense(to.means(to.cast(image)), 51), [1, 1, 17, 3])])


def blazeface() -> Any:
    """BlazeFace: anchors with 16 numbers and a score each."""
    to = Graph()
    image = to.picture()
    means = to.means(image)
    regressors = to.reshape(to.dense(means, 256), [1, 16, 16], "regressors")
    return to.ends([image], [regressors, to.reshape(to.dense(means, 16), [1, 16, 1], "classificators")])


def free_size() -> Any:
    """MoveNet's multipose model leaves height and width open: stored as 1 x 1 x 1 x 3."""
    to = Graph()
    image = to.picture(shape=(1, 1, 1, 3))
    to.graph.tensors[image].shapeSignature = [1, -1, -1, 3]
    return to.ends([image], [to.dense(to.means(image), 6)])


# --- ends of a graph


def two_inputs() -> Any:
    """A state first, then the picture -> 3 numbers that are the sum of both."""
    to = Graph()
    state, image = to.add("state", [1, 3]), to.picture()
    made = to.add("sum", [1, 3])
    to.operator("ADD", [to.means(image), state], [made], schema.AddOptionsT())
    return to.ends([state, image], [made])


def two_features() -> Any:
    """Two inputs of which none takes a picture."""
    to = Graph()
    left, right = to.add("left", [1, 3]), to.add("right", [1, 3])
    made = to.add("sum", [1, 3])
    to.operator("ADD", [left, right], [made], schema.AddOptionsT())
    return to.ends([left, right], [made])


def no_input() -> Any:
    """A graph that computes the same at each run."""
    to = Graph()
    ones = to.constant(np.asarray([[1, 2, 3]], np.float32), TYPES.FLOAT32)
    state = to.add("state", [1, 3])
    to.graph.tensors[state].isVariable = True
    made = to.add("sum", [1, 3])
    to.operator("ADD", [ones, state], [made], schema.AddOptionsT())
    return to.ends([], [made])


def no_output() -> Any:
    """A graph that keeps its answer for itself."""
    to = Graph()
    image = to.picture()
    to.means(image)
    return to.ends([image], [])


def no_ends() -> Any:
    """Neither input nor output."""
    model = no_input()
    model.subgraphs[0].outputs = []
    return model


def unnamed() -> Any:
    """Tensors without names; two outputs."""
    to = Graph()
    image = to.picture()
    means = to.means(image)
    model = to.ends([image], [to.dense(means, 4), to.dense(means, 6)])
    for tensor in to.graph.tensors:
        tensor.name = None
    return model


def same_names() -> Any:
    """Every tensor has one name; two outputs of one shape with different values, and an input before the picture."""
    to = Graph()
    state, image = to.add("state", [1, 3]), to.picture()
    double, made = to.add("double", [1, 3]), to.add("sum", [1, 3])
    means = to.means(image)
    to.operator("ADD", [means, means], [double], schema.AddOptionsT())
    to.operator("ADD", [means, state], [made], schema.AddOptionsT())
    model = to.ends([state, image], [made, double])
    for tensor in to.graph.tensors:
        tensor.name = b"x"
    return model


def empty_input() -> Any:
    """An input without a value beside one with four."""
    to = Graph()
    none, some = to.add("none", [1, 0]), to.add("some", [1, 4])
    return to.ends([none, some], [to.concatenate([none, some])])


def empty_output() -> Any:
    """An input and an output without a value."""
    to = Graph()
    none, made = to.add("none", [0, 4]), to.add("made", [0, 4])
    to.operator("RELU", [none], [made])
    return to.ends([none], [made])


def text() -> Any:
    """Text in and out, and a number."""
    to = Graph()
    words, number = to.add("words", [2], TYPES.STRING), to.add("number", [1, 2])
    made = to.add("copy", [2], TYPES.STRING)
    to.operator("RESHAPE", [words, to.constant([2])], [made], schema.ReshapeOptionsT())
    to.graph.operators[-1].builtinOptions.newShape = [2]
    return to.ends([words, number], [made, to.dense(number, 2)])


def odd_numbers() -> Any:
    """Outputs of int64 without a scale, of truth values, and of NaN and infinity."""
    to = Graph()
    given = to.add("given", [1, 4])
    large = to.cast(given, TYPES.INT64, "large")
    yes = to.add("yes", [1, 4], TYPES.BOOL)
    to.operator("GREATER", [given, to.constant(np.zeros((1, 4), np.float32), TYPES.FLOAT32)], [yes])
    root = to.add("root", [1, 4])
    to.operator("LOG", [given], [root])
    return to.ends([given], [large, yes, root])


def many_signatures() -> Any:
    """Two signatures."""
    model = classifier()
    model.signatureDefs = []
    for name in (b"encode", b"decode"):
        made = schema.SignatureDefT()
        made.signatureKey, made.inputs, made.outputs = name, [], []
        model.signatureDefs.append(made)
    return model


# --- operators and types that a runtime may refuse


def loop() -> Any:
    """WHILE: adds 7 to a number until it is at least 100."""
    to = Graph()
    given, made = to.add("x", [1]), to.add("y", [1])
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    to.operator("WHILE", [given], [made], options)
    to.ends([given], [made])
    step = to.graph.tensors[to.constant(np.asarray([7], np.float32), TYPES.FLOAT32)]
    limit = to.graph.tensors[to.constant(np.asarray([100], np.float32), TYPES.FLOAT32)]
    del to.graph.tensors[2:]
    for name in ("LESS", "ADD"):
        graph = schema.SubGraphT()
        graph.name, graph.operators = name.encode(), []
        to.graph = graph
        graph.tensors = []
        x = to.add("x", [1])
        graph.tensors.append(limit if name == "LESS" else step)
        if name == "LESS":
            made = to.add("is_less", [1], TYPES.BOOL)
            to.operator("LESS", [x, 1], [made], schema.LessOptionsT())
        else:
            made = to.add("more", [1])
            to.operator("ADD", [x, 1], [made], schema.AddOptionsT())
        to.ends([x], [made])
        to.model.subgraphs.append(graph)
    return to.model


def _with_custom(name: str) -> Any:
    to = Graph()
    image = to.picture()
    means, made = to.means(image), to.add("made", [1, 3])
    to.custom(name, [means], [made])
    return to.ends([image], [made])


def for_edge_tpu() -> Any:
    """What edgetpu_compiler makes."""
    return _with_custom("edgetpu-custom-op")


def flex() -> Any:
    """An operator of TensorFlow."""
    return _with_custom("FlexErf")


def unknown_custom() -> Any:
    """An operator of somebody's own."""
    return _with_custom("MyVeryOwnOp")


def _small_integers(of: int, scale: float = 0.1) -> Any:
    """An operator that no runtime has for a type."""
    to = Graph()
    given, made = to.add("given", [1, 8], of, scale=scale), to.add("made", [1, 8], of, scale=scale)
    to.operator("ELU", [given], [made])
    return to.ends([given], [made])


def four_bits() -> Any:
    """INT4 from end to end."""
    return _small_integers(TYPES.INT4)


def blocks() -> Any:
    """INT4 weights quantised in blocks, for an operator that has none such."""
    model = _small_integers(TYPES.INT4)
    for tensor in model.subgraphs[0].tensors:
        details = schema.BlockwiseQuantizationT()
        details.blockSize = 4
        tensor.quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        tensor.quantization.details = details
    return model


def sixteen_bits() -> Any:
    """INT16 in an operator that does not take it."""
    return _small_integers(TYPES.INT16)


def seven_axes() -> Any:
    """A fully connected layer over seven axes: XNNPACK takes it, and fails; the runtime's own kernel does it."""
    to = Graph()
    given, made = to.add("given", [1, 1, 1, 1, 1, 2, 6]), to.add("made", [1, 1, 1, 1, 1, 2, 4])
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = True
    weights = to.constant(to.rng.normal(size=(4, 6)).astype(np.float32), TYPES.FLOAT32)
    into = [given, weights, to.constant(np.zeros(4, np.float32), TYPES.FLOAT32)]
    to.operator("FULLY_CONNECTED", into, [made], options)[0].version = 2
    return to.ends([given], [made])


def split_weights() -> Any:
    """Weights in a file beside it."""
    model = classifier()
    graph = model.subgraphs[0]
    weights = graph.tensors[graph.operators[1].inputs[1]]
    weights.buffer, weights.externalBuffer = 0, 1
    return model


def bias_axis() -> Any:
    """TFLite Micro's person detector: a bias with scales along an axis that it does not have."""
    model = word_spotter()
    bias = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"bias").quantization
    bias.scale, bias.zeroPoint, bias.quantizedDimension = [0.5847 * 0.002] * 12, [0] * 12, 3
    return model


def circle() -> Any:
    """Two operators that wait for each other."""
    to = Graph()
    given, left, right = (to.add(name, [1, 3]) for name in ("given", "left", "right"))
    to.operator("ADD", [given, right], [left], schema.AddOptionsT())
    to.operator("ADD", [given, left], [right], schema.AddOptionsT())
    return to.ends([given], [right])


#: Every model by the name of its function.
CORPUS: dict[str, Callable[[], Any]] = {
    made.__name__: made
    for made in (
        word_spotter, float_word_spotter, anomaly_detector, spectrogram, accelerometer, channels_first, classifier,
        gray_classifier, imagenet_logits, embedding, class_number, class_map, class_map_with_axis, class_map_from_bytes,
        deeplab, unet, style_transfer, heat_maps, yolo, centernet, raw_ssd, ssd, builtin_ssd, unnamed_ssd, movenet,
        blazeface, free_size, two_inputs, two_features, no_input, no_output, no_ends, unnamed, same_names, empty_input,
        empty_output, text, odd_numbers, many_signatures, loop, for_edge_tpu, flex, unknown_custom, four_bits, blocks,
        sixteen_bits, seven_axes, split_weights, bias_axis, circle,
    )
}  # fmt: skip

#: Files that no runtime here takes, and the exit code.
REFUSED = {
    "for_edge_tpu": 3, "flex": 3, "unknown_custom": 3, "four_bits": 3, "blocks": 3, "sixteen_bits": 3,
    "split_weights": 3, "bias_axis": 3, "circle": 2,
}  # fmt: skip


def write(folder: Path, name: str) -> Path:
    """A model of the corpus as a file."""
    file = folder / f"{name}.tflite"
    file.write_bytes(pack(CORPUS[name]()))
    return file


# --- what example.py says of them


def ask(here: Path, *words: str) -> tuple[int, str, str]:
    """Run the program there: its exit code, stdout and stderr.

    It runs in this very process: a process of its own for each file of the corpus would take minutes.
    """
    out, err = io.StringIO(), io.StringIO()

    def work() -> int:
        try:
            return example.main(["-n", "1", *words])
        except SystemExit as wrong:  # of the command line
            return int(wrong.code or 0)

    with contextlib.ExitStack() as stack:
        for change in (contextlib.chdir(here), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)):
            stack.enter_context(change)
        stack.enter_context(np.errstate(all="ignore"))  # as in the process of its own
        stack.enter_context(mock.patch.object(example, "run_apart", lambda work, _: work()))
        code = example.exit_code(work)
    return code, out.getvalue(), err.getvalue()


def said_of(here: Path, name: str, *arguments: str, code: int = 0) -> str:
    """What the program prints of a file of the corpus; where it has to fail, what it says."""
    ended, out, err = ask(here, "-m", write(here, name).name, *arguments)
    assert ended == code, out + err
    return err if code else out


def report_of(here: Path, name: str, *arguments: str) -> dict[str, Any]:
    """The entry of the one model in --json."""
    (entry,) = json.loads(said_of(here, name, "--json", *arguments))["models"]
    return dict(entry)


def refused(here: Path, name: str, *arguments: str, code: int) -> str:
    """A refusal: one sentence, one remedy that speaks of no bundle."""
    said = said_of(here, name, *arguments, code=code)
    lines = said.splitlines()
    assert lines[0].startswith("example.py: "), said
    assert lines[-1].startswith("  -> "), said
    assert "bundle" not in said
    return said


def outputs_of(entry: dict[str, Any]) -> list[dict[str, Any]]:
    (prediction,) = entry["predictions"]
    assert set(prediction) == {"input", "outputs"}
    return list(prediction["outputs"])
