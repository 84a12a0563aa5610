"""Small graphs with the operators and oddities of files that other people have: name -> a function that makes the file.

They are rebuilt after what test data of Coral, MLPerf Tiny, LiteRT and published zoos hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tests.support.graphs import Net

__all__ = ["GRAPHS"]

GRAPHS: dict[str, Callable[[], bytes]] = {}

_CONV = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}


def _graph(name: str) -> Callable[[Callable[[Net], int | list[int]]], None]:
    """Register a function that builds the graph and returns its outputs."""

    def register(build: Callable[[Net], int | list[int]]) -> None:
        def make() -> bytes:
            net = Net()
            outputs = build(net)
            return net.done(*(outputs if isinstance(outputs, list) else [outputs]))

        assert name not in GRAPHS, name
        GRAPHS[name] = make

    return register


def _between(name: str, add: Callable[[Net, int], int], shape: Any = (1, 8, 8, 4), **more: Any) -> None:
    """An operator behind a convolution of int8."""
    _graph(name)(lambda net: add(net, net.conv(net.input(shape, **more), shape[-1])))


# Convolutions


def _depthwise(net: Net, read: int, times: int, step: int = 1, side: int = 3) -> int:
    n, height, width, depth = net.graph.tensors[read].shape
    weights = net.constant((1, side, side, depth * times), scale=[0.01] * depth * times, axis=3)
    bias = net.constant((depth * times,), "INT32", scale=[0.0005] * depth * times)
    size = (n, math.ceil(height / step), math.ceil(width / step), depth * times)
    options = {**_CONV, "strideW": step, "strideH": step, "depthMultiplier": times}
    return net.add("DEPTHWISE_CONV_2D", [read, weights, bias], size, "DepthwiseConv2DOptions", version=3, **options)


def _dense(net: Net, read: int, width: int = 5, **weights: Any) -> int:
    shape = net.graph.tensors[read].shape
    made = net.constant((width, math.prod(shape[1:])), **weights)
    bias = net.constant((width,), "INT32", scale=0.0005)
    options = {"version": 4, "keepNumDims": False}
    return net.add("FULLY_CONNECTED", [read, made, bias], (shape[0], width), "FullyConnectedOptions", **options)


for _step in (1, 2, 3, 4):
    _between(f"conv stride {_step}", lambda net, read, step=_step: net.conv(read, step=step, side=1), (1, 12, 12, 4))
_between("conv stride 4, padded", lambda net, read: net.conv(read, step=4, side=5), (1, 13, 13, 4))
_between("conv 3x3 relu", lambda net, read: net.conv(read, side=3, fusedActivationFunction=1))
_between("conv dilated 2", lambda net, read: net.conv(read, side=3, dilationWFactor=2, dilationHFactor=2))
_between("conv dilated 40", lambda net, read: net.conv(read, side=3, dilationWFactor=40, dilationHFactor=40))
_between("depthwise", lambda net, read: _depthwise(net, read, 1))
_between("depthwise stride 3", lambda net, read: _depthwise(net, read, 1, 3))
_between("depthwise stride 4", lambda net, read: _depthwise(net, read, 1, 4))
_between("depthwise multiplier 2", lambda net, read: _depthwise(net, read, 2))
_between("depthwise multiplier 8 of one channel", lambda net, read: _depthwise(net, read, 8), (1, 8, 8, 1))
_graph("conv batch 4")(lambda net: net.conv(net.input((4, 8, 8, 4))))
_graph("dense")(lambda net: _dense(net, net.input((1, 64))))
_graph("dense of batch 4")(lambda net: _dense(net, net.input((4, 64))))
_graph("dense per channel")(lambda net: _dense(net, net.input((1, 64)), scale=[0.01] * 5))
_graph("dense int4")(lambda net: _dense(net, net.input((1, 64)), dtype="INT4"))
_graph("dense uint8")(
    lambda net: net.add(
        "FULLY_CONNECTED",
        [net.input((1, 64), "UINT8", zero=128), net.constant((5, 64), "UINT8", zero=120), net.constant((5,), "INT32")],
        (1, 5), "FullyConnectedOptions", of="UINT8", zero=128,
    )
)  # fmt: skip


@_graph("conv with asymmetric int8 weights")
def _(net: Net) -> int:
    read = net.conv(net.input())
    return net.add("CONV_2D", [read, net.constant((4, 1, 1, 4), zero=3), net.constant((4,), "INT32")], (1, 8, 8, 4),
                   "Conv2DOptions", version=3, **_CONV)  # fmt: skip


@_graph("conv with computed weights")
def _(net: Net) -> int:
    weights = net.input((4, 1, 1, 4), scale=0.01)
    return net.add("CONV_2D", [net.conv(net.input()), weights], (1, 8, 8, 4), "Conv2DOptions", version=3, **_CONV)


@_graph("dynamic range conv")
def _(net: Net) -> int:
    read = net.input((1, 8, 8, 4), "FLOAT32")
    weights = net.constant((4, 1, 1, 4), scale=[0.01] * 4)
    bias = net.constant((4,), "FLOAT32")
    return net.add("CONV_2D", [read, weights, bias], (1, 8, 8, 4), "Conv2DOptions", of="FLOAT32", version=5, **_CONV)


@_graph("conv in groups")
def _(net: Net) -> int:
    read = net.conv(net.input())
    weights = net.constant((8, 3, 3, 2), scale=[0.01] * 8)
    bias = net.constant((8,), "INT32", scale=[0.0005] * 8)
    return net.add("CONV_2D", [read, weights, bias], (1, 8, 8, 8), "Conv2DOptions", version=6, **_CONV)


@_graph("conv in groups, batch 2")
def _(net: Net) -> int:
    read = net.input((2, 8, 8, 4))
    weights = net.constant((8, 3, 3, 2), scale=[0.01] * 8)
    bias = net.constant((8,), "INT32", scale=[0.0005] * 8)
    return net.add("CONV_2D", [read, weights, bias], (2, 8, 8, 8), "Conv2DOptions", version=6, **_CONV)


@_graph("conv int16")
def _(net: Net) -> int:
    read = net.input((1, 8, 8, 4), "INT16", scale=0.001)
    weights, bias = net.constant((4, 1, 1, 4), scale=[0.01] * 4), net.constant((4,), "INT64", scale=[0.00001] * 4)
    return net.add("CONV_2D", [read, weights, bias], (1, 8, 8, 4), "Conv2DOptions", of="INT16", scale=0.001, version=4,
                   **_CONV)  # fmt: skip


def _transposed(net: Net, read: int, step: int, side: int, size: int, padding: int = 0) -> int:
    channels = net.graph.tensors[read].shape[3]
    weights = net.constant((channels, side, side, channels), scale=[0.01] * channels)
    inputs = [net.numbers([1, size, size, channels]), weights, read]
    return net.add("TRANSPOSE_CONV", inputs, (1, size, size, channels), "TransposeConvOptions", version=3,
                   strideW=step, strideH=step, padding=padding)  # fmt: skip


_between("transposed conv 2", lambda net, read: _transposed(net, read, 2, 3, 16))
_between("transposed conv 2, valid", lambda net, read: _transposed(net, read, 2, 3, 17, 1))
_between("transposed conv 3", lambda net, read: _transposed(net, read, 3, 3, 24))
_between("transposed conv 2, cropped", lambda net, read: _transposed(net, read, 2, 3, 15))

# Pools


def _pool(net: Net, read: int, kind: str, side: int, step: int, size: int, padding: int = 0, **more: Any) -> int:
    n, *_, depth = net.graph.tensors[read].shape
    options = {"filterWidth": side, "filterHeight": side, "strideW": step, "strideH": step, "padding": padding}
    return net.add(f"{kind}_POOL_2D", [read], (n, size, size, depth), "Pool2DOptions", version=2, **options, **more)


_between("max pool", lambda net, read: _pool(net, read, "MAX", 2, 2, 4))
_between("max pool stride 4", lambda net, read: _pool(net, read, "MAX", 4, 4, 2, 1))
_between("average pool", lambda net, read: _pool(net, read, "AVERAGE", 2, 2, 4))
_between("average pool 8, padded", lambda net, read: _pool(net, read, "AVERAGE", 8, 1, 8))
_between("average pool 9, padded", lambda net, read: _pool(net, read, "AVERAGE", 9, 1, 16), (1, 16, 16, 4))
_between("average pool 9, valid", lambda net, read: _pool(net, read, "AVERAGE", 9, 1, 8, 1), (1, 16, 16, 4))
_between("average pool of all", lambda net, read: _pool(net, read, "AVERAGE", 16, 16, 1, 1), (1, 16, 16, 4))
_between("average pool stride 4, valid", lambda net, read: _pool(net, read, "AVERAGE", 4, 4, 4, 1), (1, 16, 16, 4))
_between("max pool of all, 300", lambda net, read: _pool(net, read, "MAX", 300, 1, 1, 1), (1, 300, 300, 1))

# Resizing


def _resize(net: Net, read: int, kind: str, height: int, width: int = 0, **more: Any) -> int:
    depth = net.graph.tensors[read].shape[3]
    width = width or height
    name = {"bilinear": "RESIZE_BILINEAR", "nearest": "RESIZE_NEAREST_NEIGHBOR"}[kind]
    options = {"bilinear": "ResizeBilinearOptions", "nearest": "ResizeNearestNeighborOptions"}[kind]
    return net.add(name, [read, net.numbers([height, width])], (1, height, width, depth), options, version=3, **more)


for _kind in ("bilinear", "nearest"):
    for _size in (16, 24, 32, 64):
        _between(f"{_kind} to {_size}", lambda net, read, kind=_kind, size=_size: _resize(net, read, kind, size))
    _between(
        f"{_kind} half pixel to 16", lambda net, read, kind=_kind: _resize(net, read, kind, 16, halfPixelCenters=True)
    )
    _between(
        f"{_kind} half pixel to 32", lambda net, read, kind=_kind: _resize(net, read, kind, 32, halfPixelCenters=True)
    )
    _between(f"{_kind} corners to 15", lambda net, read, kind=_kind: _resize(net, read, kind, 15, alignCorners=True))
    _between(f"{_kind} to 16x8", lambda net, read, kind=_kind: _resize(net, read, kind, 16, 8))
    _between(f"{_kind} of a row to 1x16", lambda net, read, kind=_kind: _resize(net, read, kind, 1, 16), (1, 1, 8, 4))
    _between(f"{_kind} to the same size", lambda net, read, kind=_kind: _resize(net, read, kind, 8))


@_graph("resize to a computed size")
def _(net: Net) -> int:
    size = net.input((2,), "INT32", scale=None)
    read = net.conv(net.input())
    return net.add("RESIZE_NEAREST_NEIGHBOR", [read, size], (1, 16, 16, 4), "ResizeNearestNeighborOptions", version=3)


# Arithmetic


def _sum(name: str, kind: str) -> Callable[[Net, int], int]:
    return lambda net, read: net.add(name, [read, net.conv(read)], net.graph.tensors[read].shape, kind, version=2)


for _name, _kind in (("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions")):
    _between(_name.lower(), _sum(_name, _kind))
    _graph(f"{_name.lower()} of int32")(
        lambda net, name=_name, kind=_kind: net.add(
            name, [net.input((1, 8), "INT32", scale=None), net.input((1, 8), "INT32", scale=None)], (1, 8), kind,
            of="INT32", scale=None,
        )
    )  # fmt: skip
    _graph(f"{_name.lower()} of quantised int32")(
        lambda net, name=_name, kind=_kind: net.add(
            name, [net.input((1, 8), "INT32"), net.input((1, 8), "INT32")], (1, 8), kind, of="INT32"
        )
    )
_between("add of a constant", lambda net, read: net.add("ADD", [read, net.constant((4,))], (1, 8, 8, 4), "AddOptions"))
_between("add of a scalar", lambda net, read: net.add("ADD", [read, net.constant(())], (1, 8, 8, 4), "AddOptions"))
_between("add int16 output", lambda net, read: net.add("ADD", [read, read], (1, 8, 8, 4), "AddOptions", of="INT16"))
_graph("add of a row and a column")(
    lambda net: net.add("ADD", [net.input((1, 1, 8, 4)), net.input((1, 8, 1, 4))], (1, 8, 8, 4), "AddOptions")
)
_between("add relu", lambda net, read: net.add("ADD", [read, read], (1, 8, 8, 4), "AddOptions",
                                               fusedActivationFunction=1))  # fmt: skip
for _name in ("MAXIMUM", "MINIMUM"):
    _between(_name.lower(), lambda net, read, name=_name: net.add(name, [read, net.conv(read)], (1, 8, 8, 4),
                                                                 "MaximumMinimumOptions", version=2))  # fmt: skip
    _between(f"{_name.lower()} of differing scales",
             lambda net, read, name=_name: net.add(name, [read, net.constant((4,), scale=0.02)], (1, 8, 8, 4),
                                                   "MaximumMinimumOptions", version=2))  # fmt: skip
_between("squared difference", lambda net, read: net.add("SQUARED_DIFFERENCE", [read, net.conv(read)], (1, 8, 8, 4),
                                                         "SquaredDifferenceOptions", version=2))  # fmt: skip
for _name, _kind, _version in (
    ("ABS", "AbsOptions", 2), ("DIV", "DivOptions", 2), ("ELU", "", 1), ("EXP", "ExpOptions", 1), ("GELU", "", 2),
    ("HARD_SWISH", "HardSwishOptions", 1), ("LEAKY_RELU", "LeakyReluOptions", 2), ("LOG", "", 1),
    ("LOGISTIC", "", 2), ("NEG", "NegOptions", 1), ("RELU", "", 2), ("RELU6", "", 2), ("RELU_N1_TO_1", "", 1),
    ("RSQRT", "", 2), ("SQRT", "", 1), ("SQUARE", "SquareOptions", 1), ("TANH", "", 2),
):  # fmt: skip
    _between(
        _name.lower(),
        lambda net, read, name=_name, kind=_kind, version=_version: net.add(
            name, [read, read] if name == "DIV" else [read], (1, 8, 8, 4), kind, version=version
        ),
    )
_graph("leaky relu int16")(
    lambda net: net.add("LEAKY_RELU", [net.input((1, 8), "INT16")], (1, 8), "LeakyReluOptions", of="INT16", version=2)
)
_between("prelu", lambda net, read: net.add("PRELU", [read, net.constant((1, 1, 4))], (1, 8, 8, 4)))
_between("softmax", lambda net, read: net.add("SOFTMAX", [read], (1, 8, 8, 4), "SoftmaxOptions", version=2, beta=1.0,
                                              scale=1 / 256, zero=-128))  # fmt: skip
_between("softmax int8 to int16", lambda net, read: net.add("SOFTMAX", [read], (1, 8, 8, 4), "SoftmaxOptions",
                                                            version=3, beta=1.0, of="INT16"))  # fmt: skip
_graph("softmax of 70000 rows")(
    lambda net: net.add("SOFTMAX", [net.input((1, 70, 1000, 4))], (1, 70, 1000, 4), "SoftmaxOptions", version=2,
                        beta=1.0, scale=1 / 256, zero=-128)
)  # fmt: skip
_between("log softmax", lambda net, read: net.add("LOG_SOFTMAX", [read], (1, 8, 8, 4), version=2))

# Reductions


def _reduce(name: str, axes: list[int], shape: Any, *, keep: bool = True) -> Callable[[Net, int], int]:
    return lambda net, read: net.add(name, [read, net.numbers(axes)], shape, "ReducerOptions", version=2, keepDims=keep)


_between("mean of height and width", _reduce("MEAN", [1, 2], (1, 1, 1, 4)))
_between("mean, axes dropped", _reduce("MEAN", [1, 2], (1, 4), keep=False))
_between("mean of depth", _reduce("MEAN", [3], (1, 8, 8, 1)))
_between("mean of width", _reduce("MEAN", [2], (1, 8, 1, 4)))
_graph("mean of a batch of 2")(
    lambda net: net.add("MEAN", [net.input((2, 8, 8, 4)), net.numbers([1, 2])], (2, 1, 1, 4), "ReducerOptions",
                        version=2, keepDims=True)
)  # fmt: skip
_between("sum", _reduce("SUM", [1, 2], (1, 1, 1, 4)))
_between("reduce max", _reduce("REDUCE_MAX", [1, 2], (1, 1, 1, 4)))
_between("reduce min", _reduce("REDUCE_MIN", [3], (1, 8, 8, 1)))
for _depth in (5, 127, 128):
    _between(f"arg max of {_depth}",
             lambda net, read: net.add("ARG_MAX", [read, net.numbers([3])], (1, 8, 8), "ArgMaxOptions", of="INT32",
                                       scale=None, outputType=2, version=2), (1, 8, 8, _depth))  # fmt: skip
_between("arg max of rows", lambda net, read: net.add("ARG_MAX", [read, net.numbers([1])], (1, 8, 4), "ArgMaxOptions",
                                                      of="INT64", scale=None, outputType=4, version=2))  # fmt: skip

# Shapes

_between("reshape", lambda net, read: net.add("RESHAPE", [read, net.numbers([1, 256])], (1, 256), "ReshapeOptions"))
_graph("reshape alone")(
    lambda net: net.add("RESHAPE", [net.input(), net.numbers([1, 256])], (1, 256), "ReshapeOptions")
)
_between(
    "reshape to five dimensions",
    lambda net, read: net.add("RESHAPE", [read, net.numbers([1, 8, 8, 2, 2])], (1, 8, 8, 2, 2), "ReshapeOptions"),
)
_between(
    "reshape of another scale",
    lambda net, read: net.add("RESHAPE", [read, net.numbers([1, 256])], (1, 256), "ReshapeOptions", scale=0.02),
)
_between("squeeze", lambda net, read: net.add("SQUEEZE", [read], (8, 8, 4), "SqueezeOptions", squeezeDims=[0]))
_between("expand dims", lambda net, read: net.add("EXPAND_DIMS", [read, net.numbers(0)], (1, 1, 8, 8, 4),
                                                  "ExpandDimsOptions"))  # fmt: skip


@_graph("reshape between two operators on the CPU")
def _(net: Net) -> int:
    first = net.add("SPACE_TO_DEPTH", [net.conv(net.input())], (1, 4, 4, 16), "SpaceToDepthOptions", blockSize=2)
    moved = net.add("RESHAPE", [first, net.numbers([1, 2, 8, 16])], (1, 2, 8, 16), "ReshapeOptions")
    return net.add("DEPTH_TO_SPACE", [moved], (1, 4, 16, 4), "DepthToSpaceOptions", blockSize=2)


for _order in ([0, 2, 1, 3], [0, 1, 3, 2], [0, 3, 1, 2], [0, 2, 3, 1], [0, 3, 2, 1], [3, 0, 1, 2]):
    _between(f"transpose {_order}", lambda net, read, order=_order: net.add(
        "TRANSPOSE", [read, net.numbers(order)], [(1, 6, 8, 4)[axis] for axis in order], "TransposeOptions", version=2),
        (1, 6, 8, 4))  # fmt: skip
_between(
    "transpose [0, 3, 1, 2] of one column",
    lambda net, read: net.add(
        "TRANSPOSE", [read, net.numbers([0, 3, 1, 2])], (1, 4, 6, 1), "TransposeOptions", version=2
    ),
    (1, 6, 1, 4),
)
_between(
    "transpose of 160000",
    lambda net, read: net.add(
        "TRANSPOSE", [read, net.numbers([0, 3, 1, 2])], (1, 4, 200, 200), "TransposeOptions", version=2
    ),
    (1, 200, 200, 4),
)
_graph("transpose of int32")(
    lambda net: net.add("TRANSPOSE", [net.input((4, 6), "INT32", scale=None), net.numbers([1, 0])], (6, 4),
                        "TransposeOptions", of="INT32", scale=None)
)  # fmt: skip


@_graph("channel shuffle")
def _(net: Net) -> int:
    five = net.add("RESHAPE", [net.conv(net.input()), net.numbers([1, 8, 8, 2, 2])], (1, 8, 8, 2, 2), "ReshapeOptions")
    moved = net.add("TRANSPOSE", [five, net.numbers([0, 1, 2, 4, 3])], (1, 8, 8, 2, 2), "TransposeOptions", version=2)
    back = net.add("RESHAPE", [moved, net.numbers([1, 8, 8, 4])], (1, 8, 8, 4), "ReshapeOptions")
    return net.conv(back)


def _pad(net: Net, read: int, rows: list[list[int]], name: str = "PAD", kind: str = "PadOptions", **more: Any) -> int:
    sides = [side + before + after for side, (before, after) in zip(net.graph.tensors[read].shape, rows, strict=True)]
    return net.add(name, [read, net.numbers(rows)], sides, kind, version=2, **more)


_between("pad", lambda net, read: _pad(net, read, [[0, 0], [1, 1], [2, 2], [0, 0]]))
_between("pad depth", lambda net, read: _pad(net, read, [[0, 0], [1, 1], [2, 2], [0, 4]]))
_between("pad batch", lambda net, read: _pad(net, read, [[1, 0], [1, 1], [2, 2], [0, 0]]))
_between("mirror pad", lambda net, read: _pad(net, read, [[0, 0], [1, 1], [2, 2], [0, 0]], "MIRROR_PAD",
                                              "MirrorPadOptions"))  # fmt: skip
_between("mirror pad depth", lambda net, read: _pad(net, read, [[0, 0], [0, 0], [0, 0], [0, 2]], "MIRROR_PAD",
                                                    "MirrorPadOptions"))  # fmt: skip
_between("padv2", lambda net, read: net.add(
    "PADV2", [read, net.numbers([[0, 0], [1, 1], [1, 1], [0, 0]]), net.constant((1,), scale=0.05)], (1, 10, 10, 4),
    "PadV2Options", version=2))  # fmt: skip
_between("concatenation", lambda net, read: net.add("CONCATENATION", [read, net.conv(read)], (1, 8, 8, 8),
                                                    "ConcatenationOptions", axis=3, version=2))  # fmt: skip
_between("pack", lambda net, read: net.add("PACK", [read, net.conv(read)], (2, 1, 8, 8, 4), "PackOptions", axis=0,
                                           valuesCount=2, version=2))  # fmt: skip
_between("tile", lambda net, read: net.add("TILE", [read, net.numbers([1, 2, 2, 1])], (1, 16, 16, 4), "TileOptions"))
_between("gather", lambda net, read: net.add("GATHER", [read, net.numbers([0, 2, 4])], (1, 3, 8, 4), "GatherOptions",
                                             axis=1, version=2))  # fmt: skip
_between("slice", lambda net, read: net.add("SLICE", [read, net.numbers([0, 1, 1, 0]), net.numbers([1, 4, 4, 4])],
                                            (1, 4, 4, 4), "SliceOptions", version=2))  # fmt: skip


def _strided(net: Net, read: int, begin: Any, end: Any, step: Any, shape: Any, **more: Any) -> int:
    params = [net.numbers(part) for part in (begin, end, step)]
    masks = dict.fromkeys(("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask"), 0) | more
    return net.add("STRIDED_SLICE", [read, *params], shape, "StridedSliceOptions", version=2, **masks)


_ONES = [1, 1, 1, 1]
_between("strided slice", lambda net, read: _strided(net, read, [0, 1, 1, 0], [1, 5, 5, 4], _ONES, (1, 4, 4, 4)))
_between("strided slice by 2", lambda net, read: _strided(net, read, [0, 0, 0, 0], [1, 8, 8, 4], [1, 2, 2, 1],
                                                          (1, 4, 4, 4)))  # fmt: skip
_between("strided slice of channels by 2", lambda net, read: _strided(net, read, [0, 0, 0, 0], [1, 8, 8, 4],
                                                                      [1, 1, 1, 2], (1, 8, 8, 2)))  # fmt: skip
_between(
    "strided slice that drops an axis",
    lambda net, read: _strided(net, read, [0, 1, 0, 0], [1, 2, 8, 4], _ONES, (1, 8, 4), shrinkAxisMask=2),
)
_graph("strided slice with a new axis")(
    lambda net: _strided(
        net, net.add("TANH", [net.input((8, 8, 4))], (8, 8, 4), version=2), [0, 0, 0, 0], [8, 1, 8, 4], _ONES,
        (8, 1, 8, 4), newAxisMask=2,
    )
)  # fmt: skip
_between(
    "strided slice with an ellipsis",
    lambda net, read: _strided(net, read, [0, 0, 0, 0], [1, 8, 8, 2], _ONES, (1, 8, 8, 2), ellipsisMask=2),
)


@_graph("split")
def _(net: Net) -> list[int]:
    read, axis = net.conv(net.input()), net.numbers(3)
    parts = [net.tensor((1, 8, 8, 2)) for _ in range(2)]
    net.operator("SPLIT", [axis, read], parts, "SplitOptions", version=2, numSplits=2)
    return [net.conv(part) for part in parts]


@_graph("unpack")
def _(net: Net) -> list[int]:
    read = net.conv(net.input((1, 2, 8, 4)))
    parts = [net.tensor((1, 8, 4)) for _ in range(2)]
    net.operator("UNPACK", [read], parts, "UnpackOptions", version=2, num=2, axis=1)
    return parts


_between("batch to space alone", lambda net, read: net.add(
    "BATCH_TO_SPACE_ND", [read, net.numbers([1, 1]), net.numbers([[0, 0], [0, 0]])], (1, 8, 8, 4),
    "BatchToSpaceNDOptions", version=2))  # fmt: skip


@_graph("dilation of batches")
def _(net: Net) -> int:
    read = net.conv(net.input())
    block, none = net.numbers([2, 2]), net.numbers([[0, 0], [0, 0]])
    pads = net.numbers([[2, 2], [2, 2]])
    spread = net.add("SPACE_TO_BATCH_ND", [read, block, pads], (4, 6, 6, 4), "SpaceToBatchNDOptions", version=2)
    weights = net.constant((4, 3, 3, 4), scale=[0.01] * 4)
    bias = net.constant((4,), "INT32", scale=[0.0005] * 4)
    inner = net.add("CONV_2D", [spread, weights, bias], (4, 4, 4, 4), "Conv2DOptions", version=3, padding=1, **_CONV)
    return net.add("BATCH_TO_SPACE_ND", [inner, block, none], (1, 8, 8, 4), "BatchToSpaceNDOptions", version=2)


_between("reverse", lambda net, read: net.add("REVERSE_V2", [read, net.numbers([1])], (1, 8, 8, 4),
                                              "ReverseV2Options"))  # fmt: skip
_between("shape", lambda net, read: net.add("SHAPE", [read], (4,), "ShapeOptions", of="INT32", scale=None))
_between("space to depth", lambda net, read: net.add("SPACE_TO_DEPTH", [read], (1, 4, 4, 16), "SpaceToDepthOptions",
                                                     blockSize=2))  # fmt: skip
_between("cast to float", lambda net, read: net.add("CAST", [read], (1, 8, 8, 4), "CastOptions", of="FLOAT32"))
_between("top k", lambda net, read: net.add("TOPK_V2", [read, net.numbers(2)], (1, 8, 8, 2), "TopKV2Options",
                                            version=2))  # fmt: skip


def _product(net: Net, read: int, dtype: str = "INT8") -> int:
    other = net.input((1, 8, 4, 8), dtype)
    return net.add("BATCH_MATMUL", [read, other], (1, 8, 8, 8), "BatchMatMulOptions", version=2, of=dtype)


_between("batch matmul", _product)
_graph("batch matmul of int16")(lambda net: _product(net, net.input((1, 8, 8, 4), "INT16"), "INT16"))

# Ends of a graph


@_graph("float ends")
def _(net: Net) -> int:
    read = net.input((1, 8, 8, 4), "FLOAT32")
    inner = net.conv(net.add("QUANTIZE", [read], (1, 8, 8, 4), "QuantizeOptions"))
    return net.add("DEQUANTIZE", [inner], (1, 8, 8, 4), "DequantizeOptions", of="FLOAT32", version=2)


@_graph("float alone")
def _(net: Net) -> int:
    read = net.input((1, 8, 8, 4), "FLOAT32")
    weights, bias = net.constant((4, 1, 1, 4), "FLOAT32"), net.constant((4,), "FLOAT32")
    return net.add("CONV_2D", [read, weights, bias], (1, 8, 8, 4), "Conv2DOptions", of="FLOAT32", **_CONV)


_between("requantise", lambda net, read: net.add("QUANTIZE", [read], (1, 8, 8, 4), "QuantizeOptions", of="UINT8",
                                                 zero=128, version=2))  # fmt: skip
_graph("quantise int32")(
    lambda net: net.add("QUANTIZE", [net.input((1, 8), "INT32")], (1, 8), "QuantizeOptions", version=2)
)


@_graph("detector with post-processing")
def _(net: Net) -> list[int]:
    boxes = net.add("RESHAPE", [net.conv(net.input()), net.numbers([1, 64, 4])], (1, 64, 4), "ReshapeOptions")
    scores = net.add("RESHAPE", [net.conv(0, 3), net.numbers([1, 64, 3])], (1, 64, 3), "ReshapeOptions")
    anchors = net.constant((64, 4))
    made = [net.tensor(shape, "FLOAT32") for shape in ((1, 10, 4), (1, 10), (1, 10), (1,))]
    net.operator("CUSTOM", [boxes, scores, anchors], made, custom="TFLite_Detection_PostProcess")
    return made


@_graph("custom operator")
def _(net: Net) -> int:
    made = net.tensor((1, 8, 8, 4))
    net.operator("CUSTOM", [net.conv(net.input())], [made], custom="MyOperator")
    return made


@_graph("lstm")
def _(net: Net) -> int:
    return _lstm(net)


@_graph("lstm with peepholes")
def _(net: Net) -> int:
    return _lstm(net, peepholes=True)


def _lstm(net: Net, *, peepholes: bool = False) -> int:
    read = net.input((1, 5, 4))
    gates = [net.constant((6, 4)) for _ in range(4)] + [net.constant((6, 6)) for _ in range(4)]
    peeps = [net.constant((6,), "INT16") for _ in range(3)] if peepholes else [-1] * 3
    biases = [net.constant((6,), "INT32", scale=0.0005) for _ in range(4)]
    state = net.tensor((1, 6), variable=True)
    cell = net.tensor((1, 6), "INT16", scale=2.0**-11, variable=True)
    between = [net.tensor((6,), "INT16", scale=0.001) for _ in range(4)] + [net.tensor((6,))]
    made = net.tensor((1, 5, 6))
    inputs = [read, *gates, *peeps, *biases, -1, -1, state, cell, -1, -1, -1, -1]
    net.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [made], "UnidirectionalSequenceLSTMOptions", version=3,
                 intermediates=between, fusedActivationFunction=4, cellClip=0.0, timeMajor=False)  # fmt: skip
    return made


# Names, and files that are odd as a whole


@_graph("unnamed tensors")
def _(net: Net) -> int:
    read = net.add("SPACE_TO_DEPTH", [net.conv(net.input())], (1, 4, 4, 16), "SpaceToDepthOptions", blockSize=2)
    read = net.add("SPACE_TO_DEPTH", [net.conv(read)], (1, 2, 2, 16), "SpaceToDepthOptions", blockSize=2)
    for tensor in net.graph.tensors:
        tensor.name = None
    return read


@_graph("one name for all tensors")
def _(net: Net) -> int:
    read = net.add("DEPTH_TO_SPACE", [net.conv(net.input())], (1, 16, 16, 1), "DepthToSpaceOptions", blockSize=2)
    read = net.conv(net.conv(read))
    for tensor in net.graph.tensors:
        tensor.name = b"x"
    return read


@_graph("dynamic batch")
def _(net: Net) -> int:
    return net.conv(net.input(signature=[-1, 8, 8, 4]))


@_graph("an unused input")
def _(net: Net) -> int:
    net.input((1, 3))
    return net.conv(net.input())


@_graph("a tensor read twice and given out")
def _(net: Net) -> list[int]:
    read = net.conv(net.input())
    return [read, net.add("SPACE_TO_DEPTH", [read], (1, 4, 4, 16), "SpaceToDepthOptions", blockSize=2), net.conv(read)]


# What single rules are about

_between("tanh without scales", lambda net, read: net.add("TANH", [read], (1, 8, 8, 4), scale=None, version=2))
_between(
    "prelu per channel",
    lambda net, read: net.add("PRELU", [read, net.constant((1, 1, 4), scale=[0.01] * 4, axis=2)], (1, 8, 8, 4)),
)
_between("prelu with one slope", lambda net, read: net.add("PRELU", [read, net.constant(())], (1, 8, 8, 4)))
_graph("tanh of 70000 columns")(lambda net: net.add("TANH", [net.input((1, 70000))], (1, 70000), version=2))
_between(
    "leaky relu int8 to int16",
    lambda net, read: net.add("LEAKY_RELU", [read], (1, 8, 8, 4), "LeakyReluOptions", of="INT16", version=2),
)
_graph("add int8 to uint8")(
    lambda net: net.add("ADD", [net.input((1, 8)), net.input((1, 8))], (1, 8), "AddOptions", of="UINT8", version=2)
)
_graph("add of quantised int32, relu")(
    lambda net: net.add(
        "ADD", [net.input((1, 8), "INT32"), net.input((1, 8), "INT32")], (1, 8), "AddOptions", of="INT32",
        fusedActivationFunction=1,
    )
)  # fmt: skip
for _name, _dtype, _kind in (
    ("HARD_SWISH", "INT16", "HardSwishOptions"), ("EXP", "UINT8", "ExpOptions"), ("RSQRT", "INT16", ""),
    ("LOG", "UINT8", ""),
):  # fmt: skip
    _graph(f"{_name.lower()} {_dtype.lower()}")(
        lambda net, name=_name, dtype=_dtype, kind=_kind: net.add(
            name, [net.input((1, 8), dtype)], (1, 8), kind, of=dtype, version=1
        )
    )
_graph("dense of a vector")(
    lambda net: net.add(
        "FULLY_CONNECTED", [net.input((64,)), net.constant((5, 64)), net.constant((5,), "INT32", scale=0.0005)], (1, 5),
        "FullyConnectedOptions", version=4,
    )
)  # fmt: skip
_graph("dense of a wide bias")(
    lambda net: net.add(
        "FULLY_CONNECTED", [net.input((1, 64)), net.constant((5, 64)), net.constant((5,), "INT16", scale=0.0005)],
        (1, 5), "FullyConnectedOptions", version=4,
    )
)  # fmt: skip


@_graph("slice with computed ends")
def _(net: Net) -> int:
    begin = net.input((4,), "INT32", scale=None)
    read = net.conv(net.input())
    return net.add("SLICE", [read, begin, net.numbers([1, 4, 4, 4])], (1, 4, 4, 4), "SliceOptions", version=2)


@_graph("pad by computed numbers")
def _(net: Net) -> int:
    rows = net.input((4, 2), "INT32", scale=None)
    return net.add("PAD", [net.conv(net.input()), rows], (1, 10, 10, 4), "PadOptions", version=2)


@_graph("reshape to a computed shape")
def _(net: Net) -> int:
    shape = net.input((2,), "INT32", scale=None)
    return net.add("RESHAPE", [net.conv(net.input()), shape], (1, 256), "ReshapeOptions")


@_graph("mean over computed axes")
def _(net: Net) -> int:
    axes = net.input((2,), "INT32", scale=None)
    return net.add("MEAN", [net.conv(net.input()), axes], (1, 1, 1, 4), "ReducerOptions", version=2, keepDims=True)


_between(
    "transpose [3, 0, 1, 2] of 160000",
    lambda net, read: net.add(
        "TRANSPOSE", [read, net.numbers([3, 0, 1, 2])], (4, 1, 200, 200), "TransposeOptions", version=2
    ),
    (1, 200, 200, 4),
)
_graph("batch matmul, both transposed")(
    lambda net: net.add(
        "BATCH_MATMUL", [net.input((1, 8, 8, 4)), net.input((1, 8, 4, 8))], (1, 8, 4, 4), "BatchMatMulOptions",
        version=2, adjX=True, adjY=True,
    )
)  # fmt: skip
_graph("space to batch of three dimensions")(
    lambda net: net.add(
        "SPACE_TO_BATCH_ND", [net.input((1, 8, 4)), net.numbers([2]), net.numbers([[0, 0]])], (2, 4, 4),
        "SpaceToBatchNDOptions", version=2,
    )
)  # fmt: skip
_graph("select of int8")(
    lambda net: net.add(
        "SELECT_V2", [net.input((1, 8), "BOOL", scale=None), net.input((1, 8)), net.input((1, 8))], (1, 8),
        "SelectV2Options",
    )
)  # fmt: skip
_graph("squared difference int8 to int32")(
    lambda net: net.add(
        "SQUARED_DIFFERENCE", [net.input((1, 8)), net.input((1, 8))], (1, 8), "SquaredDifferenceOptions", of="INT32",
        version=2,
    )
)  # fmt: skip


@_graph("a float lstm")
def _(net: Net) -> int:
    read = net.input((1, 5, 4), "FLOAT32")
    gates = [net.constant((6, 4), "FLOAT32") for _ in range(4)] + [net.constant((6, 6), "FLOAT32") for _ in range(4)]
    biases = [net.constant((6,), "FLOAT32") for _ in range(4)]
    states = [net.tensor((1, 6), "FLOAT32", variable=True) for _ in range(2)]
    made = net.tensor((1, 5, 6), "FLOAT32")
    inputs = [read, *gates, -1, -1, -1, *biases, -1, -1, *states, -1, -1, -1, -1]
    net.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [made], "UnidirectionalSequenceLSTMOptions",
                 fusedActivationFunction=4, cellClip=0.0, timeMajor=False)  # fmt: skip
    return made


@_graph("a condition")
def _(net: Net) -> int:
    """An IF with two branches, each a subgraph of one operator."""
    asks = net.input((1,), "BOOL", scale=None)
    read = net.conv(net.input())
    for name in ("TANH", "LOGISTIC"):
        branch = net.subgraph()
        branch.graph.outputs = [branch.add(name, [branch.input()], (1, 8, 8, 4), version=2)]
    return net.add("IF", [asks, read], (1, 8, 8, 4), "IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2)


@_graph("compiled for the Edge TPU")
def _(net: Net) -> int:
    made = net.tensor((1, 5), "UINT8")
    net.operator("CUSTOM", [net.input((1, 8, 8, 3), "UINT8")], [made], custom="edgetpu-custom-op")
    return made


@_graph("an operator of TensorFlow")
def _(net: Net) -> int:
    made = net.tensor((1, 8, 8, 4), "FLOAT32")
    net.operator("CUSTOM", [net.input((1, 8, 8, 4), "FLOAT32")], [made], custom="FlexErf")
    return made


@_graph("dense of int4 in blocks")
def _(net: Net) -> int:
    """Two blocks of 32 weights for each output, with a scale each."""
    read, weights = net.input((1, 64), "FLOAT32"), net.constant((5, 64), "INT4", scale=None)
    net.in_blocks(weights, net.constant((5, 2), "FLOAT16"), 32)
    bias = net.constant((5,), "FLOAT32")
    return net.add("FULLY_CONNECTED", [read, weights, bias], (1, 5), "FullyConnectedOptions", of="FLOAT32", version=13)


@_graph("depthwise int16 with an int32 bias")
def _(net: Net) -> int:
    read = net.input((1, 8, 8, 4), "INT16", scale=0.001)
    weights = net.constant((1, 3, 3, 4), scale=[0.01] * 4, axis=3)
    bias = net.constant((4,), "INT32", scale=[0.00001] * 4)
    return net.add("DEPTHWISE_CONV_2D", [read, weights, bias], (1, 8, 8, 4), "DepthwiseConv2DOptions", of="INT16",
                   scale=0.001, version=5, depthMultiplier=1, **_CONV)  # fmt: skip


@_graph("depthwise whose bias has the axis of its weights")
def _(net: Net) -> int:
    """TFLite Micro's person detector: a bias of four numbers, with scales along its fourth axis."""
    read = net.conv(net.input(), 4)
    weights, scales = net.constant((1, 3, 3, 4), scale=[0.01] * 4, axis=3), [0.0005] * 4
    bias = net.constant((4,), "INT32", scale=scales, axis=3)
    return net.add("DEPTHWISE_CONV_2D", [read, weights, bias], (1, 8, 8, 4), "DepthwiseConv2DOptions", version=3,
                   depthMultiplier=1, **_CONV)  # fmt: skip


@_graph("add of int4 in blocks that nothing writes")
def _(net: Net) -> int:
    """LiteRT's test of reading: no runtime runs it."""
    other = net.tensor((64,), "INT4", scale=None)
    net.in_blocks(other, net.constant((2,), "FLOAT16"), 32)
    return net.add("ADD", [net.input((64,), "INT4", scale=None), other], (64,), "AddOptions", of="INT4", scale=None)
