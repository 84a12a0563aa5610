"""Integers or floats at the ends of a TFLite file, and tensors of its inside as outputs: no answer changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import handmade, hostile_models, quantised
from utils import example, tflite, tflite_edit
from utils.errors import DataError


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a chain of convolutions as float32.tflite and int8.tflite, which has int8 at both ends."""
    folder, layers = tmp_path_factory.mktemp("chain"), quantised.make_chain(depth=3)
    float32 = quantised.write_float32(folder / "float32.tflite", layers)
    quantised.write_int8(folder / "int8.tflite", layers, quantised.make_inputs(), float32)
    (folder / "signed.tflite").write_bytes(tflite_edit.rewrite((folder / "int8.tflite").read_bytes(), sign))
    return folder


def sign(model: Any) -> None:
    """Give a model a signature with other names than its tensors have."""
    from ai_edge_litert import schema_py_generated as schema

    graph, signature = model.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    for side, name in (("inputs", b"picture"), ("outputs", b"scores")):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, int(getattr(graph, side)[0])
        setattr(signature, side, [entry])
    model.signatureDefs = [signature]


def opened(file: Path, **options: Any) -> example.Model:
    return example.Model(str(file), example.load_runtime(), 1, reference=True, **options)


def test_floats_at_both_ends_change_no_answer(chain: Path, tmp_path: Path) -> None:
    given = chain / "int8.tflite"
    made = tflite_edit.float_io(given.read_bytes())
    (tmp_path / "float_io.tflite").write_bytes(made)
    before, after = tflite.read(given), tflite.read(tmp_path / "float_io.tflite")
    assert after.count() == {**before.count(), "QUANTIZE": 1, "DEQUANTIZE": 1}
    assert (after.macs(), after.parameters()) == (before.macs(), before.parameters())
    for old, new in ((before.inputs, after.inputs), (before.outputs, after.outputs)):
        was, now = before.tensors[old[0]], after.tensors[new[0]]
        assert (now.name, now.shape, now.dtype, now.scales) == (was.name, was.shape, "FLOAT32", ())
    whole, real = opened(given), opened(tmp_path / "float_io.tflite")
    seen = set()
    for values in quantised.make_inputs(count=20, seed=50):
        raw = whole.run(whole.quantise(1.3 * values))  # beyond the range, too: QUANTIZE clips as example.py does
        assert raw.dtype == np.int8
        np.testing.assert_array_equal(real.run(1.3 * values), whole.dequantise(raw))
        seen.add(raw.tobytes())
    assert len(seen) > 15


def test_the_ends_go_as_they_came(chain: Path) -> None:
    """integer_io of float_io computes with the same tensors as before."""
    data = (chain / "int8.tflite").read_bytes()
    back = tflite.parse(tflite_edit.integer_io(tflite_edit.float_io(data)), "back")
    was = tflite.parse(data, "was")
    assert back.count() == was.count()
    assert [back.tensors[index] for index in (*back.inputs, *back.outputs)] == [
        was.tensors[index] for index in (*was.inputs, *was.outputs)
    ]


def test_the_signature_goes_with_the_ends(chain: Path) -> None:
    graph = tflite.parse(tflite_edit.float_io((chain / "signed.tflite").read_bytes()), "signed")
    assert set(graph.signature) == {"picture", "scores"}
    assert set(graph.signature.values()) == {*graph.inputs, *graph.outputs}
    assert {graph.tensor(name).dtype for name in graph.signature} == {"FLOAT32"}


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_pure_integers_of_both_kinds(kind: str, tmp_path: Path) -> None:
    """uint8 files, too: as detectors are published."""
    (tmp_path / "whole.tflite").write_bytes(both_ends(kind))
    (tmp_path / "real.tflite").write_bytes(tflite_edit.float_io(both_ends(kind)))
    whole, real = opened(tmp_path / "whole.tflite"), opened(tmp_path / "real.tflite")
    assert np.dtype(whole.input["dtype"]).name == kind
    assert np.dtype(real.input["dtype"]).name == "float32"
    for seed in range(5):
        values = np.random.default_rng(seed).uniform(-2, 2, (1, 4, 4, 3)).astype(np.float32)
        np.testing.assert_array_equal(real.run(values), whole.dequantise(whole.run(whole.quantise(values))))


