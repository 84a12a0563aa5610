"""TFLite files: what the reader says of finished models, and that tidying changes no answer."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, Checkout
from utils import environment, example, recipe, tflite
from utils.errors import DataError

MODELS = ["demo_nearest", "demo_bilinear"]
VARIANTS = ["float32", "int8"]

RAW = """
import sys
from pathlib import Path
from utils import environment
tf = environment.pin_tensorflow(1)
module = tf.Module()
weights = tf.random.normal([12, 5]), tf.random.normal([3, 3, 1, 3])
spec = tf.TensorSpec([1, 2, 2, 1], tf.float32, name="image")
def call(image):
    maps = tf.nn.conv2d(image, weights[1], 1, "SAME")
    return {"probabilities": tf.nn.softmax(tf.reshape(tf.nn.relu(maps), [1, 12]) @ weights[0])}
module.serve = tf.function(call, input_signature=[spec])
tf.saved_model.save(module, "saved", signatures={"serving_default": module.serve})
Path("raw.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model("saved").convert())
"""


def model(checkout: Checkout, name: str, variant: str) -> Path:
    return checkout.root / f"artifacts/{name}/{name}_{variant}.tflite"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network as the converter leaves it."""
    folder = tmp_path_factory.mktemp("raw")
    env = {**environment.pinned(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", RAW], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "raw.tflite"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", MODELS)
def test_a_finished_model(built_once: Checkout, name: str, variant: str) -> None:
    found = recipe.find(name)
    file = model(built_once, name, variant)
    graph = tflite.read(file)
    assert graph.count() == found.expected.operators
    assert graph.count()[f"RESIZE_{'NEAREST_NEIGHBOR' if name == 'demo_nearest' else 'BILINEAR'}"] == 3
    assert (graph.count()["CONV_2D"], len(graph.operators)) == (7, sum(found.expected.operators.values()))
    assert set(graph.signature) == {found.input.name, found.output.name}
    for entry, side in ((found.input, graph.inputs), (found.output, graph.outputs)):
        assert side == (graph.signature[entry.name],)
        tensor = graph.tensors[side[0]]
        assert (tensor.name, list(tensor.shape), tensor.dtype) == (entry.name, entry.shape, variant.upper())
        assert tensor.data == 0
        assert len(tensor.scales) == len(tensor.zero_points) == (variant == "int8")
    version = [int(part) for part in graph.min_runtime.split(".")]
    assert [1, 5, 0] <= version <= [int(part) for part in found.expected.min_runtime.split(".")]
    assert [tensor.name for tensor in graph.tensors if tensor.name in graph.signature] == [*graph.signature]
    constants = sum(tensor.data for tensor in graph.tensors)
    assert constants > found.expected.parameters * {"float32": 4, "int8": 1}[variant]
    assert file.stat().st_size < constants + 12_000
    if variant == "int8":
        assert file.stat().st_size <= found.expected.int8_bytes


@pytest.mark.parametrize("name", MODELS)
def test_quantisation_that_old_runtimes_understand(built_once: Checkout, name: str) -> None:
    """Convolutions have a scale a channel, dense layers one: per channel, runtimes up to 2.7 compute garbage."""
    graph = tflite.read(model(built_once, name, "int8"))
    seen = []
    for operator in graph.operators:
        if operator.name not in {"CONV_2D", "FULLY_CONNECTED"}:
            continue
        weights = graph.tensors[operator.inputs[1]]
        assert weights.dtype == "INT8"
        assert len(weights.scales) == (weights.shape[0] if operator.name == "CONV_2D" else 1)
        assert set(weights.zero_points) == {0}
        seen.append(operator.name)
    assert seen == ["CONV_2D"] * 7 + ["FULLY_CONNECTED"]


def places(data: bytes) -> list[int]:
    """Where the bytes of each constant begin in the file."""
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAsModel(data, 0)
    tables = [root.Buffers(index)._tab for index in range(root.BuffersLength())]
    return [table.Vector(table.Offset(4)) for table in tables if table.Offset(4)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_aligned(built_once: Checkout, variant: str) -> None:
    found = places(model(built_once, "demo_nearest", variant).read_bytes())
    assert len(found) >= 16
    assert [place % 16 for place in found] == [0] * len(found)


def test_tidy_changes_no_answer(raw: Path, tmp_path: Path) -> None:
    data = raw.read_bytes()
    tidied = tflite.tidy(data)
    (tmp_path / "tidy.tflite").write_bytes(tidied)
    before, after = tflite.read(raw), tflite.read(tmp_path / "tidy.tflite")
    assert len(tidied) < len(data)
    assert after.count() == before.count()
    assert after.min_runtime == before.min_runtime != ""
    assert [tensor.shape for tensor in after.tensors] == [tensor.shape for tensor in before.tensors]
    assert [tensor.data for tensor in after.tensors] == [tensor.data for tensor in before.tensors]
    assert before.tensors[before.inputs[0]].name != "image"
    assert after.tensors[after.inputs[0]].name == "image"
    assert after.tensors[after.outputs[0]].name == "probabilities"
    assert not any(";" in tensor.name for tensor in after.tensors)
    assert any(";" in tensor.name for tensor in before.tensors)
    assert [place % 16 for place in places(tidied)] == [0] * len(places(tidied))
    assert tflite.tidy(data) == tidied == tflite.tidy(tidied)
    inputs = np.random.default_rng(1).random((20, 1, 2, 2, 1), np.float32)
    runtime = example.load_runtime()
    one, other = (example.Model(str(file), runtime, threads=1) for file in (raw, tmp_path / "tidy.tflite"))
    outputs = [[network.run(tensor).tobytes() for tensor in inputs] for network in (one, other)]
    assert outputs[0] == outputs[1]
    assert len(set(outputs[0])) == 20


@pytest.mark.parametrize("content", [b"", b"\0\0\0\0TFL", b"\x89PNG\r\n\x1a\n", b"no model at all"])
def test_not_tflite(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.tflite").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.tflite: not a TFLite file\n  -> give"):
        tflite.read(tmp_path / "m.tflite")
    with pytest.raises(DataError, match="the converted model: not a TFLite file"):
        tflite.tidy(content)


@pytest.mark.parametrize("size", [8, 9, 20, 200, 1000])
def test_truncated(raw: Path, tmp_path: Path, size: int) -> None:
    (tmp_path / "m.tflite").write_bytes(raw.read_bytes()[:size])
    with pytest.raises(DataError, match=r"m.tflite: a damaged TFLite file \(.*\)\n  -> make or copy it again"):
        tflite.read(tmp_path / "m.tflite")


def test_damaged_anywhere(raw: Path, tmp_path: Path) -> None:
    """Whatever byte is wrong: a graph or a DataError, never another error."""
    data, chance, refused = raw.read_bytes(), random.Random(1), 0
    file = tmp_path / "m.tflite"
    for _ in range(300):
        place = chance.randrange(8, len(data))
        file.write_bytes(data[:place] + chance.randbytes(min(4, len(data) - place)) + data[place + 4 :])
        try:
            tflite.read(file)
        except DataError:
            refused += 1
    assert refused > 30


def test_two_subgraphs(raw: Path, tmp_path: Path) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    made = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(raw.read_bytes(), 0))
    made.subgraphs *= 2
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), file_identifier=b"TFL3")
    (tmp_path / "m.tflite").write_bytes(bytes(builder.Output()))
    with pytest.raises(DataError, match="has 2 subgraphs, not one"):
        tflite.read(tmp_path / "m.tflite")
