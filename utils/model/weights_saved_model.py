"""Read weights from the checkpoint in a SavedModel folder; its graph is not loaded.

The checkpoint's object graph says which variable belongs to which layer, and which layer to which model. Its keys do
not: each is the shortest path to its variable, such as ``variables/7`` for one in an inner model of Keras 2.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils.errors import DataError
from utils.model.fingerprint import list_members
from utils.model.stored import ALONE, FOLDER, ORDER, Group, Layer, Part, Weight, leaves, ordered_parts, quote

__all__ = ["saved_model_parts"]

_DEPTH = 30  # levels of inner models
#: Children of a node that are layers: in Keras 2, and in Keras 3 as ``tf.saved_model.save`` writes it.
_LAYER = re.compile(r"layer_with_weights-(\d+)")
_LISTS = ("_operations", "_layers")


def saved_model_parts(model: Any, folder: Path) -> Iterator[Part]:
    """List the candidates for the network in a SavedModel."""
    if not {"saved_model.pb", "variables/variables.index"} <= list_members(folder).keys():
        raise DataError("is a folder, but not a SavedModel", hint=FOLDER)
    from tensorflow.train import load_checkpoint

    whole = _Checkpoint(load_checkpoint(os.fspath(folder / "variables" / "variables"))).model()
    return ordered_parts([(layer, layer.weights) for layer in leaves(model.layers)], whole)


class _Checkpoint:
    """A checkpoint's variables, and the graph of the objects that they belong to."""

    def __init__(self, reader: Any) -> None:
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

        self._reader = reader
        self._shapes = reader.get_variable_to_shape_map()
        self._dtypes = reader.get_variable_to_dtype_map()
        graph = TrackableObjectGraph()
        if "_CHECKPOINTABLE_OBJECT_GRAPH" in self._shapes:  # only names are read from it
            graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
        self._nodes = graph.nodes
        self._children = [{child.local_name: child.node_id for child in node.children} for node in graph.nodes]

    def model(self) -> Group:
        """List all layers; raises DataError if there are none."""
        root = self._children[0] if self._children else {}
        inner = self._layers(0) if root else []
        if inner:
            return self._group("", inner, set(), 0)
        # Keras 3's export: one list, in the network's order.
        listed = sorted((int(n), node) for n, node in self._named(root, "variables").items() if n.isdecimal())
        weights = [weight for _, node in listed for weight in self._weights(node, "")]
        grouped = itertools.groupby(weights, lambda weight: weight.name.rpartition("/")[0])
        if not weights or not all("/" in weight.name for weight in weights):
            raise DataError("is a SavedModel, but not one of a Keras network", hint=ALONE)
        return Group("", [Layer(f"{name} {n}", name, list(each)) for n, (name, each) in enumerate(grouped)])

    def _named(self, children: dict[str, int], name: str) -> dict[str, int]:
        return self._children[children[name]] if name in children else {}

    def _layers(self, node: int) -> list[tuple[str, int]]:
        """List the direct layers of a model, in its order."""
        children = self._children[node]
        if found := [(int(match[1]), name) for name in children if (match := _LAYER.fullmatch(name))]:
            return [(name, children[name]) for _, name in sorted(found)]
        for listed in _LISTS:
            if inner := self._named(children, listed):
                numbers = sorted(int(name) for name in inner if name.isdecimal())
                return [(f"{listed}/{number}", inner[str(number)]) for number in numbers]
        return []

    def _group(self, place: str, inner: list[tuple[str, int]], seen: set[int], depth: int) -> Group:
        content: list[Layer | Group] = []
        for name, node in inner:
            path = f"{place}/{name}".lstrip("/")
            if node in seen:  # a layer that is used twice, or a loop
                continue
            seen.add(node)
            if depth > _DEPTH:
                raise DataError("has more or deeper models than any network", hint=ALONE)
            if deeper := self._layers(node):
                content.append(self._group(path, deeper, seen, depth + 1))
            elif weights := [w for role, child in self._children[node].items() for w in self._weights(child, role)]:
                content.append(Layer(path, weights[0].name.rpartition("/")[0], _sorted(weights)))
        return Group(place, content)

    def _weights(self, node: int, role: str) -> Iterator[Weight]:
        """Get the variable of a node, if it has one."""
        import numpy as np

        if not re.fullmatch("[a-z_]*", role):
            return
        for each in self._nodes[node].attributes:
            key = each.checkpoint_key
            name = each.full_name or key.partition("/.ATTRIBUTES/")[0]
            if each.name == "VARIABLE_VALUE" and not name.endswith("seed_generator_state"):
                read = functools.partial(self._reader.get_tensor, key)
                yield Weight(name, tuple(self._shapes[key]), np.dtype(self._dtypes[key].as_numpy_dtype), read)


def _sorted(weights: list[Weight]) -> list[Weight]:
    """Sort the weights of one layer into Keras's order."""
    ranks = [ORDER.index(weight.role) if weight.role else len(ORDER) for weight in weights]
    if len(set(ranks)) < len(ranks):  # they cannot be told apart
        raise DataError(f"{quote(weights[0].name)} is not a weight of a Keras layer", hint=ALONE)
    return [weight for _, weight in sorted(zip(ranks, weights, strict=True), key=lambda each: each[0])]