def both_ends(kind: str) -> bytes:
    """image (1, 4, 4, 3) -> AVERAGE_POOL_2D -> answer, of integers from end to end."""
    made = quantised._File()
    zero = {"int8": -3, "uint8": 125}[kind]
    start, end = (made.tensor(name, (1, 4, 4, 3), kind.upper(), scales=[0.015], zero=zero) for name in ("image", "end"))
    made.operator("AVERAGE_POOL_2D", [start], end, quantised._pool_options(quantised.Pool(3)))
    made.graph.inputs, made.graph.outputs = [start], [end]
    return handmade.pack(made.model)


def test_float_io_is_deterministic(chain: Path) -> None:
    data = (chain / "int8.tflite").read_bytes()
    assert tflite_edit.float_io(data) == tflite_edit.float_io(data)


def test_float_io_is_for_integer_ends(chain: Path) -> None:
    data = (chain / "float32.tflite").read_bytes()
    with pytest.raises(DataError, match="its inputs and outputs are float32 already"):
        tflite_edit.float_io(data)
    with pytest.raises(DataError, match="float32 already"):
        tflite_edit.float_io(tflite_edit.float_io((chain / "int8.tflite").read_bytes()))


def test_integers_without_a_scale_have_no_float_form(chain: Path) -> None:
    def forget(model: Any) -> None:
        model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].quantization = None

    data = tflite_edit.rewrite((chain / "int8.tflite").read_bytes(), forget)
    with pytest.raises(DataError, match="'image' has no scale that makes real numbers of it"):
        tflite_edit.float_io(data)


@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_what_is_no_tflite_file_is_refused(content: bytes) -> None:
    for change in (tflite_edit.float_io, lambda data: tflite_edit.show_tensors(data, [0])):
        with pytest.raises(DataError, match="not a TFLite file"):
            change(content)


def refusal(change: Callable[[bytes], bytes], data: bytes) -> str:
    """What a refused file's error asks for; empty for a file that is taken."""
    try:
        change(data)
    except DataError as error:
        return error.hint
    return ""


def test_damaged_files_end_in_an_error_for_people(chain: Path) -> None:
    data, refused = (chain / "int8.tflite").read_bytes(), 0
    for seed in range(60):
        damaged = hostile_models.flipped(data, random.Random(seed))
        for change in (tflite_edit.float_io, lambda found: tflite_edit.show_tensors(found, [4])):
            refused += bool(refusal(change, damaged))  # any other exception fails the test
    assert 10 < refused < 120


@pytest.mark.parametrize("variant", ["float32", "int8", "signed"])
def test_tensors_of_the_inside_as_outputs(chain: Path, variant: str, tmp_path: Path) -> None:
    """The same values as the interpreter has inside; the graph's own outputs stay, and stay first."""
    given = chain / f"{variant}.tflite"
    before = tflite.read(given)
    inner = [operator.outputs[0] for operator in before.operators if operator.name == "CONV_2D"][:2]
    (tmp_path / "shown.tflite").write_bytes(tflite_edit.show_tensors(given.read_bytes(), inner))
    after = tflite.read(tmp_path / "shown.tflite")
    assert after.outputs[: len(before.outputs)] == before.outputs
    assert [after.tensors[index].dtype for index in after.outputs[1:]] == ["FLOAT32"] * len(inner)
    names = [before.tensors[index].name for index in inner]
    assert [after.tensors[index].name for index in after.outputs[1:]] == names
    assert set(after.signature) == ({"picture", "scores", *names} if variant == "signed" else set())
    inside, shown = opened(given, keep_all=True), opened(tmp_path / "shown.tflite")
    for values in quantised.make_inputs(count=5, seed=70):
        tensor = inside.quantise(values)
        shown.run(tensor)
        for ours, index in zip(after.outputs[1:], inner, strict=True):
            np.testing.assert_array_equal(shown._interpreter.get_tensor(ours), inside.read_tensor(index, tensor))


@pytest.mark.parametrize("index", [-1, 10_000])
def test_a_tensor_that_is_not_there(chain: Path, index: int) -> None:
    with pytest.raises(DataError, match="has no tensor of that number"):
        tflite_edit.show_tensors((chain / "int8.tflite").read_bytes(), [index])
