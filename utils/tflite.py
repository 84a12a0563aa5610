"""Read TFLite files, by the flatbuffer schema that ai-edge-litert ships."""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from utils import limits
from utils.errors import DataError
from utils.untrusted import as_text

__all__ = ["Graph", "Operator", "Tensor", "damaged", "enumerations", "load", "parse", "read", "unpack"]

#: Numbers of a constant that are kept as ``Tensor.values``: axes, shapes, strides, pads.
SMALL = 64

#: The schema's number of quantisation in blocks.
BLOCKWISE = 2

#: Operators that multiply -> the output axis of their weights.
_MULTIPLY = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        name: as in the file.
        shape: dimensions; empty for a scalar.
        dtype: ``FLOAT32``, ``INT8``, ... as in the schema.
        scales: quantisation scales: none, one, or one for each channel.
        zero_points: one for each scale.
        data: size of its constant in bytes; 0 if it is computed.
        dynamic: whether a dimension is known only at run time; ``shape`` has 1 there.
        values: the integers of a constant of at most ``SMALL`` int32 or int64 numbers, flat; else empty.
        variable: whether it keeps its content from one inference to the next.
        blocks: whether its weights are quantised in blocks, each with a scale that is in another tensor.
        axis: the one that the scales belong to, where they are several; runtimes refuse one that it does not have.
        unwritten: whether operators read it and nothing writes it; runtimes end at it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    data: int
    dynamic: bool = False
    values: tuple[int, ...] = ()
    variable: bool = False
    blocks: bool = False
    axis: int = 0
    unwritten: bool = False


@dataclass(frozen=True)
class Operator:
    """One node of a graph.

    Attributes:
        name: in the schema's enumeration, such as ``CONV_2D``, or the code of a custom operator as a plain word.
        version: set by the converter.
        inputs: indices of the graph's tensors (-1: absent).
        outputs: indices of the graph's tensors.
        options: its scalar options, named as in the schema's Python code: ``halfPixelCenters``, ``strideW``, ...
        intermediates: indices of the tensors between its parts; only recurrent operators have some.
    """

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict, compare=False)
    intermediates: tuple[int, ...] = ()


@dataclass(frozen=True)
class Graph:
    """The first subgraph of a TFLite file: the one that a runtime runs.

    Attributes:
        tensors: all of them.
        operators: in execution order.
        inputs: indices of the graph's inputs.
        outputs: indices of the graph's outputs.
        signature: names of the first signature's inputs and outputs -> tensor index; empty without one.
        min_runtime: lowest TFLite version that knows every operator version, as the converter recorded it.
        subgraphs: how many subgraphs the file has; the others belong to control flow, such as a loop's body.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signature: dict[str, int]
    min_runtime: str
    subgraphs: int = 1

    def count(self) -> dict[str, int]:
        """Count the operators: name -> count, sorted by name."""
        return dict(sorted(Counter(operator.name for operator in self.operators).items()))

    def tensor(self, name: str) -> Tensor:
        """Find an input or output by its name in the signature, or without one by the tensor's name.

        Raises:
            KeyError: there is none.
        """
        named = {self.tensors[index].name: index for index in (*self.inputs, *self.outputs)}
        return self.tensors[(named | self.signature)[name]]

    def shape(self, indices: tuple[int, ...], place: int) -> tuple[int, ...]:
        """The shape of one of an operator's tensors; empty if the file has none."""
        index = indices[place] if place < len(indices) else -1
        return self.tensors[index].shape if index >= 0 else ()

    def macs(self) -> int:
        """Multiply-accumulates of one inference, in convolutions and dense layers, as papers count them."""
        total = 0
        for operator in self.operators:
            if operator.name not in _MULTIPLY:
                continue
            weights, out = self.shape(operator.inputs, 1), self.shape(operator.outputs, 0)
            if operator.name == "TRANSPOSE_CONV":  # every input value is multiplied with every weight
                out = (*self.shape(operator.inputs, 2)[:-1], *weights[:1])
            # products summed for one output value: all axes of the weights but the output axis
            made = weights[_MULTIPLY[operator.name] :][:1]
            total += math.prod(out) * math.prod(weights) // made[0] if made and made[0] else 0
        return total

    def parameters(self) -> int:
        """Learnt numbers, as far as the file shows them: weights and biases of the layers."""
        learnt = {index for operator in self.operators if operator.name in _MULTIPLY for index in operator.inputs[1:]}
        return sum(math.prod(self.tensors[index].shape) for index in learnt if index >= 0 and self.tensors[index].data)


