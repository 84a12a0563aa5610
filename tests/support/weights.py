"""A small network and its weights in every format that the build takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.support.lazy import keras, layers, tf
from utils.errors import DataError
from utils.model.weights import load_into


def net(width: int = 4, classes: int = 3, extra: bool = False, bias: bool = False, scale: bool = True) -> Any:
    """A small network with every kind of layer that the recipes' networks have, and a Dropout with its seed."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(width, 3, name="stem", use_bias=bias)(image)
    x = layers.BatchNormalization(name="stem_bn", scale=scale)(x)
    x = layers.DepthwiseConv2D(3, name="depth")(layers.ReLU()(x))
    x = layers.SeparableConv2D(5, 2, name="separable")(x)
    x = layers.Dropout(0.5)(layers.BatchNormalization(name="bn")(x))
    x = layers.Conv2D(6, 1, name="expand")(x)
    if extra:
        x = layers.Conv2D(6, 1, name="extra")(x)
    x = layers.Dense(classes, name="head")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, x)


def nested() -> Any:
    body = keras.Sequential([layers.Conv2D(4, 3), layers.Conv2D(3, 1)], name="body")
    return keras.Sequential([keras.Input((8, 8, 3)), body, layers.Flatten(), layers.Dense(2, name="head")])


def fill(model: Any, seed: int = 7) -> Any:
    """Weights unlike fresh ones, positive so that they are variances too."""
    chance = np.random.default_rng(seed)
    model.set_weights([chance.uniform(0.1, 1, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def outputs(model: Any) -> Any:
    images = np.random.default_rng(3).uniform(-1, 1, (5, 8, 8, 3)).astype("float32")
    return np.asarray(model(images, training=False))


def write_legacy(file: Path, model: Any, into: str = "", drop: tuple[str, ...] = ()) -> Path:
    """The layout of Keras's own ImageNet files, by hand."""
    with h5py.File(file, "w") as root:
        group = root.create_group(into) if into else root
        kept = [layer for layer in model.layers if layer.name not in drop]
        group.attrs["layer_names"] = [layer.name.encode() for layer in kept]
        group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", b"2.1.6"
        for layer in kept:
            part = group.create_group(layer.name)
            part.attrs["weight_names"] = [f"{layer.name}/{weight.name}:0".encode() for weight in layer.weights]
            for weight in layer.weights:
                part[f"{layer.name}/{weight.name}:0"] = weight.numpy()
    return file


def write_keras2(folder: Path, model: Any) -> Path:
    """A SavedModel with the keys that Keras 2 writes; also an optimizer and metrics, as a trained one has them."""

    root = tf.Module()
    weighted = [layer for layer in model.layers if layer.weights]
    for index, layer in enumerate(weighted):
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        names = {"kernel": "depthwise_kernel"} if depthwise else {}
        part = tf.Module()
        for weight in reversed(layer.weights):
            role = names.get(weight.name, weight.name)
            setattr(part, role, tf.Variable(weight.numpy(), name=f"{layer.name}/{role}"))
        setattr(root, f"layer_with_weights-{index}", part)
    root.optimizer = tf.Module()
    root.optimizer._iterations = tf.Variable(9, dtype=tf.int64)
    tf.saved_model.save(root, os.fspath(folder))
    return folder


def save(kind: str, model: Any, folder: Path) -> Path:
    """Write a model's weights in one of the formats; the file's name does not tell which."""
    path = folder / "mine"
    if kind == "legacy by hand":
        return write_legacy(path, model)
    if kind == "whole legacy by hand":
        return write_legacy(path, model, into="model_weights")
    if kind == "saved_model 2":
        return write_keras2(path, model)
    if kind == "saved_model 3":
        model.export(path, verbose=False)
        return path
    if kind == "saved_model by tf":
        tf.saved_model.save(model, os.fspath(path))
        return path
    suffix = {"weights.h5": ".weights.h5", "keras": ".keras", "h5": ".h5"}[kind]
    made = folder / f"mine{suffix}"
    if kind == "weights.h5":
        model.save_weights(made)
    else:
        model.save(made)
    return made.rename(path)


KINDS = [
    *("legacy by hand", "whole legacy by hand", "h5", "weights.h5", "keras"),
    *("saved_model 2", "saved_model 3", "saved_model by tf"),
]


def refused(model: Any, path: Path, match: str) -> None:
    """Loading fails with the words, names the place, and leaves every weight as it was."""
    before = model.get_weights()
    with pytest.raises(DataError, match=match) as caught:
        load_into(model, path, "weights=mine")
    assert caught.value.where == "weights=mine"
    assert caught.value.hint
    assert caught.value.exit_code == 5
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
