"""Weights of fine-tuned models: the recipe's layers are found where transfer learning puts them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.support.checkouts import MIRROR
from tests.support.lazy import keras, layers, tf
from utils.errors import DataError
from utils.model.weights import load_into

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras's own, on NumPy 2
    "ignore:You are saving your model as an HDF5 file:UserWarning",
)

WEIGHTS = MIRROR.parent / "weights" / "mobilenet_v2_dequantised.h5"


def backbone(top: bool, name: str = "backbone", prefix: str = "") -> Any:
    """A network as keras.applications builds them: with its head, or only up to the pooling."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name=f"{prefix}stem", use_bias=False)(image)
    x = layers.BatchNormalization(name=f"{prefix}stem_bn")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name=f"{prefix}depth")(x)
    x = layers.Conv2D(4, 1, name=f"{prefix}one", use_bias=False)(x)
    x = layers.Conv2D(4, 1, name=f"{prefix}two", use_bias=False)(
        x
    )  # as large as the one before: an order that is off shows
    x = layers.BatchNormalization(name=f"{prefix}two_bn")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(4, name=f"{prefix}head")(x) if top else x, name=name)


def in_sequential(inner: Any, *after: Any) -> Any:
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(2.0), inner, layers.Dropout(0.2), *after])


def in_functional(inner: Any, *after: Any) -> Any:
    image = keras.Input((8, 8, 3))
    x = inner(layers.Rescaling(2.0)(image))
    for layer in (layers.Dropout(0.2), *after):
        x = layer(x)
    return keras.Model(image, x)


def trained(model: Any) -> Any:
    """The model with weights unlike fresh ones, its first layers frozen as in fine-tuning, and an optimizer."""
    rng = np.random.default_rng(7)
    model.set_weights([rng.uniform(0.1, 1, weight.shape).astype("float32") for weight in model.get_weights()])
    for layer in model.get_layer("backbone").layers[:4]:
        layer.trainable = False
    model.compile("adam", "mse")
    return model


def write_legacy(file: Path, model: Any) -> Path:
    """``save_weights("mine.h5")`` of Keras 2: no config, and of a model inside the trained weights first."""
    with h5py.File(file, "w") as root:
        root.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            part = root.create_group(layer.name)
            weights = layer.trainable_weights + layer.non_trainable_weights
            part.attrs["weight_names"] = [f"{weight.path}:0".encode() for weight in weights]
            for weight in weights:
                part[f"{weight.path}:0"] = weight.numpy()
    return file


def write_keras2(folder: Path, model: Any) -> Path:
    """A SavedModel with the objects of Keras 2: the list of all variables is the shortest path to those deep inside."""

    def part_of(model: Any) -> Any:
        part = tf.Module()
        part.variables_list = []
        weighted = [layer for layer in model.layers if layer.weights]
        for index, layer in enumerate(weighted):
            if getattr(layer, "layers", None):
                inner = part_of(layer)
                part.variables_list += inner.variables_list
            else:
                inner = tf.Module()
                for weight in layer.weights:
                    role = "depthwise_kernel" if isinstance(layer, layers.DepthwiseConv2D) else weight.name
                    role = weight.name if weight.name == "bias" else role
                    setattr(inner, role, tf.Variable(weight.numpy(), name=f"{layer.name}/{role}"))
                    part.variables_list.append(getattr(inner, role))
            setattr(part, f"layer_with_weights-{index}", inner)
            setattr(part, f"layer-{index + 1}", inner)
        return part

    class Root(tf.Module):  # "variables" is a property of tf.Module
        def _trackable_children(self, *args: Any, **options: Any) -> Any:
            children = dict(super()._trackable_children(*args, **options))
            return children | {"variables": children.pop("variables_list")}

    root = Root()
    for name, value in vars(part_of(model)).items():
        if name == "variables_list" or name.startswith("layer"):
            setattr(root, name, value)
    tf.saved_model.save(root, os.fspath(folder))
    keys = {key for key, _ in tf.train.list_variables(os.fspath(folder / "variables" / "variables"))}
    assert "variables/0/.ATTRIBUTES/VARIABLE_VALUE" in keys
    return folder


