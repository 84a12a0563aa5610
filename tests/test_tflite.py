"""TFLite files: what the reader says of finished models, and that tidying changes no answer."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checkouts import ROOT, Checkout
from utils import environment, example, tflite, tflite_edit
from utils.errors import DataError
from utils.npu.bsp import parse_version
from utils.recipe.load import find_recipe

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
def test_structure_of_the_demo_models(built_once: Checkout, name: str, variant: str) -> None:
    found = find_recipe(name)
    file = model(built_once, name, variant)
    graph = tflite.read(file)
    assert graph.count() == found.expected.operators
    assert graph.count()[f"RESIZE_{'NEAREST_NEIGHBOR' if name == 'demo_nearest' else 'BILINEAR'}"] == 3
    assert (graph.count()["CONV_2D"], len(graph.operators)) == (7, sum(found.expected.operators.values()))
    assert set(graph.signature) == {found.input.name, found.outputs[0].name}
    for entry, side in ((found.input, graph.inputs), (found.output, graph.outputs)):
        assert side == (graph.signature[entry.name],)
        tensor = graph.tensors[side[0]]
        assert (tensor.name, list(tensor.shape), tensor.dtype) == (entry.name, entry.shape, variant.upper())
        assert tensor.data == 0
        assert len(tensor.scales) == len(tensor.zero_points) == (variant == "int8")
    assert (1, 5, 0) <= parse_version(graph.min_runtime) <= parse_version(found.expected.min_runtime)
    assert [tensor.name for tensor in graph.tensors if tensor.name in graph.signature] == [*graph.signature]
    constants = sum(tensor.data for tensor in graph.tensors)
    assert constants > found.expected.parameters * {"float32": 4, "int8": 1}[variant]
    assert file.stat().st_size < constants + 8_000
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


def unpacked(data: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))


@pytest.mark.parametrize("name", MODELS)
def test_equal_numbers_are_stored_once(built_once: Checkout, name: str) -> None:
    """Each layer has a zero point for every channel, all 0: apart, they take a tenth of the file."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAsModel(model(built_once, name, "int8").read_bytes(), 0).Subgraphs(0)
    found: dict[tuple[bytes, ...], set[int]] = {}
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        given = tensor.Quantization()
        found.setdefault((b"name", tensor.Name()), set()).add(tensor._tab.Vector(tensor._tab.Offset(10)))
        if given.ZeroPointLength():
            values = given.ZeroPointAsNumpy().tobytes()
            found.setdefault((b"zero points", values), set()).add(given._tab.Vector(given._tab.Offset(10)))
    assert {len(places) for places in found.values()} == {1}
    assert {len(values[-1]) for values in found if values[0] == b"zero points"} == {8, 8 * 8, 32 * 8}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", MODELS)
def test_every_buffer_but_the_first_holds_a_constant(built_once: Checkout, name: str, variant: str) -> None:
    found = unpacked(model(built_once, name, variant).read_bytes())
    sizes = [0 if buffer.data is None else len(buffer.data) for buffer in found.buffers]
    assert sizes[0] == 0
    assert all(sizes[1:])
    tensors = found.subgraphs[0].tensors
    assert sorted({tensor.buffer for tensor in tensors} | {entry.buffer for entry in found.metadata}) == [
        *range(len(sizes))
    ]
    assert found.description is None


def test_a_first_buffer_with_a_constant_is_kept(raw: Path) -> None:
    """The schema wants it empty, so such a file keeps all that it has."""

    def fill(model: Any) -> None:
        constant = next(buffer for buffer in model.buffers if buffer.data is not None and len(buffer.data))
        model.buffers[0].data = constant.data

    filled = tflite_edit.rewrite(raw.read_bytes(), fill)
    assert len(unpacked(tflite_edit.tidy(filled)).buffers) == len(unpacked(filled).buffers)


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_aligned(built_once: Checkout, variant: str) -> None:
    found = places(model(built_once, "demo_nearest", variant).read_bytes())
    assert len(found) >= 16
    assert [place % 16 for place in found] == [0] * len(found)


