"""Own weights: every format gives back the predictions it was saved with; nothing hostile is read, nothing is run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.support.checkouts import MIRROR, ROOT
from utils import environment, files
from utils.errors import DataError
from utils.model.weights import fingerprint, load_into

pytestmark = [
    pytest.mark.builds,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras's own, on NumPy 2
        "ignore:You are saving your model as an HDF5 file:UserWarning",
    ),
]

tf = environment.pin_tensorflow(1)
keras = tf.keras
layers = keras.layers

WEIGHTS = MIRROR.parent / "weights" / "mobilenet_v2_dequantised.h5"


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


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Files of the small network, one a format, made when asked for."""
    made: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = save(kind, fill(net()), tmp_path_factory.mktemp(kind.replace(" ", "_")))
        return made[kind]

    return of


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
    numbers = r"the file has \(6, 3\) for \S+, the network wants \(6, 7\)"
    refused(net(classes=7), path, rf'^weights=mine: layer "head" \(Dense\): {numbers}')
    numbers = r"the file has \(3, 3, 3, 4\) for \S+, the network wants \(3, 3, 3, 8\)"
    refused(net(width=8), path, rf'layer "stem" \(Conv2D\): {numbers}')
    refused(net(bias=True), path, r'layer "stem" \(Conv2D\): the file has 1 weights for it .* wants 2 \(kernel, bias\)')


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_and_too_many_layers(mine: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    # By order, the next layer stands in the place of the missing one; by path, the place is empty.
    missing = "the file has no weights for it" if kind in ("weights.h5", "keras") else r"the file has \(6, 3\) for"
    refused(net(extra=True), mine(kind), rf'layer "extra" \(Conv2D\): {missing}')
    longer = save(kind, fill(net(extra=True)), tmp_path)
    many = (
        "holds more than the network: " if kind in ("weights.h5", "keras") else r'layer "head" \(Dense\): the file has'
    )
    refused(net(), longer, many)


def test_a_layer_less_or_more_at_the_end(tmp_path: Path) -> None:
    refused(
        net(), write_legacy(tmp_path / "less", net(), drop=("head",)), r'layer "head" \(Dense\): the file has no wei'
    )
    model = net()
    headless = keras.Model(model.input, model.get_layer("expand").output)
    refused(headless, write_legacy(tmp_path / "more", model), 'holds more than the network: "head" fits no layer')


def test_same_shapes_but_other_names(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "centre", fill(net(scale=False)))
    with h5py.File(path, "a") as root:  # gamma without beta, instead of beta without gamma
        root.move("stem_bn/stem_bn/beta:0", "stem_bn/stem_bn/gamma:0")
        names = [name.replace("beta", "gamma") for name in root["stem_bn"].attrs["weight_names"].astype(str)]
        root["stem_bn"].attrs["weight_names"] = [name.encode() for name in names]
    refused(net(scale=False), path, r'"stem_bn".*the file has "stem_bn/gamma:0" where the network wants "stem_bn/beta"')


def test_weights_outside_the_layers(mine: Callable[[str], Path]) -> None:
    class Own(keras.Model):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.own = self.add_weight(shape=(2,), name="own")

    model = net()
    refused(Own(model.input, model.output), mine("legacy by hand"), "weights outside its layers")


# --- hostile and damaged files ---


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (os.fspath(self.mark),)


def test_pickles_are_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was_run"
    bomb = Bomb(mark)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"model{protocol}.pkl"
        path.write_bytes(pickle.dumps(bomb, protocol))
        refused(net(), path, "is a Python pickle")
    nameless = tmp_path / "mine"
    nameless.write_bytes(pickle.dumps(bomb))
    refused(net(), nameless, "is a Python pickle")
    torch = tmp_path / "model.keras"
    with zipfile.ZipFile(torch, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(bomb))
        archive.writestr("model/data/0", bytes(16))
    refused(net(), torch, "is a torch file")
    assert not mark.exists()
    pickle.loads(nameless.read_bytes())
    assert mark.exists()  # the bomb is a real one


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_lambda_layers(tmp_path: Path, kind: str) -> None:
    model = net()
    hostile = keras.Model(model.input, layers.Lambda(lambda x: x * 2)(model.output))
    refused(net(), save(kind, hostile, tmp_path), "holds a Lambda layer")


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_classes_that_are_not_of_keras(tmp_path: Path, kind: str) -> None:
    class Own(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    model = net()
    hostile = keras.Model(model.input, Own()(model.output))
    refused(net(), save(kind, hostile, tmp_path), r'its config names "Own" of .* is not of Keras')


@pytest.mark.parametrize(
    "item",
    [
        {"module": "os", "class_name": "system", "config": "true"},
        {"module": "keras.utils", "class_name": "get_file", "config": {}},
        {"module": "builtins", "class_name": "function", "config": "eval"},
        {"module": "evil.layers", "class_name": "Dense", "config": {}},
        {"class_name": "Custom>Layer", "config": {}},
        {"class_name": "__builtins__", "config": {}},
        {"class_name": ["Dense"], "config": {}},
    ],
)
def test_configs_that_name_code(mine: Callable[[str], Path], tmp_path: Path, item: dict[str, Any]) -> None:
    path = tmp_path / "mine"
    with zipfile.ZipFile(mine("keras")) as old, zipfile.ZipFile(path, "w") as new:
        config = json.loads(old.read("config.json"))
        config["config"]["layers"][1]["config"]["kernel_regularizer"] = item
        new.writestr("config.json", json.dumps(config))
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    refused(net(), path, "its config names .* not of Keras")


@pytest.mark.parametrize(
    "options",
    [
        {"activation": keras.activations.relu6},
        {"activation": tf.nn.relu},
        {"kernel_regularizer": keras.regularizers.L2(1e-4), "kernel_constraint": keras.constraints.MaxNorm(2)},
        {"kernel_initializer": keras.initializers.HeNormal()},
    ],
)
def test_configs_of_keras_alone_are_no_suspects(tmp_path: Path, options: dict[str, Any]) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(2, 3, **options)(image))
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(
        keras.optimizers.SGD(rate), keras.losses.MeanSquaredError(), metrics=[keras.metrics.MeanAbsoluteError()]
    )
    load_into(model, save("keras", model, tmp_path), "mine")


def test_links(tmp_path: Path) -> None:
    write_legacy(tmp_path / "other", fill(net()))
    for link in (h5py.ExternalLink("other", "/stem/stem/kernel:0"), h5py.SoftLink("/expand/expand/kernel:0")):
        path = write_legacy(tmp_path / "mine", net())
        with h5py.File(path, "a") as root:
            del root["stem/stem/kernel:0"]
            root["stem/stem/kernel:0"] = link
        refused(net(), path, '"stem/stem/kernel:0" is a link to another place')


def test_a_group_in_itself(tmp_path: Path, mine: Callable[[str], Path]) -> None:
    path = tmp_path / "mine"
    shutil.copy(mine("weights.h5"), path)
    with h5py.File(path, "a") as root:
        root["layers/conv2d/again"] = root["layers"]
    model = net()
    load_into(model, path, "mine")  # each group is looked at once
    np.testing.assert_array_equal(outputs(model), outputs(fill(net())))


def test_groups_too_deep(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "mine", net())
    with h5py.File(path, "a") as root:
        root.create_group("/".join("abc" * 20))
    refused(net(), path, "deeper groups than any network")


def replace_kernel(path: Path, make: Callable[[Any], None]) -> Path:
    write_legacy(path, net())
    with h5py.File(path, "a") as root:
        del root["stem/stem/kernel:0"]
        make(root)
    return path


KERNEL = "stem/stem/kernel:0"
SHAPE = (3, 3, 3, 4)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda root: root.create_dataset(KERNEL, SHAPE, "f4", external=[("/etc/hostname", 0, 432)]),
            "keeps its numbers in another file",
        ),
        (
            lambda root: root.create_virtual_dataset(KERNEL, h5py.VirtualLayout(SHAPE, "f4")),
            "keeps its numbers in another file",
        ),
        (lambda root: root.create_dataset(KERNEL, SHAPE, h5py.string_dtype()), "the file has objects for"),
        (lambda root: root.create_dataset(KERNEL, SHAPE, "i1"), r"has int8 numbers for .* the network wants float32"),
        (lambda root: root.create_dataset(KERNEL, SHAPE, "c8"), "has complex64 numbers for"),
        (
            lambda root: root.create_dataset(KERNEL, (2**40, 2**20), "f4", chunks=(8, 8)),
            r"has \(1099511627776, 1048576\)",
        ),
        (
            lambda root: root.create_dataset(KERNEL, SHAPE, "f4", maxshape=[None] * 4, chunks=(512, 512, 64, 8)),
            "unpacks to more than its shape",
        ),
        (lambda root: root.create_group(KERNEL), "is no array"),
        (lambda root: root.create_dataset(KERNEL, data=h5py.Empty("f4")), "the file has None for"),
        (lambda root: root.create_dataset(KERNEL, data=np.full(SHAPE, np.nan)), "NaN or infinite"),
        (lambda root: root.create_dataset(KERNEL, data=np.full(SHAPE, -np.inf)), "NaN or infinite"),
        (lambda root: root.create_dataset(KERNEL, data=np.full(SHAPE, 1e300)), "NaN or infinite"),
        (lambda _: None, "damaged.*kernel:0"),
        (lambda root: root["stem"].attrs.__setitem__("weight_names", 3), "damaged"),
        (lambda root: root["stem"].attrs.__setitem__("weight_names", [b"\xff\xfe"]), "damaged"),
        (lambda root: root.attrs.__setitem__("layer_names", [b"no such layer"]), "damaged.*no such layer"),
        (lambda root: root.attrs.__setitem__("model_config", "[" * 100_000), "damaged"),
        (lambda root: root.attrs.__setitem__("model_config", "{"), "damaged"),
    ],
)
def test_hostile_arrays(tmp_path: Path, make: Callable[[Any], None], match: str) -> None:
    path = replace_kernel(tmp_path / "mine", make)
    begin = time.monotonic()
    refused(net(), path, match)
    assert time.monotonic() - begin < 20


