"""Hash the parts of a .tflite: weights, graph and metadata."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from utils import tflite

__all__ = ["constants", "parts"]


def constants(file: Path) -> dict[str, bytes]:
    """List the constant tensors (weights, biases, shapes) by name; duplicates are numbered."""
    model = _model(file)
    found: dict[str, bytes] = {}
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is None or not len(data):
            continue
        name = (tensor.name or b"").decode()
        while name in found:
            name += "'"
        found[name] = bytes(data)
    return found


def parts(file: Path) -> dict[str, str]:
    """Get the sha256 of the weights (bytes of every constant), of the metadata, and of the graph (all the rest)."""
    import flatbuffers

    model = _model(file)
    weights, metadata = hashlib.sha256(), hashlib.sha256()
    for name, data in constants(file).items():
        weights.update(b"%d %b %d " % (len(name.encode()), name.encode(), len(data)) + data)
    for entry in model.metadata or []:
        data = model.buffers[entry.buffer].data
        metadata.update(b"%b %b\0" % (entry.name or b"", b"" if data is None else bytes(data)))
    metadata.update(model.description or b"")
    model.metadata = model.description = None
    for buffer in model.buffers:
        buffer.data = None
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder))
    graph = hashlib.sha256(bytes(builder.Output()))
    return {"graph": graph.hexdigest(), "metadata": metadata.hexdigest(), "weights": weights.hexdigest()}


def _model(file: Path) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    tflite.read(file)  # refuses anything but a TFLite file, with a message for users
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file.read_bytes(), 0))