def test_tidy_changes_no_answer(raw: Path, tmp_path: Path) -> None:
    data = raw.read_bytes()
    tidied = tflite_edit.tidy(data)
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
    assert tflite_edit.tidy(data) == tidied == tflite_edit.tidy(tidied)
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
        tflite_edit.tidy(content)


@pytest.mark.parametrize("size", [8, 9, 20, 200, 1000])
def test_truncated(raw: Path, tmp_path: Path, size: int) -> None:
    (tmp_path / "m.tflite").write_bytes(raw.read_bytes()[:size])
    with pytest.raises(DataError, match=r"m.tflite: a damaged TFLite file \(.*\)\n  -> build or copy it again"):
        tflite.read(tmp_path / "m.tflite")


def test_damaged_anywhere(raw: Path, tmp_path: Path) -> None:
    """Whatever byte is wrong: a graph or a DataError, never another error."""
    data, rng, refused = raw.read_bytes(), random.Random(1), 0
    file = tmp_path / "m.tflite"
    for _ in range(300):
        place = rng.randrange(8, len(data))
        file.write_bytes(data[:place] + rng.randbytes(min(4, len(data) - place)) + data[place + 4 :])
        try:
            tflite.read(file)
        except DataError:
            refused += 1
    assert refused > 30


def test_two_subgraphs(raw: Path, tmp_path: Path) -> None:
    import flatbuffers

    made = unpacked(raw.read_bytes())
    made.subgraphs *= 2
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), file_identifier=b"TFL3")
    (tmp_path / "m.tflite").write_bytes(bytes(builder.Output()))
    with pytest.raises(DataError, match="has 2 subgraphs, not one"):
        tflite.read(tmp_path / "m.tflite")


# --- counting, and integers from end to end

