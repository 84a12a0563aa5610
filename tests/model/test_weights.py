"""Own weights: every format gives back the predictions it was saved with; those of another network are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.support.checkouts import MIRROR
from tests.support.lazy import keras
from tests.support.weights import (
    KINDS,
    fill,
    nested,
    net,
    outputs,
    refused,
    save,
    write_legacy,
)
from utils.model.weights import load_into

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras's own, on NumPy 2
        "ignore:You are saving your model as an HDF5 file:UserWarning",
    ),
]

WEIGHTS = MIRROR.parent / "weights" / "mobilenet_v2_dequantised.h5"


# --- what is read ---


@pytest.mark.parametrize("kind", KINDS)
def test_same_predictions(mine: Callable[[str], Path], kind: str) -> None:
    model = net()
    fresh = outputs(model)
    load_into(model, mine(kind), "mine")
    expected = outputs(fill(net()))
    np.testing.assert_array_equal(outputs(model), expected)
    assert np.abs(fresh - expected).max() > 0.01


@pytest.mark.parametrize("kind", ["weights.h5", "keras", "h5", "saved_model 3"])
def test_models_in_a_model(tmp_path: Path, kind: str) -> None:
    path = save(kind, fill(nested()), tmp_path)
    model = nested()
    load_into(model, path, "mine")
    np.testing.assert_array_equal(outputs(model), outputs(fill(nested())))


@pytest.mark.parametrize("kind", ["weights.h5", "keras", "h5", "saved_model 3", "saved_model by tf"])
def test_fine_tuned_with_frozen_layers_and_an_optimizer(tmp_path: Path, kind: str) -> None:
    model = fill(net())
    model.get_layer("stem_bn").trainable = False
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((2, 8, 8, 3)), np.ones((2, 3)), verbose=0)
    path = save(kind, model, tmp_path)
    other = net()
    load_into(other, path, "mine")
    np.testing.assert_array_equal(outputs(other), outputs(model))


def test_layout_of_keras_2_13(tmp_path: Path, mine: Callable[[str], Path]) -> None:
    path = tmp_path / "old"
    shutil.copy(mine("weights.h5"), path)
    with h5py.File(path, "a") as root:
        root.move("layers", "_layer_checkpoint_dependencies")
    model = net()
    load_into(model, path, "mine")
    np.testing.assert_array_equal(outputs(model), outputs(fill(net())))


def test_lists_of_names_that_keras_split(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "split", fill(net()))
    with h5py.File(path, "a") as root:
        names = root.attrs["layer_names"]
        del root.attrs["layer_names"]
        root.attrs["layer_names0"], root.attrs["layer_names1"] = names[:3], names[3:]
    model = net()
    load_into(model, path, "mine")
    np.testing.assert_array_equal(outputs(model), outputs(fill(net())))


def test_packed_and_half_precision(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "packed", fill(net()))
    with h5py.File(path, "a") as root:
        values = root["stem/stem/kernel:0"][()]
        del root["stem/stem/kernel:0"]
        root.create_dataset("stem/stem/kernel:0", data=values.astype("float16"), compression="gzip", shuffle=True)
    model = net()
    load_into(model, path, "mine")
    np.testing.assert_array_equal(model.get_layer("stem").get_weights()[0], values.astype("float16").astype("float32"))


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="real MobileNetV2 weights are not beside the checkout")
def test_real_mobilenet_v2() -> None:
    model = keras.applications.MobileNetV2(weights=None)
    load_into(model, WEIGHTS, "mine")
    reference = keras.applications.MobileNetV2(weights=None)
    reference.load_weights(WEIGHTS)
    for ours, theirs in zip(model.weights, reference.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    other = keras.applications.MobileNetV2(weights=None, alpha=0.75)
    refused(other, WEIGHTS, r'layer "Conv1" \(Conv2D\): the file has \(3, 3, 3, 32\) for "Conv1/kernel", .*3, 24\)')
    resnet = keras.applications.ResNet50V2(weights=None)
    refused(resnet, WEIGHTS, r'layer "conv1_conv" \(Conv2D\): the file has \(3, 3, 3, 32\) for "Conv1/kernel"')


# --- another network ---


@pytest.mark.parametrize("kind", KINDS)
def test_first_layer_that_does_not_fit(mine: Callable[[str], Path], kind: str) -> None:
    path = mine(kind)
    numbers = r"the file has \(6, 3\) for \S+, the network needs \(6, 7\)"
    refused(net(classes=7), path, rf'^weights=mine: layer "head" \(Dense\): {numbers}')
    numbers = r"the file has \(3, 3, 3, 4\) for \S+, the network needs \(3, 3, 3, 8\)"
    refused(net(width=8), path, rf'layer "stem" \(Conv2D\): {numbers}')
    refused(net(bias=True), path, r'layer "stem" \(Conv2D\): the file has 1 weights for it .* needs 2 \(kernel, bias\)')


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_and_too_many_layers(mine: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    # By order, the next layer stands in the place of the missing one; by path, the place is empty.
    missing = "the file has no weights for it" if kind in ("weights.h5", "keras") else r"the file has \(6, 3\) for"
    refused(net(extra=True), mine(kind), rf'layer "extra" \(Conv2D\): {missing}')
    longer = save(kind, fill(net(extra=True)), tmp_path)
    many = "has more layers than the network: "
    if kind not in ("weights.h5", "keras"):
        many = r'layer "head" \(Dense\): the file has'
    refused(net(), longer, many)


def test_a_layer_less_or_more_at_the_end(tmp_path: Path) -> None:
    refused(
        net(), write_legacy(tmp_path / "less", net(), drop=("head",)), r'layer "head" \(Dense\): the file has no wei'
    )
    model = net()
    headless = keras.Model(model.input, model.get_layer("expand").output)
    refused(headless, write_legacy(tmp_path / "more", model), 'has more layers than the network: "head" fits none')


def test_same_shapes_but_other_names(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "centre", fill(net(scale=False)))
    with h5py.File(path, "a") as root:  # gamma without beta, instead of beta without gamma
        root.move("stem_bn/stem_bn/beta:0", "stem_bn/stem_bn/gamma:0")
        names = [name.replace("beta", "gamma") for name in root["stem_bn"].attrs["weight_names"].astype(str)]
        root["stem_bn"].attrs["weight_names"] = [name.encode() for name in names]
    refused(net(scale=False), path, r'"stem_bn".*the file has "stem_bn/gamma:0" where the network needs "stem_bn/beta"')


def test_weights_outside_the_layers(mine: Callable[[str], Path]) -> None:
    class Own(keras.Model):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.own = self.add_weight(shape=(2,), name="own")

    model = net()
    refused(Own(model.input, model.output), mine("legacy by hand"), "weights outside its layers")