def test_a_filter_that_would_be_loaded(tmp_path: Path) -> None:
    def make(root: Any) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk(SHAPE)
        plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())  # zstd, a plugin
        space = h5py.h5s.create_simple(SHAPE)
        h5py.h5d.create(root["stem/stem"].id, b"kernel:0", h5py.h5t.IEEE_F32LE, space, plan)

    refused(net(), replace_kernel(tmp_path / "mine", make), "packed by a filter")


def test_names_are_made_fit_for_a_terminal(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "mine", net())
    with h5py.File(path, "a") as root:
        root.move("stem", "\x1b[2Jstem")
        root.attrs["layer_names"] = [
            name.replace("stem", "\x1b[2Jstem") for name in root.attrs["layer_names"].astype(str)
        ]
        root["\x1b[2Jstem"].attrs["weight_names"] = [b"\x1b]0;owned\x07"]
    with pytest.raises(DataError) as caught:
        load_into(net(), path, "mine")
    assert str(caught.value).replace("\n", "").isprintable()


def test_zip_bombs(tmp_path: Path) -> None:
    for name in ("model.weights.h5", "config.json"):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            if name == "config.json":
                archive.writestr("model.weights.h5", b"")
            with archive.open(name, "w", force_zip64=True) as stream:
                for _ in range(64):
                    stream.write(bytes(1 << 20))
        assert path.stat().st_size < 100_000
        refused(net(), path, rf"{name} in it unpacks to 67,108,864 bytes")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.h5", b"", "is empty"),
        ("a.h5", b"<html>404</html>", "is neither h5"),
        ("a.h5", b"\x80", "is neither h5"),
        ("a.keras", b"PK\x03\x04 and no more", "damaged"),
        ("a.h5", b"\x89HDF\r\n\x1a\n and no more", "damaged"),
        ("a.tflite", b"\x1c\0\0\0TFL3" + bytes(100), "is a TFLite model"),
        ("a.tgz", b"\x1f\x8b\x08" + bytes(100), "is an archive"),
        ("saved_model.pb", b"\x08\x01\x12\x00", "is one file of a SavedModel"),
    ],
)
def test_other_files(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    refused(net(), path, match)


def test_other_zips_and_h5(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros(3))
    refused(net(), tmp_path / "a.npz", "without model.weights.h5")
    with h5py.File(tmp_path / "a.h5", "w") as root:
        root["x"] = np.zeros(3)
    refused(net(), tmp_path / "a.h5", "without the weights of a Keras network")


@pytest.mark.parametrize("kind", ["legacy by hand", "h5", "weights.h5", "keras"])
def test_cut_short(mine: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    data = mine(kind).read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        path = tmp_path / "cut"
        path.write_bytes(data[: int(len(data) * share)])
        refused(net(), path, "damaged")


def test_zip_with_a_wrong_sum(mine: Callable[[str], Path], tmp_path: Path) -> None:
    data = bytearray(mine("keras").read_bytes())
    data[data.index(b"\x89HDF") + 5000] ^= 1
    (tmp_path / "mine").write_bytes(data)
    refused(net(), tmp_path / "mine", "damaged.*CRC")


@pytest.mark.parametrize("kind", ["saved_model 2", "saved_model 3"])
def test_damaged_saved_models(mine: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    def copy() -> Path:
        shutil.rmtree(tmp_path / "mine", ignore_errors=True)
        return Path(shutil.copytree(mine(kind), tmp_path / "mine"))

    for name in ("variables.index", "variables.data-00000-of-00001"):
        part = copy() / "variables" / name
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
        refused(net(), tmp_path / "mine", "damaged")
    data = copy() / "variables" / "variables.data-00000-of-00001"
    data.unlink()
    refused(net(), tmp_path / "mine", "damaged")
    data.symlink_to(mine(kind) / "variables" / data.name)
    refused(net(), tmp_path / "mine", "is a symbolic link")
    (copy() / "saved_model.pb").unlink()
    refused(net(), tmp_path / "mine", "is a folder, but no SavedModel")
    copy()
    (tmp_path / "mine" / "saved_model.pb").write_bytes(b"not a graph")  # it is never opened
    load_into(net(), tmp_path / "mine", "mine")


def test_saved_models_of_other_makers(tmp_path: Path) -> None:
    module = tf.Module()
    module.weights = tf.Variable(np.ones(3, "float32"))
    tf.saved_model.save(module, os.fspath(tmp_path / "own"))
    refused(net(), tmp_path / "own", "but not of a Keras network")
    model = fill(net())
    model.get_layer("head").kernel.assign(np.full((6, 3), np.nan))
    refused(net(), save("saved_model 3", model, tmp_path), "NaN or infinite")


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    refused_path = tmp_path / "absent"
    for act in (lambda: fingerprint(refused_path), lambda: load_into(net(), refused_path, "mine")):
        with pytest.raises(DataError, match="cannot be read: No such file"):
            act()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="cannot be read"):
        fingerprint(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        fingerprint(tmp_path / "pipe")


# --- fingerprint ---


def test_fingerprint_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.h5"
    path.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint(path) == {"name": "mine.h5", "size": 3, "sha256": digest}
    (tmp_path / "link.h5").symlink_to(path)  # the user's own; what it points to is what counts
    assert fingerprint(tmp_path / "link.h5") == {"name": "link.h5", "size": 3, "sha256": digest}


def test_fingerprint_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"abc")
    (folder / "variables" / "x").write_bytes(b"defg")
    first = fingerprint(folder)
    assert (first["name"], first["size"]) == ("mine", 7)
    shutil.copytree(folder, tmp_path / "copy" / "mine")
    assert fingerprint(tmp_path / "copy" / "mine") == first
    assert files.sha256(folder / "saved_model.pb") != first["sha256"]
    (folder / "variables" / "x").rename(folder / "variables" / "y")
    second = fingerprint(folder)
    assert second["sha256"] != first["sha256"]
    (folder / "variables" / "y").write_bytes(b"defh")
    assert fingerprint(folder)["sha256"] != second["sha256"]
    (folder / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match='"passwd" is a symbolic link'):
        fingerprint(folder)


def test_fingerprint_needs_no_heavy_module() -> None:
    heavy = "('tensorflow', 'keras', 'h5py', 'numpy')"
    code = f"import sys, utils.model.weights; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