def save(kind: str, model: Any, folder: Path) -> Path:
    path = folder / "mine"
    if kind == "legacy weights":
        return write_legacy(path, model)
    if kind == "saved_model 2":
        return write_keras2(path, model)
    if kind == "saved_model 3":
        model.export(path, verbose=False)
        return path
    if kind == "saved_model by tf":
        tf.saved_model.save(model, os.fspath(path))
        return path
    made = folder / f"mine.{kind}"
    if kind == "weights.h5":
        model.save_weights(made)
    else:
        model.save(made)
    return made


KINDS = ["h5", "legacy weights", "weights.h5", "keras", "saved_model 2", "saved_model 3", "saved_model by tf"]
FORMS = pytest.mark.parametrize("put", [in_sequential, in_functional])


def assert_same(model: Any, trained_layers: list[Any]) -> None:
    """Layer by layer, all weights: predictions would not show two that are swapped."""
    ours = [layer for layer in model.layers if layer.weights]
    theirs = [layer for layer in trained_layers if layer.weights]
    assert [len(layer.weights) for layer in ours] == [len(layer.weights) for layer in theirs]
    for one, other in zip(ours, theirs, strict=True):
        for mine, expected in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, expected, err_msg=one.name)


@pytest.mark.parametrize("kind", KINDS)
@FORMS
def test_a_headless_network_with_a_head_after_it(tmp_path: Path, kind: str, put: Callable[..., Any]) -> None:
    whole = trained(put(backbone(top=False), layers.Dense(4, name="mine")))
    model = backbone(top=True)
    assert load_into(model, save(kind, whole, tmp_path), "mine") == ""
    assert_same(model, [*whole.get_layer("backbone").layers, whole.get_layer("mine")])


@pytest.mark.parametrize("kind", KINDS)
@FORMS
def test_a_whole_network_with_layers_without_weights(tmp_path: Path, kind: str, put: Callable[..., Any]) -> None:
    whole = trained(put(backbone(top=True)))
    model = backbone(top=True)
    load_into(model, save(kind, whole, tmp_path), "mine")
    assert_same(model, whole.get_layer("backbone").layers)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "saved_model 3"])
@FORMS
def test_a_network_with_another_head_after_its_own(tmp_path: Path, kind: str, put: Callable[..., Any]) -> None:
    whole = trained(put(backbone(top=True), layers.Dense(5, name="mine")))
    model = backbone(top=True)
    name = load_into(model, save(kind, whole, tmp_path), "mine")
    names = {"saved_model 2": "layer_with_weights-0", "saved_model by tf": "/2"}
    assert name.endswith(names.get(kind, "backbone"))
    assert_same(model, whole.get_layer("backbone").layers)


def test_an_export_does_not_tell_its_models(tmp_path: Path) -> None:
    """It is one flat list of variables: the message says what to save instead."""
    whole = trained(in_sequential(backbone(top=True), layers.Dense(5, name="mine")))
    path = save("saved_model 3", whole, tmp_path)
    with pytest.raises(DataError, match=r"has more layers than the network.*mine") as caught:
        load_into(backbone(top=True), path, "mine")
    assert "get_layer(NAME).save_weights(" in caught.value.hint


@pytest.mark.parametrize("kind", ["h5", "weights.h5", "keras", "saved_model 2", "saved_model by tf"])
def test_models_in_models_in_models(tmp_path: Path, kind: str) -> None:
    inner = in_functional(backbone(top=True))
    inner.name = "around"
    rng = np.random.default_rng(7)
    whole = keras.Sequential([keras.Input((8, 8, 3)), inner, layers.Dense(5, name="mine")])
    whole.set_weights([rng.uniform(0.1, 1, weight.shape).astype("float32") for weight in whole.get_weights()])
    model = backbone(top=True)
    load_into(model, save(kind, whole, tmp_path), "mine")
    assert_same(model, inner.get_layer("backbone").layers)


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_of_classes(tmp_path: Path, kind: str) -> None:
    """The network's own layers fit, and the head is what the message is about."""
    whole = trained(in_sequential(backbone(top=False), layers.Dense(5, name="mine")))
    path = save(kind, whole, tmp_path)
    model = backbone(top=True)
    before = model.get_weights()
    with pytest.raises(DataError, match=r'layer "head" \(Dense\): the file has \(4, 5\) .* needs \(4, 4\)') as caught:
        load_into(model, path, "mine")
    assert "number of classes" in caught.value.hint
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("kind", ["h5", "keras", "saved_model 2"])
def test_two_models_that_fit(tmp_path: Path, kind: str) -> None:
    image = keras.Input((8, 8, 3))
    both = [backbone(top=True, name=name, prefix=f"{name}_")(image) for name in ("left", "right")]
    whole = keras.Model(image, layers.Dense(2, name="mine")(layers.Concatenate()(both)))
    with pytest.raises(DataError, match="several models in the file fit: ") as caught:
        load_into(backbone(top=True), save(kind, whole, tmp_path), "mine")
    assert "save that one alone" in caught.value.hint


