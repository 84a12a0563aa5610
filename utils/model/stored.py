"""The contents of a weights file in any format: weights in layers, layers in models, models in models."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = [
    "AGAIN", "ALONE", "FOLDER", "ORDER", "Group", "Layer", "Leaves", "Pairs", "Part", "Weight", "class_path", "leaves",
    "ordered_parts", "pair_in_order", "quote",
]  # fmt: skip

#: Hints for messages.
ALONE = 'save the weights alone, model.save_weights("mine.weights.h5"), and give that file'
AGAIN = "save or copy it again"
FOLDER = "a SavedModel is a folder with saved_model.pb and variables/, as model.export() writes it"

#: The weights of a Keras layer, in Keras's order. A SavedModel identifies them only by these names.
ORDER = (
    *("depthwise_kernel", "kernel", "pointwise_kernel", "recurrent_kernel", "gamma", "beta"),
    *("moving_mean", "moving_variance", "bias"),
)


@dataclass(frozen=True)
class Weight:
    """A weight in the file, not read yet."""

    name: str
    shape: tuple[int, ...] | None
    dtype: Any  # a NumPy dtype
    read: Callable[[], Any]

    @property
    def role(self) -> str:
        """``kernel`` for ``conv/kernel:0``; empty if the file gives no name."""
        role = self.name.rsplit("/", 1)[-1].split(":")[0].lstrip("_")
        return role if role in ORDER else ""


@dataclass(frozen=True)
class Layer:
    """A layer in the file that has weights.

    Attributes:
        place: where it is in the file; unique.
        name: its name in a message.
        weights: its weights, in Keras's order.
        unclear: what the file does not say about it, for a message if it does not fit; empty if nothing is missing.
    """

    place: str
    name: str
    weights: list[Weight]
    unclear: str = ""


@dataclass(frozen=True)
class Group:
    """A model in the file, inside another."""

    name: str
    content: list[Layer | Group]

    def layers(self) -> Iterator[Layer]:
        """Its layers, including those of inner models, in one list."""
        for each in self.content:
            if isinstance(each, Group):
                yield from each.layers()
            else:
                yield each

    def groups(self) -> Iterator[Group]:
        """The models in it, at any depth."""
        for each in self.content:
            if isinstance(each, Group):
                yield each
                yield from each.groups()


#: Layers of the network that have weights, each with its variables in the order of the file's format.
Leaves = list[tuple[Any, list[Any]]]
#: A layer of the network, its variables, and the file's layer for it; one of the two layers may be missing.
Pairs = Iterator[tuple[Any, list[Any], Layer | None]]


@dataclass(frozen=True)
class Part:
    """A candidate for the network in the file: all of it (``name`` is empty), or a model inside it."""

    name: str
    pairs: Pairs


def quote(text: str, most: int = 100) -> str:
    """Quote text from a file, escaped for a terminal."""
    return json.dumps(text[:most])


def leaves(layers: list[Any]) -> Iterator[Any]:
    """List the layers of a network that have weights, including those of inner models."""
    for layer in layers:
        if getattr(layer, "layers", None):
            yield from leaves(layer.layers)
        elif layer.weights:
            yield layer


def pair_in_order(network: Leaves, found: list[Layer]) -> Pairs:
    """Pair the n-th layer of the network with the n-th of the file."""
    for ours, theirs in itertools.zip_longest(network, found):
        yield (*(ours or (None, [])), theirs)


def ordered_parts(network: Leaves, whole: Group) -> Iterator[Part]:
    """List the candidates in a file that gives its layers' order: the whole, then each model inside it."""
    yield Part("", pair_in_order(network, list(whole.layers())))
    for group in whole.groups():
        yield Part(group.name, pair_in_order(network, list(group.layers())))


def class_path(kind: str, before: int) -> str:
    """The folder of a layer in ``.weights.h5``: its class, and its number among those of the class in its model."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return f"layers/{name}_{before}" if before else f"layers/{name}"