NETWORK = """
import sys
from pathlib import Path
import numpy as np
from utils import environment
tf = environment.pin_tensorflow(1)
module = tf.Module()
draw = lambda *shape: tf.constant(np.random.default_rng(sum(shape)).normal(size=shape, scale=0.3).astype("float32"))
one, deep, up, dense = draw(3, 3, 3, 8), draw(3, 3, 8, 2), draw(2, 2, 4, 16), draw(256, 5)
def call(image):
    x = tf.nn.relu(tf.nn.conv2d(image, one, 2, "SAME") + draw(8))           # 8x8x3 -> 4x4x8
    x = tf.nn.depthwise_conv2d(x, deep, [1, 1, 1, 1], "SAME") + draw(16)     # -> 4x4x16
    x = tf.nn.conv2d_transpose(x, up, [1, 8, 8, 4], 2, "SAME")              # -> 8x8x4
    x = tf.reshape(x, [1, 256]) @ dense + draw(5)
    return {"scores": x}
module.serve = tf.function(call, input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.float32, name="image")])
tf.saved_model.save(module, "network", signatures={"serving_default": module.serve})
def images():
    for seed in range(20):
        yield [np.random.default_rng(seed).uniform(-1, 1, (1, 8, 8, 3)).astype("float32")]
for name, quantised, io in (("float32", False, None), ("float_io", True, tf.float32), ("int8", True, tf.int8)):
    converter = tf.lite.TFLiteConverter.from_saved_model("network")
    if quantised:
        converter.optimizations, converter.representative_dataset = [tf.lite.Optimize.DEFAULT], images
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = io
    Path(name + ".tflite").write_bytes(converter.convert())
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small network as float32.tflite, float_io.tflite (int8 inside) and int8.tflite."""
    folder = tmp_path_factory.mktemp("network")
    env = {**environment.pinned(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", NETWORK], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("variant", ["float32", "float_io", "int8"])
def test_counted_by_hand(network: Path, variant: str) -> None:
    graph = tflite.read(network / f"{variant}.tflite")
    counted = graph.count()
    layers = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
    assert [counted[name] for name in layers] == [1] * 4
    convolution = (4 * 4 * 8) * (3 * 3 * 3)  # output values, each a sum over the kernel and all input channels
    depthwise = (4 * 4 * 16) * (3 * 3)  # ... over the kernel of one channel
    transposed = (4 * 4 * 16) * (2 * 2 * 4)  # each input value goes into so many output values
    dense = 5 * 256
    assert graph.macs() == convolution + depthwise + transposed + dense
    weights = 3 * 3 * 3 * 8 + 3 * 3 * 16 + 2 * 2 * 4 * 16 + 256 * 5
    biases = 8 + 16 + 5
    zeros = 4 if counted_bias(graph) else 0  # the converter may give the transposed convolution a bias
    assert graph.parameters() == weights + biases + zeros


def counted_bias(graph: tflite.Graph) -> bool:
    (operator,) = (found for found in graph.operators if found.name == "TRANSPOSE_CONV")
    return len(operator.inputs) > 3


def test_integers_from_end_to_end(network: Path, tmp_path: Path) -> None:
    """The same integers as inside of the file with float input and output, for every input."""
    published = network / "float_io.tflite"
    made = tflite_edit.integer_io(published.read_bytes())
    (tmp_path / "int8.tflite").write_bytes(made)
    before, after = tflite.read(published), tflite.read(tmp_path / "int8.tflite")
    assert before.count() == {**after.count(), "QUANTIZE": 1, "DEQUANTIZE": 1}
    assert (after.macs(), after.parameters()) == (before.macs(), before.parameters())
    assert after.min_runtime == before.min_runtime
    for old, new in ((before.inputs, after.inputs), (before.outputs, after.outputs)):
        was, now = before.tensors[old[0]], after.tensors[new[0]]
        assert (now.name, now.shape, now.dtype) == (was.name, was.shape, "INT8")
        assert was.dtype == "FLOAT32"
        assert len(now.scales) == len(now.zero_points) == 1
    assert set(after.signature.values()) == {*after.inputs, *after.outputs}  # the signature goes with them
    assert {after.tensor(name).dtype for name in after.signature} == {"INT8"}
    assert [place % 16 for place in places(made)] == [0] * len(places(made))

    runtime = example.load_runtime()
    files = (published, tmp_path / "int8.tflite")
    real, whole = (example.Model(str(file), runtime, 1, reference=True) for file in files)
    inside = example.Model(str(published), runtime, 1, reference=True, keep_all=True)
    (last,) = (operator for operator in before.operators if operator.name == "DEQUANTIZE")
    seen = set()
    for seed in range(30):
        values = np.random.default_rng(100 + seed).uniform(-1.3, 1.3, (1, 8, 8, 3)).astype(np.float32)
        raw = whole.run(whole.quantise(values))
        assert raw.dtype == np.int8
        inside.run(values)
        np.testing.assert_array_equal(raw, inside._interpreter.get_tensor(last.inputs[0]))
        np.testing.assert_array_equal(whole.dequantise(raw), real.run(values))
        seen.add(raw.tobytes())
    assert len(seen) > 20


def test_integer_io_is_deterministic_and_tidies_as_any_other(network: Path, tmp_path: Path) -> None:
    data = (network / "float_io.tflite").read_bytes()
    made = tflite_edit.integer_io(data)
    assert made == tflite_edit.integer_io(data)
    code = (
        "import sys; from utils import tflite_edit; "
        "sys.stdout.buffer.write(tflite_edit.integer_io(sys.stdin.buffer.read()))"
    )
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, input=data, capture_output=True, check=True)
    assert other.stdout == made
    (tmp_path / "tidy.tflite").write_bytes(tflite_edit.tidy(made))
    graph = tflite.read(tmp_path / "tidy.tflite")
    assert {graph.tensors[index].name for index in (*graph.inputs, *graph.outputs)} == {"image", "scores"}


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_integer_io_is_for_float_input_alone(network: Path, variant: str) -> None:
    with pytest.raises(DataError, match=r"the published model: no QUANTIZE between '.*' and the rest of"):
        tflite_edit.integer_io((network / f"{variant}.tflite").read_bytes())


def test_integer_io_twice(network: Path) -> None:
    made = tflite_edit.integer_io((network / "float_io.tflite").read_bytes())
    with pytest.raises(DataError, match="its input and output are integers already, or a part of it computes in float"):
        tflite_edit.integer_io(made)


@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_integer_io_refuses_a_file_that_is_not_tflite(content: bytes) -> None:
    with pytest.raises(DataError, match="the published model: not a TFLite file"):
        tflite_edit.integer_io(content)