def unpack(data: bytes, where: str) -> Any:
    """Read a TFLite file into the schema's ModelT, once its structure has been checked.

    Raises:
        DataError: not a TFLite file, or a damaged one.
    """
    from ai_edge_litert import schema_py_generated as schema

    from utils import example

    if len(data) < 8 or data[4:8] != b"TFL3":
        raise DataError("not a TFLite file", where=where, hint="give a .tflite file")
    try:  # the generated reader trusts its input: a few bytes could make it allocate any amount of memory
        example.check_structure(data, runs=False)
        return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    except Exception as error:  # from options, which only the reader knows: struct.error, IndexError, ...
        raise damaged(error, where) from None


def damaged(error: object, where: str) -> DataError:
    """The error for a file in which something is missing or points to nothing."""
    return DataError(f"a damaged TFLite file ({as_text(error)})", where=where, hint="build or copy it again")


@cache
def enumerations() -> tuple[dict[int, str], dict[int, str]]:
    """Names of the operators and of the tensor types, by their numbers in the schema."""
    from ai_edge_litert import schema_py_generated as schema

    def of(enumeration: type) -> dict[int, str]:
        return {value: key for key, value in vars(enumeration).items() if not key.startswith("_")}

    return of(schema.BuiltinOperator), of(schema.TensorType)


def read(file: Path) -> Graph:
    """Read a TFLite file with one subgraph.

    Raises:
        DataError: not a TFLite file, a damaged one, or one with several subgraphs.
    """
    where = as_text(file.name)
    graph = parse(load(file), where)
    if graph.subgraphs > 1:
        hint = "convert the network without loops and conditions"
        raise DataError(f"has {graph.subgraphs} subgraphs, not one: it has control flow", where=where, hint=hint)
    return graph


def load(file: Path) -> bytes:
    """Read the bytes of a TFLite file.

    Raises:
        DataError: it cannot be read, or is larger than ``limits.MODEL_BYTES``.
    """
    where = as_text(file.name)
    try:
        if file.stat().st_size > limits.MODEL_BYTES:
            raise DataError(f"has more than {limits.MODEL_BYTES:,} bytes", where=where, hint="give a smaller model")
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=where, hint="give a .tflite file") from None


def parse(data: bytes, where: str) -> Graph:
    """Read the first subgraph of a TFLite file from its bytes; ``where`` names it in messages.

    Raises:
        DataError: not a TFLite file, or a damaged one.
    """
    model = unpack(data, where)
    try:
        return _graph(model, where)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # a part or an enumerator is missing
        raise damaged(error, where) from None


