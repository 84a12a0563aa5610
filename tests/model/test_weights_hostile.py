"""Hostile and damaged weights files: nothing of them is run, and the message says what is wrong."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.support.lazy import keras, layers, tf
from tests.support.weights import (
    fill,
    net,
    outputs,
    refused,
    save,
    write_legacy,
)
from utils.errors import DataError
from utils.model.fingerprint import fingerprint_weights as fingerprint
from utils.model.weights import load_into

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras's own, on NumPy 2
    "ignore:You are saving your model as an HDF5 file:UserWarning",
)


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
    refused(net(), save(kind, hostile, tmp_path), "has a Lambda layer")


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_classes_that_are_not_of_keras(tmp_path: Path, kind: str) -> None:
    class Own(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    model = net()
    hostile = keras.Model(model.input, Own()(model.output))
    refused(net(), save(kind, hostile, tmp_path), r'its config names "Own" of .* is not part of Keras')


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
    refused(net(), path, "its config names .* not part of Keras")


@pytest.mark.parametrize(
    "options",
    [
        lambda: {"activation": keras.activations.relu6},
        lambda: {"activation": tf.nn.relu},
        lambda: {"kernel_regularizer": keras.regularizers.L2(1e-4), "kernel_constraint": keras.constraints.MaxNorm(2)},
        lambda: {"kernel_initializer": keras.initializers.HeNormal()},
    ],
)
def test_configs_of_keras_alone_are_no_suspects(tmp_path: Path, options: Callable[[], dict[str, Any]]) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(2, 3, **options())(image))
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
        refused(net(), path, '"stem/stem/kernel:0" is a link, which Keras never writes')


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
            "stores its numbers in another file",
        ),
        (
            lambda root: root.create_virtual_dataset(KERNEL, h5py.VirtualLayout(SHAPE, "f4")),
            "stores its numbers in another file",
        ),
        (lambda root: root.create_dataset(KERNEL, SHAPE, h5py.string_dtype()), "the file has objects for"),
        (lambda root: root.create_dataset(KERNEL, SHAPE, "i1"), r"has int8 numbers for .* the network needs float32"),
        (lambda root: root.create_dataset(KERNEL, SHAPE, "c8"), "has complex64 numbers for"),
        (
            lambda root: root.create_dataset(KERNEL, (2**40, 2**20), "f4", chunks=(8, 8)),
            r"has \(1099511627776, 1048576\)",
        ),
        (
            lambda root: root.create_dataset(KERNEL, SHAPE, "f4", maxshape=[None] * 4, chunks=(512, 512, 64, 8)),
            "unpacks to more than its shape",
        ),
        (lambda root: root.create_group(KERNEL), "is not an array"),
        (lambda root: root.create_dataset(KERNEL, data=h5py.Empty("f4")), "the file has None for"),
        (lambda root: root.create_dataset(KERNEL, data=np.full(SHAPE, np.nan)), "NaN or infinity"),
        (lambda root: root.create_dataset(KERNEL, data=np.full(SHAPE, -np.inf)), "NaN or infinity"),
        (lambda root: root.create_dataset(KERNEL, data=np.full(SHAPE, 1e300)), "NaN or infinity"),
        (lambda _: None, "damaged.*kernel:0"),
        (lambda root: root["stem"].attrs.__setitem__("weight_names", 3), "damaged"),
        (lambda root: root["stem"].attrs.__setitem__("weight_names", [b"\xff\xfe"]), "damaged"),
        (lambda root: root.attrs.__setitem__("layer_names", [b"no such layer"]), "damaged.*no such layer"),
        (lambda root: root.attrs.__setitem__("model_config", "[" * 100_000), "its config is not JSON.*64 brackets"),
        (lambda root: root.attrs.__setitem__("model_config", "{"), "its config is not JSON"),
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

    refused(net(), replace_kernel(tmp_path / "mine", make), "compressed by a filter")


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
        ("a.h5", b"<html>404</html>", "is not an h5 file"),
        ("a.h5", b"\x80", "is not an h5 file"),
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
    refused(net(), tmp_path / "mine", "is a folder, but not a SavedModel")
    copy()
    (tmp_path / "mine" / "saved_model.pb").write_bytes(b"not a graph")  # it is never opened
    load_into(net(), tmp_path / "mine", "mine")


def test_saved_models_of_other_makers(tmp_path: Path) -> None:
    module = tf.Module()
    module.weights = tf.Variable(np.ones(3, "float32"))
    tf.saved_model.save(module, os.fspath(tmp_path / "own"))
    refused(net(), tmp_path / "own", "but not one of a Keras network")
    model = fill(net())
    model.get_layer("head").kernel.assign(np.full((6, 3), np.nan))
    refused(net(), save("saved_model 3", model, tmp_path), "NaN or infinity")


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
