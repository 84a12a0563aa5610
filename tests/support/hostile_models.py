"""Valid flatbuffers with wrong content: each edit of :data:`EDITS` takes a ModelT and chance, and spoils one thing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

#: Numbers that are at, just behind and far behind an end.
ODD = [-(2**31), -99, -2, -1, 0, 1, 7, 11, 12, 255, 4096, 2**16, 2**24, 2**31 - 1]

#: Text that acts on a terminal, breaks lines, or is no text.
TEXTS = [
    b"\x1b[2J\x1b[1;31mowned", b"one\ntwo\r\nWarning: three", b"\xff\xfe\x00", "\u202egnp.exe".encode(), b"x" * 70000,
    b"", b"\x9b31m\x07", b"| a | <script>alert(1)</script>", b"%s%n{0}", b"\x1b]0;title\x07",
]  # fmt: skip

Edit = Callable[[Any, random.Random], None]


def _tensors(model: Any) -> list[Any]:
    return list(model.subgraphs[0].tensors)


def _operator_index(side: str) -> Edit:
    def edit(model: Any, rng: random.Random) -> None:
        operator = rng.choice(model.subgraphs[0].operators)
        numbers = list(getattr(operator, side))
        numbers[rng.randrange(len(numbers))] = rng.choice(ODD)
        setattr(operator, side, numbers)

    return edit


def _operator_count(model: Any, rng: random.Random) -> None:
    operator = rng.choice(model.subgraphs[0].operators)
    side = rng.choice(["inputs", "outputs"])
    numbers = list(getattr(operator, side))
    setattr(operator, side, rng.choice([[], None, numbers[:-1], numbers * 9, numbers[::-1]]))


def _graph_index(model: Any, rng: random.Random) -> None:
    graph = model.subgraphs[0]
    setattr(graph, rng.choice(["inputs", "outputs"]), rng.choice([[rng.choice(ODD)], [], None, [0, 0], [0, 5, 99]]))


def _opcode(model: Any, rng: random.Random) -> None:
    rng.choice(model.subgraphs[0].operators).opcodeIndex = rng.choice([number for number in ODD if number >= 0])


def _code(model: Any, rng: random.Random) -> None:
    code = rng.choice(model.operatorCodes)
    code.builtinCode = rng.choice([*ODD, *range(200)])
    code.deprecatedBuiltinCode = rng.randrange(-128, 128)
    code.version = rng.choice(ODD)


def _buffer_index(model: Any, rng: random.Random) -> None:
    rng.choice(_tensors(model)).buffer = rng.choice([abs(number) for number in ODD])


def _buffer_length(model: Any, rng: random.Random) -> None:
    full = [buffer for buffer in model.buffers if buffer.data is not None]
    buffer = rng.choice(full)
    data = bytes(buffer.data)
    buffer.data = np.frombuffer(rng.choice([data[:-1], data[:1], data[: len(data) // 2], data * 3, b"\xff" * 9]), "u1")


def _buffer_noise(model: Any, rng: random.Random) -> None:
    full = [buffer for buffer in model.buffers if buffer.data is not None]
    buffer = rng.choice(full)
    buffer.data = np.frombuffer(rng.randbytes(len(buffer.data)), np.uint8)


def _buffer_outside(model: Any, rng: random.Random) -> None:
    buffer = rng.choice(model.buffers)
    buffer.data, buffer.offset, buffer.size = None, rng.choice([8, 2**20, 2**40, 2**63]), rng.choice([4, 2**31, 2**63])


def _shape(model: Any, rng: random.Random) -> None:
    tensor = rng.choice(_tensors(model))
    shape = list(tensor.shape) or [1]
    place = rng.randrange(len(shape))
    other = [*shape[:place], rng.choice(ODD), *shape[place + 1 :]]
    tensor.shape = rng.choice([other, [], None, shape * 3, [2**15] * 4, [2**31 - 1] * 9, [0], [1] * 3000])


def _type(model: Any, rng: random.Random) -> None:
    rng.choice(_tensors(model)).type = rng.choice([*range(22), 99, -7])


def _constant_output(model: Any, rng: random.Random) -> None:
    graph = model.subgraphs[0]
    operator = rng.choice(graph.operators)
    constants = [number for number, tensor in enumerate(graph.tensors) if tensor.buffer]
    operator.outputs = [rng.choice(constants)]


def _cycle(model: Any, rng: random.Random) -> None:
    graph = model.subgraphs[0]
    if rng.random() < 0.5:
        rng.shuffle(graph.operators)
    operator = rng.choice(graph.operators)
    inputs = list(operator.inputs)
    inputs[0] = rng.choice([number for found in graph.operators for number in found.outputs])
    operator.inputs = inputs


def _quantisation(model: Any, rng: random.Random) -> None:
    tensor = rng.choice(_tensors(model))
    made = tensor.quantization = schema.QuantizationParametersT()
    made.scale = rng.choice([[], None, [0.1] * 3, [0.1] * 999, [float("nan")], [0.0], [-1.0], [float("inf")], [1e-38]])
    made.zeroPoint = rng.choice([[], None, [0], [0] * 3, [0] * 999, [2**62], [-(2**62)], [300]])
    made.quantizedDimension = rng.choice(ODD)


def _options(model: Any, rng: random.Random) -> None:
    operator = rng.choice(model.subgraphs[0].operators)
    if rng.random() < 0.3:
        operator.builtinOptions, operator.builtinOptionsType = None, 0
        return
    if rng.random() < 0.3:
        operator.builtinOptionsType = rng.randrange(1, 126)
        return
    numbers = [key for key, value in vars(operator.builtinOptions).items() if isinstance(value, int)]
    for key in numbers:
        if rng.random() < 0.5:
            small = "activation" in key.lower() or key in ("padding", "weightsFormat")
            setattr(operator.builtinOptions, key, rng.randrange(-128, 128) if small else rng.choice(ODD))


def _other_operator(model: Any, rng: random.Random) -> None:
    """Another operator on tensors and options that are not its own."""
    code = rng.choice(model.operatorCodes)
    code.builtinCode = rng.choice(
        [3, 4, 7, 9, 11, 12, 22, 23, 25, 28, 34, 36, 39, 40, 44, 45, 67, 75, 83, 97, 118, 120]
    )
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), rng.choice([1, 1, 1, 2, 3])
    if rng.random() < 0.5:
        operator = rng.choice(model.subgraphs[0].operators)
        operator.builtinOptions, operator.builtinOptionsType = None, 0


def _subgraph_cycle(model: Any, rng: random.Random) -> None:
    """An operator that calls its own subgraph, or one that is not there."""
    graph, operator = model.subgraphs[0], rng.choice(model.subgraphs[0].operators)
    code = model.operatorCodes[operator.opcodeIndex]
    kind = rng.choice(["WHILE", "IF", "CALL_ONCE"])
    options = {"WHILE": schema.WhileOptionsT, "IF": schema.IfOptionsT, "CALL_ONCE": schema.CallOnceOptionsT}[kind]()
    for key in vars(options):
        setattr(options, key, rng.choice([0, 0, 0, 1, 2, -1, 2**31 - 1]))
    code.builtinCode, code.deprecatedBuiltinCode, code.version = getattr(schema.BuiltinOperator, kind), 127, 1
    operator.builtinOptions = options
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    if rng.random() < 0.5:
        model.subgraphs.append(graph)


def _endless_loop(model: Any, _rng: random.Random) -> None:
    """WHILE whose condition is always true."""
    graph = model.subgraphs[0]
    kind = graph.tensors[0].type
    call, code, loop = schema.OperatorT(), schema.OperatorCodeT(), schema.WhileOptionsT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.WHILE
    code.version, loop.condSubgraphIndex, loop.bodySubgraphIndex = 1, 1, 2
    call.opcodeIndex, call.builtinOptions = len(model.operatorCodes), loop
    call.builtinOptionsType = schema.BuiltinOptions.WhileOptions
    call.inputs, call.outputs = [0], [len(graph.tensors)]
    model.operatorCodes.append(code)
    model.buffers.append(schema.BufferT())
    model.buffers[-1].data = np.asarray([1], np.uint8)

    def tensor(name: bytes, shape: list[int], of: int, buffer: int = 0) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, shape, of, buffer
        return made

    condition, body = schema.SubGraphT(), schema.SubGraphT()
    yes = tensor(b"yes", [1], schema.TensorType.BOOL, len(model.buffers) - 1)
    condition.tensors = [tensor(b"x", [1, 8, 8, 3], kind), yes]
    condition.inputs, condition.outputs, condition.operators = [0], [1], []
    body.tensors, body.operators = [tensor(b"x", [1, 8, 8, 3], kind)], []
    body.inputs, body.outputs = [0], [0]
    graph.tensors.append(tensor(b"turned", [1, 8, 8, 3], kind))
    graph.operators[0].inputs = [call.outputs[0], *list(graph.operators[0].inputs)[1:]]
    graph.operators.insert(0, call)
    model.subgraphs += [condition, body]


def _huge_memory(model: Any, rng: random.Random) -> None:
    """Tensors that are computed and take gigabytes."""
    graph, side = model.subgraphs[0], rng.choice([2**13, 2**14, 2**15])
    graph.tensors[0].shape, graph.tensors[1].shape = [1, side, side, 3], [1, side, side, 4]


def _text(model: Any, rng: random.Random) -> None:
    text = rng.choice(TEXTS)
    place = rng.choice(["tensor", "all tensors", "graph", "description", "custom", "metadata", "signature"])
    if place == "tensor":
        rng.choice(_tensors(model)).name = text
    elif place == "all tensors":
        for tensor in _tensors(model):
            tensor.name = text
    elif place == "graph":
        model.subgraphs[0].name = text
    elif place == "description":
        model.description = text
    elif place == "custom":
        code = rng.choice(model.operatorCodes)
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, 32, text
    elif place == "metadata":
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer = rng.choice([b"min_runtime_version", b"TFLITE_METADATA", text]), len(model.buffers)
        buffer.data = np.frombuffer(text or b"\0", np.uint8)
        model.buffers.append(buffer)
        model.metadata = [entry]
        model.operatorCodes[0].version = rng.choice([1, 99])
    else:
        found, entry = schema.SignatureDefT(), schema.TensorMapT()
        entry.name, entry.tensorIndex = text, rng.choice([abs(number) for number in ODD])
        found.inputs, found.outputs, found.signatureKey, found.subgraphIndex = (
            [entry],
            [entry],
            text,
            rng.choice([0, 9]),
        )
        model.signatureDefs = [found]


def _metadata_index(model: Any, rng: random.Random) -> None:
    entry = schema.MetadataT()
    entry.name, entry.buffer = rng.choice([b"min_runtime_version", None]), rng.choice([99, 0, 2**32 - 1])
    model.metadata = [entry]


def _missing(model: Any, rng: random.Random) -> None:
    where = rng.choice(
        [model, model.subgraphs[0], rng.choice(_tensors(model)), rng.choice(model.subgraphs[0].operators)]
    )
    keys = [key for key, value in vars(where).items() if isinstance(value, list | bytes)]
    setattr(where, rng.choice(keys), rng.choice([None, []]))


def _graphs(model: Any, rng: random.Random) -> None:
    model.subgraphs = rng.choice([[], None, model.subgraphs * 2, model.subgraphs * 200])


def _many(model: Any, rng: random.Random) -> None:
    """Thousands of operators, all alike."""
    graph = model.subgraphs[0]
    graph.operators += [_PackedOnce(graph.operators[-1])] * rng.choice([3000, 30000])


class _PackedOnce:
    """An operator that stands once in the file, however often the graph lists it."""

    def __init__(self, operator: Any) -> None:
        self._operator, self._places = operator, {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._operator, name)

    def Pack(self, builder: Any) -> int:  # noqa: N802  # the name that the generated code calls
        if builder not in self._places:
            self._places[builder] = self._operator.Pack(builder)
        return self._places[builder]


def _sparse(model: Any, rng: random.Random) -> None:
    tensor = rng.choice(_tensors(model))
    made = tensor.sparsity = schema.SparsityParametersT()
    made.traversalOrder, made.blockMap = [rng.choice(ODD) for _ in range(4)], [rng.choice(ODD)]
    dimension = schema.DimensionMetadataT()
    dimension.format, dimension.denseSize = rng.choice([0, 1]), rng.choice(ODD)
    made.dimMetadata = [dimension] * rng.choice([1, 4, 9])


def _variable(model: Any, rng: random.Random) -> None:
    for tensor in rng.sample(_tensors(model), 3):
        tensor.isVariable = True


#: Name -> edit.
EDITS: dict[str, Edit] = {
    "an operator's input index": _operator_index("inputs"),
    "an operator's output index": _operator_index("outputs"),
    "the number of an operator's tensors": _operator_count,
    "the graph's inputs or outputs": _graph_index,
    "an operator's code index": _opcode,
    "an operator code": _code,
    "a tensor's buffer index": _buffer_index,
    "a buffer's length": _buffer_length,
    "noise in a buffer": _buffer_noise,
    "a buffer behind the file": _buffer_outside,
    "a shape": _shape,
    "a type": _type,
    "an output that is a constant": _constant_output,
    "operators in a circle": _cycle,
    "quantisation arrays": _quantisation,
    "an operator's options": _options,
    "another operator": _other_operator,
    "a subgraph that calls itself": _subgraph_cycle,
    "a loop without end": _endless_loop,
    "tensors of gigabytes": _huge_memory,
    "text": _text,
    "a metadata's buffer": _metadata_index,
    "a missing part": _missing,
    "subgraphs": _graphs,
    "thousands of operators": _many,
    "sparsity": _sparse,
    "variables": _variable,
}


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut, doubled or set to ends: half of them in the flatbuffer's tables, not in the weights."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        if len(found) < 16:
            break
        low, high = rng.choice([(8, len(found)), (8, min(400, len(found))), (max(8, len(found) - 2500), len(found))])
        at, kind = rng.randrange(low, high), rng.randrange(5)
        if kind == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            found[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            found[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\0\0\0\0"])
        elif kind == 3:
            found[at : at + 4] = rng.randrange(len(found)).to_bytes(4, "little")
        else:
            del found[rng.randrange(max(8, len(found) - 3000), len(found)) :]
    return bytes(found)
