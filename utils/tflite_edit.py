"""Change TFLite files: integers or floats at both ends, tidy names, tensors shown or held, a name for every tensor."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from utils.errors import DataError
from utils.tflite import damaged, enumerations, unpack
from utils.untrusted import as_text

__all__ = ["float_io", "hold_input", "integer_io", "name_tensors", "rewrite", "show_tensors", "tidy"]

#: Weights begin at multiples of this many bytes: the schema's force_align.
ALIGNMENT = 16


def integer_io(data: bytes) -> bytes:
    """Remove the QUANTIZE after each float input and the DEQUANTIZE before each float output.

    The graph computes the same, in integers from end to end; inputs and outputs keep their names.

    Raises:
        DataError: the graph has no such operators at its ends.
    """
    model = unpack(data, "the published model")
    try:
        _take_ends(model)
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # a part is missing
        raise damaged(error, "the published model") from None
    return _pack(model, len(data))


def _take_ends(model: Any) -> None:
    graph = model.subgraphs[0]
    operators, _ = enumerations()
    named = [entry for found in model.signatureDefs or [] for entry in (*found.inputs, *found.outputs)]

    def outer(operator: Any, name: str) -> bool:
        code = model.operatorCodes[operator.opcodeIndex]
        return operators[max(code.builtinCode, code.deprecatedBuiltinCode)] == name

    def replace(ends: list[int], name: str, ours: str, theirs: str) -> list[int]:
        """Map each of ``ends`` to the tensor on the other side of its only operator, and remove that operator."""
        inner = []
        for end in ends:
            touching = [o for o in graph.operators if end in list(o.inputs) + list(o.outputs)]
            if len(touching) != 1 or not outer(touching[0], name) or list(getattr(touching[0], ours)) != [end]:
                raise DataError(
                    f"no {name} between {as_text(graph.tensors[end].name)!r} and the rest of the graph",
                    where="the published model",
                    hint="its input and output are integers already, or a part of it computes in float",
                )
            graph.operators.remove(touching[0])
            inner.append(int(getattr(touching[0], theirs)[0]))
            graph.tensors[inner[-1]].name, graph.tensors[end].name = graph.tensors[end].name, b"unused"
            for entry in named:
                entry.tensorIndex = inner[-1] if entry.tensorIndex == end else entry.tensorIndex
        return inner

    graph.inputs = replace(list(graph.inputs), "QUANTIZE", "inputs", "outputs")
    graph.outputs = replace(list(graph.outputs), "DEQUANTIZE", "outputs", "inputs")


def float_io(data: bytes) -> bytes:
    """Put a QUANTIZE after each integer input and a DEQUANTIZE before each integer output: undo ``integer_io``.

    The graph computes the same; inputs and outputs are float32 and keep their names. Float32 ends stay as they are.

    Raises:
        DataError: no end holds integers with a scale, or the file is damaged.
    """
    where = "the integer model"
    model = unpack(data, where)
    try:
        _put_ends(model, where)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # a part is missing
        raise damaged(error, where) from None
    return _pack(model, len(data))


def _put_ends(model: Any, where: str) -> None:
    graph, (_, types) = model.subgraphs[0], enumerations()
    entries = model.signatureDefs or []
    put = 0
    for side, name in (("inputs", "QUANTIZE"), ("outputs", "DEQUANTIZE")):
        outer: dict[int, int] = {}
        for end in map(int, getattr(graph, side)):
            if end in outer or types[graph.tensors[end].type] == "FLOAT32":
                continue
            outer[end] = len(graph.tensors)
            label = graph.tensors[end].name or b""
            graph.tensors.append(_as_float(graph.tensors[end], label, where))
            graph.tensors[end].name = label + b"_integers"
            made = _operator(model, name, *((outer[end], end) if side == "inputs" else (end, outer[end])))
            graph.operators.insert(0 if side == "inputs" else len(graph.operators), made)
        setattr(graph, side, [outer.get(int(end), int(end)) for end in getattr(graph, side)])
        for entry in (entry for signature in entries for entry in getattr(signature, side)):
            entry.tensorIndex = outer.get(entry.tensorIndex, entry.tensorIndex)
        put += len(outer)
    if not put:
        raise DataError("its inputs and outputs are float32 already", where=where, hint="give the integer file")


def show_tensors(data: bytes, indices: Sequence[int]) -> bytes:
    """A model that also answers with tensors from inside its graph, float32, under their names, after its own outputs.

    Args:
        data: the model.
        indices: of the first subgraph's tensors; each is float32, or has integers with one scale.

    Raises:
        DataError: there is no such tensor, it is of another type, or the file is damaged.
    """
    where = "the model"
    model = unpack(data, where)
    try:
        graph, (_, types) = model.subgraphs[0], enumerations()
        if any(not 0 <= index < len(graph.tensors) for index in indices):
            raise DataError("has no tensor of that number", where=where, hint=f"it has {len(graph.tensors)}")
        for index in indices:
            tensor, shown = graph.tensors[index], index
            label = tensor.name or b"t%d" % index
            if types[tensor.type] == "FLOAT32":
                tensor.name = label
            else:
                shown = len(graph.tensors)
                graph.tensors.append(_as_float(tensor, label, where))
                tensor.name = label + b"_integers"
                graph.operators.append(_operator(model, "DEQUANTIZE", index, shown))
            graph.outputs = [*map(int, graph.outputs), shown]
            for signature in model.signatureDefs or []:
                entry = copy.copy(signature.outputs[0])
                entry.name, entry.tensorIndex = label, shown
                signature.outputs.append(entry)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # a part is missing
        raise damaged(error, where) from None
    return _pack(model, len(data))


def _as_float(tensor: Any, name: bytes, where: str) -> Any:
    """The float32 tensor beside an integer one, under this name."""
    given = tensor.quantization
    if given is None or given.scale is None or len(given.scale) != 1:
        raise DataError(
            f"{as_text(tensor.name)!r} has no scale that makes real numbers of it",
            where=where,
            hint="only integers with one scale have a float32 form",
        )
    from ai_edge_litert import schema_py_generated as schema

    made = copy.copy(tensor)
    made.name, made.type, made.buffer, made.quantization = name, schema.TensorType.FLOAT32, 0, None
    return made


def _operator(model: Any, name: str, given: int, made: int) -> Any:
    """A QUANTIZE or DEQUANTIZE from one tensor to another, its code entered into the model."""
    from ai_edge_litert import schema_py_generated as schema

    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 1
    kind = {"QUANTIZE": "QuantizeOptions", "DEQUANTIZE": "DequantizeOptions"}[name]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    operator.builtinOptions = getattr(schema, f"{kind}T")()
    operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes), [given], [made]
    model.operatorCodes.append(code)
    return operator


def hold_input(data: bytes, name: str) -> bytes:
    """A model whose last operator called ``name`` reads zeros, whatever the input: as if an accelerator skipped it.

    Raises:
        DataError: there is no such operator, or the file is damaged.
    """
    import numpy as np

    where = "the model"
    model = unpack(data, where)
    try:
        graph, (operators, types) = model.subgraphs[0], enumerations()
        codes = [operators[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
        found = [operator for operator in graph.operators if codes[operator.opcodeIndex] == name]
        if not found:
            raise DataError(f"has no operator {name}", where=where, hint=f"name one of {', '.join(sorted(set(codes)))}")
        held = copy.deepcopy(graph.tensors[found[-1].inputs[0]])
        zero = 0 if held.quantization is None or held.quantization.zeroPoint is None else held.quantization.zeroPoint[0]
        buffer = copy.deepcopy(model.buffers[0])
        buffer.data = np.full(tuple(held.shape), zero, types[held.type].lower()).tobytes()
        held.buffer, held.name = len(model.buffers), b"held"
        model.buffers.append(buffer)
        found[-1].inputs = [len(graph.tensors), *map(int, found[-1].inputs[1:])]
        graph.tensors.append(held)
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # a part is missing
        raise damaged(error, where) from None
    return _pack(model, len(data))


def rewrite(data: bytes, change: Callable[[Any], None]) -> bytes:
    """A model after ``change`` has edited its ``ModelT``, the schema's own object.

    Raises:
        DataError: the file is damaged.
    """
    model = unpack(data, "the model")
    change(model)
    return _pack(model, len(data))


def tidy(data: bytes) -> bytes:
    """Remove what a board never reads, and name inputs and outputs as the signature does.

    The converter's metadata and description go, and the empty buffers that it makes for computed tensors; fused
    tensors keep the first of their names. Weights stay aligned.
    """
    model = unpack(data, "the converted model")
    try:
        _name_and_strip(model)
        _drop_buffers(model)
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # a part is missing
        raise damaged(error, "the converted model") from None
    return _pack(model, len(data))


def _name_and_strip(model: Any) -> None:
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        if tensor.name:
            tensor.name = tensor.name.split(b";")[0]
    for signature in model.signatureDefs or []:
        for entry in [*signature.inputs, *signature.outputs]:
            graph.tensors[entry.tensorIndex].name = entry.name
    kept = [entry for entry in model.metadata or [] if entry.name == b"min_runtime_version"]
    for entry in model.metadata or []:
        if entry not in kept:
            model.buffers[entry.buffer].data = None
    model.metadata, model.description = kept, None


def _drop_buffers(model: Any) -> None:
    """Let each tensor without a constant name buffer 0, which is empty by the schema; remove what nothing names."""
    if model.buffers[0].data is not None and len(model.buffers[0].data):
        return
    named = [tensor for graph in model.subgraphs for tensor in graph.tensors] + list(model.metadata)
    for entry in named:
        found = model.buffers[entry.buffer]
        if not found.offset and (found.data is None or not len(found.data)):
            entry.buffer = 0
    kept = sorted({0, *(entry.buffer for entry in named)})
    model.buffers, places = [model.buffers[old] for old in kept], {old: new for new, old in enumerate(kept)}
    for entry in named:
        entry.buffer = places[entry.buffer]


def name_tensors(data: bytes, where: str) -> bytes:
    """Give each tensor that has no name of its own one: ``t7`` after its index, or ``1_t7`` in the second subgraph.

    Names may be missing in a file, or stand twice. A file in which every tensor has its own comes back as it is.

    Raises:
        DataError: not a TFLite file, or a damaged one.
    """
    model = unpack(data, where)
    try:
        graphs = enumerate(model.subgraphs)
        all_tensors = [(number, *entry) for number, graph in graphs for entry in enumerate(graph.tensors)]
        count = Counter(tensor.name or b"" for _, _, tensor in all_tensors)
        unclear = [entry for entry in all_tensors if not entry[2].name or count[entry[2].name] > 1]
        for number, index, tensor in unclear:
            name = f"{number}_t{index}" if number else f"t{index}"
            while count[name.encode()]:
                name += "_"
            tensor.name = name.encode()
    except (AttributeError, IndexError, TypeError) as error:  # a part is missing
        raise damaged(error, where) from None
    return _pack(model, len(data)) if unclear else data


def _pack(model: Any, size: int) -> bytes:
    """Serialise the model, to about ``size`` bytes; equal names and equal numbers are stored once.

    A flatbuffer names each of them by its place: the zero points of all channels of all layers are one vector.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class Sharing(flatbuffers.Builder):  # type: ignore[misc]  # untyped
        """A writer that knows what it wrote."""

        def __init__(self, size: int) -> None:
            super().__init__(size)
            self._written: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802  # the names that the generated code calls
            key = (x.dtype.str, x.tobytes())
            if key not in self._written:
                self._written[key] = super().CreateNumpyVector(x)
            return self._written[key]

        def CreateString(self, s: Any, encoding: str = "utf-8", errors: str = "strict") -> Any:  # noqa: N802
            key = ("", s.encode(encoding, errors) if isinstance(s, str) else bytes(s))
            if key not in self._written:
                self._written[key] = super().CreateString(key[1])
            return self._written[key]

    class Aligned(schema.BufferT):  # type: ignore[misc]  # generated, untyped
        """A buffer whose bytes are aligned as the schema asks; the Python writer of flatbuffers ignores that."""

        def Pack(self, builder: Any) -> Any:  # noqa: N802  # the name that the generated code calls
            vector = None
            if self.data is not None and len(self.data):
                raw = bytes(self.data)
                builder.StartVector(1, len(raw), ALIGNMENT)
                builder.head = builder.Head() - len(raw)
                builder.Bytes[builder.Head() : builder.Head() + len(raw)] = raw
                vector = builder.EndVector()
            schema.BufferStart(builder)
            if vector is not None:
                schema.BufferAddData(builder, vector)
            return schema.BufferEnd(builder)

    for index, old in enumerate(model.buffers):
        model.buffers[index] = Aligned()
        model.buffers[index].data = old.data
    builder = Sharing(size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