def _graph(model: Any, where: str) -> Graph:
    if len(model.subgraphs[0].operators or []) > limits.OPERATORS:
        raise DataError(f"has more than {limits.OPERATORS:,} operators", where=where, hint="give a smaller model")
    operators, types = enumerations()
    graph = model.subgraphs[0]

    def numbers(values: Any) -> tuple[Any, ...]:
        return () if values is None else tuple(values.tolist() if hasattr(values, "tolist") else values)

    def code(index: int) -> tuple[str, int]:
        entry = model.operatorCodes[index]
        number = max(entry.builtinCode, entry.deprecatedBuiltinCode)
        name = operators[number]
        return _custom_name(entry.customCode) if name == "CUSTOM" else name, entry.version

    unwritten = _unwritten(graph, numbers)

    def tensor(index: int, entry: Any) -> Tensor:
        buffer = model.buffers[entry.buffer]
        size = len(buffer.data) if buffer.data is not None else buffer.size if buffer.offset > 1 else 0
        dtype = types[entry.type]
        return Tensor(
            name=(entry.name or b"").decode(errors="replace"),
            shape=numbers(entry.shape),
            dtype=dtype,
            scales=numbers(entry.quantization.scale) if entry.quantization else (),
            zero_points=numbers(entry.quantization.zeroPoint) if entry.quantization else (),
            data=size,
            dynamic=-1 in numbers(entry.shapeSignature),
            values=_small(buffer.data, dtype),
            variable=bool(entry.isVariable),
            blocks=bool(entry.quantization) and entry.quantization.detailsType == BLOCKWISE,
            axis=entry.quantization.quantizedDimension if entry.quantization else 0,
            unwritten=index in unwritten and not size and 0 not in numbers(entry.shape),
        )

    def operator(entry: Any) -> Operator:
        name, version = code(entry.opcodeIndex)
        if version < 1:
            raise ValueError(f"{as_text(name)} of version {version}")
        options = vars(entry.builtinOptions) if entry.builtinOptions else {}
        plain = {key: value for key, value in options.items() if isinstance(value, bool | int | float)}
        return Operator(
            name, version, numbers(entry.inputs), numbers(entry.outputs), plain, numbers(entry.intermediates)
        )

    signature = (model.signatureDefs or [None])[0]
    runtime = next((entry for entry in model.metadata or [] if entry.name == b"min_runtime_version"), None)
    least = b"" if runtime is None else bytes(model.buffers[runtime.buffer].data)
    return Graph(
        tensors=tuple(tensor(index, entry) for index, entry in enumerate(graph.tensors)),
        operators=tuple(operator(entry) for entry in graph.operators),
        inputs=numbers(graph.inputs),
        outputs=numbers(graph.outputs),
        signature={
            (entry.name or b"").decode(): entry.tensorIndex
            for entry in [*(signature.inputs or []), *(signature.outputs or [])]
        }
        if signature
        else {},
        min_runtime=_version(least.rstrip(b"\0").decode()),
        subgraphs=len(model.subgraphs),
    )


def _unwritten(graph: Any, numbers: Callable[[Any], tuple[int, ...]]) -> set[int]:
    """Tensors that an operator reads, and that no other one writes, no caller sets and no file holds."""
    operators = graph.operators or []
    read = {index for operator in operators for index in numbers(operator.inputs)}
    found = read - {index for operator in operators for index in numbers(operator.outputs)} - set(numbers(graph.inputs))
    return {index for index in found if index >= 0 and _is_computed(graph.tensors[index])}


def _is_computed(tensor: Any) -> bool:
    from utils import example

    return not tensor.isVariable and not tensor.externalBuffer and tensor.type not in example.OPAQUE


def _small(data: Any, dtype: str) -> tuple[int, ...]:
    """The numbers of a small integer constant."""
    width = {"INT32": 4, "INT64": 8}.get(dtype, 0)
    if data is None or not width or len(data) % width or len(data) > SMALL * width:
        return ()
    return struct.unpack(f"<{len(data) // width}{'i' if width == 4 else 'q'}", bytes(data))


def _custom_name(code: bytes | None) -> str:
    """The name of a custom operator as a plain word, never like one of TFLite's own, which are in capitals."""
    name = re.sub(r"[^\w.-]", "_", (code or b"").decode(errors="replace"), flags=re.ASCII)[:80] or "custom"
    return name if name != name.upper() else f"{name} (custom)"


def _version(text: str) -> str:
    if text and not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}[-.a-z0-9]{0,20}", text):
        raise ValueError(f"min_runtime_version is {as_text(text, 40)}")
    return text