def test_an_order_that_the_file_does_not_tell(tmp_path: Path) -> None:
    """One class in two models of a ``.weights.h5``, and layers that the network calls otherwise in an old h5."""

    def network(names: tuple[str, str]) -> Any:
        image = keras.Input((8, 8, 3))
        first = keras.Model(image, layers.Conv2D(3, 1, name=names[0])(layers.Conv2D(3, 1, name=names[1])(image)))
        first.name = "first"
        return keras.Sequential([image, first, layers.Conv2D(3, 1, name="last")])

    whole = network(("a", "b"))
    flat = keras.Sequential([keras.Input((8, 8, 3)), *(layers.Conv2D(3, 1) for _ in range(3))])
    with pytest.raises(DataError, match="Conv2D layers in several models, and does not say their order") as caught:
        load_into(flat, save("weights.h5", whole, tmp_path), "mine")
    assert 'model.save("mine.keras")' in caught.value.hint
    load_into(flat, save("keras", whole, tmp_path), "mine")
    assert_same(flat, [*whole.get_layer("first").layers, whole.get_layer("last")])
    with pytest.raises(DataError, match='does not say which layers are in "first"') as caught:
        load_into(flat, save("legacy weights", whole, tmp_path), "mine")
    assert 'model.save("mine.keras")' in caught.value.hint


def test_a_circle_in_the_objects(tmp_path: Path) -> None:
    model = trained(in_sequential(backbone(top=True)))
    root = tf.Module()
    setattr(root, "layer_with_weights-0", root)
    root.weight = tf.Variable(np.ones(3, "float32"))
    tf.saved_model.save(root, os.fspath(tmp_path / "mine"))
    with pytest.raises(DataError):
        load_into(model, tmp_path / "mine", "mine")


def test_paths_are_those_that_keras_writes(tmp_path: Path) -> None:
    """Keras names the groups of ``.weights.h5`` by a rule that is not public: held against what it writes."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2DTranspose(2, 3)(image)
    x = layers.PReLU()(layers.SeparableConv2D(3, 3)(x))
    x = layers.LayerNormalization()(layers.GroupNormalization(3)(layers.UnitNormalization()(x)))
    x = layers.LSTM(2, return_sequences=True)(layers.Reshape((64, 3))(x))
    x = layers.EinsumDense("abc,cd->abd", (None, 2))(layers.Conv1D(3, 1)(layers.GRU(3, return_sequences=True)(x)))
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    model.save_weights(tmp_path / "mine.weights.h5")
    from utils.model.stored import class_path

    with h5py.File(tmp_path / "mine.weights.h5") as root:
        assert {class_path(type(layer).__name__, 0) for layer in model.layers} == {
            f"layers/{n}" for n in root["layers"]
        }


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_file(), reason="real MobileNetV2 weights are not beside the checkout")
@pytest.mark.parametrize("kind", ["keras", "legacy weights", "saved_model 2"])
def test_real_mobilenet_v2_in_a_sequential(tmp_path: Path, kind: str) -> None:
    inner = keras.applications.MobileNetV2(weights=None)
    inner.load_weights(WEIGHTS)
    for layer in inner.layers[:100]:
        layer.trainable = False
    whole = keras.Sequential([keras.Input((224, 224, 3)), inner, layers.Dense(5, name="mine")])
    model = keras.applications.MobileNetV2(weights=None)
    load_into(model, save(kind, whole, tmp_path), "mine")
    assert_same(model, inner.layers)
    shutil.rmtree(tmp_path)
