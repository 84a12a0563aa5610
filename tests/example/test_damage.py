"""What example.py says of damaged models, bundles and inputs: one sentence, one remedy, no traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.checkouts import Checkout
from tests.support.examples import (
    CHECK,
    MODEL,
    conforms,
    refused,
    run,
)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _: None, "there is no file demo_nearest_int8.tflite"),
        (lambda _: b"", "demo_nearest_int8.tflite is empty"),
        (lambda data: data[:-1000], "bytes, not"),
        (lambda data: data[:6], "demo_nearest_int8.tflite is not a TFLite model"),
        (lambda data: data[:9], "truncated?"),
        (lambda data: b"\x89PNG" + data[4:8].lower() + data[8:], "demo_nearest_int8.tflite is not a TFLite model"),
        (lambda data: data[:9000] + bytes([data[9000] ^ 1]) + data[9001:], "is damaged: its sha256 is not that of"),
    ],
    ids=["missing", "empty", "truncated", "6 bytes", "9 bytes", "png", "flipped"],
)
def test_damaged_model(bundle: Path, damage: Any, said: str) -> None:
    data = damage((bundle / MODEL).read_bytes())
    (bundle / MODEL).unlink()
    if data is not None:
        (bundle / MODEL).write_bytes(data)
    assert said in refused(bundle, "-m", MODEL)
    if data is None:
        assert "/demo_nearest_int8.tflite" in refused(bundle)  # also where no model is named


def test_a_file_that_is_not_a_tflite_model(bundle: Path) -> None:
    assert "there is no file ." in refused(bundle, "-m", ".")
    assert "is not a TFLite model" in refused(bundle, "-m", "README.md")


def test_a_renamed_model_is_known_by_its_content(bundle: Path) -> None:
    (bundle / MODEL).rename(bundle / "mine.tflite")
    entry = json.loads(run(bundle, "--json", "-m", "mine.tflite").stdout)["models"][0]
    assert (entry["file"], entry["variant"], entry["check"]["verdict"]) == ("mine.tflite", "int8", "PASS")
    assert "notes" not in entry


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("variants"),
        lambda facts: facts.pop("input"),
        lambda facts: facts["input"].pop("std"),
        lambda facts: facts.pop("tolerance"),
        lambda facts: facts.pop("labels"),
        lambda facts: facts.update(task="detection"),
        lambda facts: facts["variants"]["int8"].pop("golden"),
        lambda facts: facts["variants"].clear(),  # nothing to check is not a pass
        lambda facts: facts.update(format=2),
        lambda facts: facts.update(variants=[]),
    ],
)
def test_incomplete_model_json(bundle: Path, change: Any) -> None:
    facts = json.loads((bundle / "model.json").read_text())
    change(facts)
    (bundle / "model.json").write_text(json.dumps(facts))
    assert "model.json is damaged" in refused(bundle)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", None])
def test_damaged_model_json(bundle: Path, content: bytes | None) -> None:
    if content is None:
        (bundle / "model.json").unlink()
        assert "there is no model.json in " in refused(bundle)
    else:
        (bundle / "model.json").write_bytes(content)
        assert "model.json is damaged" in refused(bundle)


def test_model_json_of_another_model(bundle: Path) -> None:
    facts = json.loads((bundle / "model.json").read_text())
    facts["input"]["name"] = "picture"
    (bundle / "model.json").write_text(json.dumps(facts))
    assert "the model has no tensor 'picture' (it has 'image')" in refused(bundle)


@pytest.mark.parametrize("file", ["golden_int8.npz", "samples.npz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "flipped", "keys", "shape", "none"])
def test_damaged_arrays(bundle: Path, file: str, damage: str) -> None:
    path = bundle / file
    with np.load(path) as found:
        arrays = dict(found)
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage in {"empty", "truncated", "flipped"}:
        path.write_bytes({"empty": b"", "truncated": data[:-100], "flipped": _flip(data, 200)}[damage])
    elif damage == "keys":
        np.savez(path, other=np.zeros(3))
    elif damage == "shape":
        np.savez(path, **{key: array[..., :-1] if array.ndim > 1 else array for key, array in arrays.items()})
    else:
        np.savez(path, **{key: array[:0] for key, array in arrays.items()})
    assert file in refused(bundle, "-m", MODEL, "--samples", "--check")


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def test_golden_tensors_of_another_model(bundle: Path, built_once: Checkout) -> None:
    """The same shapes: the verdict says it. Another type: they cannot even be compared."""
    shutil.copy(built_once.root / "artifacts/demo_bilinear/golden_float32.npz", bundle)
    done = run(bundle)
    assert done.returncode == 4, done.stderr
    assert "golden    MISMATCH: 10 inputs" in done.stdout
    assert "-> this runtime's values differ from those of the reference kernels" in done.stdout
    assert "golden    PASS" in done.stdout  # the other variant is still looked at
    check = json.loads(run(bundle, "--json", "-m", "demo_nearest_float32.tflite").stdout)["models"][0]["check"]
    conforms(check, {**CHECK, "remedy": str})
    shutil.copy(bundle / "golden_int8.npz", bundle / "golden_float32.npz")
    assert "golden_float32.npz belongs to another model" in refused(bundle)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.png", None, "there is no file none.png"),
        ("golden", "folder", "there is no image in the folder golden"),
        ("text.png", b"no picture", "text.png cannot be read: not an image"),
        ("empty.png", b"", "empty.png cannot be read: not an image"),
        ("half.png", "half", "half.png cannot be read: "),
        ("half.npy", b"\x93NUMPY", "half.npy cannot be read: "),
    ],
)
def test_wrong_input(bundle: Path, name: str, content: bytes | str | None, said: str) -> None:
    if content == "half":
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (99, 99), np.uint8)).save(bundle / name)
        content = (bundle / name).read_bytes()[:5000]
    if content == "folder":
        (bundle / name).mkdir()
    if isinstance(content, bytes):
        (bundle / name).write_bytes(content)
    assert said in refused(bundle, "-m", MODEL, "-i", name)


@pytest.mark.parametrize("content", [b"one\ntwo\n", b"\xff\xfe\n" * 10, None])
def test_wrong_labels(bundle: Path, content: bytes | None) -> None:
    (bundle / "labels.txt").unlink()
    if content is not None:
        (bundle / "labels.txt").write_bytes(content)
    said = refused(bundle, "-m", MODEL, "-i", "example_input.png")
    assert "labels.txt" in said
    assert ("has 2 labels, the model 10 outputs" in said) is (content == b"one\ntwo\n")


def test_scaled_floats_are_refused(bundle: Path) -> None:
    np.save(bundle / "scaled.npy", np.full((28, 28, 1), 0.5, np.float32))
    assert "values up to 1" in refused(bundle, "-m", MODEL, "-i", "scaled.npy")
