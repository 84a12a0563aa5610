"""example.py on a model file without model.json: what it assumes, and what the file itself says."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.examples import (
    MODEL,
    add_metadata,
    bare,
    change,
    compile_last,
    run,
)
from utils import example


@pytest.mark.parametrize(
    ("variant", "why"), [("int8", "(pixel - 0) / 255 (by its quantisation)"), ("float32", "(pixel - 0) / 255 (as is")]
)
def test_bare_model(whole: Path, tmp_path: Path, variant: str, why: str) -> None:
    shutil.copy(whole / f"demo_nearest_{variant}.tflite", tmp_path / "lone.tflite")
    said = bare("-m", "lone.tflite", "-i", str(whole / "inputs/example_3.png"), cwd=tmp_path)
    assert "note      model.json does not name this file: its tensors and metadata tell" in said
    assert f"note      input: gray, stretched to 28 x 28, {why}" in said
    assert "note      output: classification, 10 classes, without labels: give --labels" in said
    assert "\n    class " in said
    labels = str(whole / "labels.txt")
    report = json.loads(
        bare("-m", "lone.tflite", "-i", str(whole / "inputs/example_3.png"), "--labels", labels, "--json", cwd=tmp_path)
    )
    (entry,) = report["models"]
    assert entry["variant"] is None
    assert "check" not in entry
    assert len(entry["notes"]) == 3
    known = ("-m", f"demo_nearest_{variant}.tflite", "-i", "example_3.png", "--json")
    assert entry["predictions"][0]["top"] == json.loads(run(whole, *known).stdout)["models"][0]["predictions"][0]["top"]
    assert "only a bundle has samples" in bare("-m", "lone.tflite", "--samples", cwd=tmp_path, code=2)
    (tmp_path / "two.txt").write_text("a\nb\n")
    assert "two.txt has 2 labels, the model 10 outputs" in bare(
        "-m", "lone.tflite", "-i", str(whole / "inputs/example_3.png"), "--labels", "two.txt", cwd=tmp_path, code=2
    )


def test_bare_segmentation(segmentation: Path, tmp_path: Path) -> None:
    shutil.copy(segmentation / "seg_float32.tflite", tmp_path)
    picture = ("-m", "seg_float32.tflite", "-i", str(segmentation / "wide.png"))
    arguments = (*picture, "-o", "out", "--json", "--task", "segmentation")
    (entry,) = json.loads(bare(*arguments, cwd=tmp_path))["models"]
    (prediction,) = entry["predictions"]
    assert "(pixel - 127.5) / 127.5 (as is usual)" in entry["notes"][1]
    assert prediction["classes"][0]["label"] == "class 0"
    assert (tmp_path / "out/wide_overlay.png").is_file()


def test_the_published_deeplab(mirror: Path, tmp_path: Path) -> None:
    """A file of others, with what they packed into it, and nothing of ours beside it."""
    model = "e993b00474b75da6b424da30bc1e548305b397ea43a8facf20365c06165123ab"
    photo = "54463d727b55a0827e953dcb19045355daf58b4621ce1610cd6377baf217b894"
    for name, file in ((model, "deeplab.tflite"), (photo, "cat.jpg")):
        if not (mirror / name).is_file():
            pytest.skip(f"{name} is not in the mirror")
        shutil.copy(mirror / name, tmp_path / file)
    (entry,) = json.loads(bare("-m", "deeplab.tflite", "-i", "cat.jpg", "-o", ".", "--json", cwd=tmp_path))["models"]
    found = {line["label"]: line["share"] for line in entry["predictions"][0]["classes"]}
    assert list(found) == ["background", "cat"]
    assert 19 <= found["cat"] <= 21
    with Image.open(tmp_path / "cat_overlay.png") as drawn, Image.open(tmp_path / "cat.jpg") as given:
        assert drawn.height == given.height


def _normalisation(mean: list[float], std: list[float]) -> bytes:
    """TFLite's own metadata, as its writer lays it out: how the first input is normalised."""
    import flatbuffers

    builder = flatbuffers.Builder()

    def numbers(values: list[float]) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return int(builder.EndVector())

    def table(slots: dict[int, int], kind: int = 0) -> int:
        builder.StartObject(8)
        for slot, offset in slots.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        if kind:
            builder.PrependUint8Slot(0, kind, 0)
        return int(builder.EndObject())

    def one(offset: int) -> int:
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    unit = table({1: table({0: numbers(mean), 1: numbers(std)})}, kind=1)
    graph = table({2: one(table({4: one(unit)}))})
    builder.Finish(table({3: one(graph)}), file_identifier=b"M001")
    return bytes(builder.Output())


def test_metadata_and_packed_labels(segmentation: Path, tmp_path: Path) -> None:
    """As the published models of others carry them."""
    facts = _normalisation([0.0], [255.0])
    file = change(
        segmentation / "seg_float32.tflite", tmp_path / "packed.tflite",
        lambda model, schema: add_metadata(model, schema, "TFLITE_METADATA", facts),
    )  # fmt: skip
    with zipfile.ZipFile(file, "a") as packed:
        packed.writestr("notes.txt", "two\nlines\n")
        packed.writestr("labelmap.txt", "none\nred\ngreen\nblue\n")
    np.save(tmp_path / "green.npy", np.tile(np.uint8([0, 255, 0]), (20, 20, 1)))
    arguments = ("-m", "packed.tflite", "-i", "green.npy", "--json", "--task", "segmentation")
    (entry,) = json.loads(bare(*arguments, cwd=tmp_path))["models"]
    assert entry["predictions"][0]["classes"] == [{"label": "green", "share": 100.0}]
    assert "(pixel - 0) / 255 (by its metadata)" in entry["notes"][1]
    assert entry["notes"][2].endswith("labels packed into the file (as --task says)")


@pytest.mark.parametrize("facts", [b"", b"\0", b"\xff" * 40, _normalisation([], [1.0]), _normalisation([0.0], [0.0])])
def test_invalid_metadata_is_ignored(segmentation: Path, tmp_path: Path, facts: bytes) -> None:
    file = change(
        segmentation / "seg_float32.tflite", tmp_path / "odd.tflite",
        lambda model, schema: add_metadata(model, schema, "TFLITE_METADATA", facts),
    )  # fmt: skip
    with file.open("ab") as stream:
        stream.write(b"PK\5\6 no archive")
    content = example.read_content(str(file))
    assert content.wrong == ""
    assert content.labels == []
    assert "(as is usual)" in bare("-m", "odd.tflite", "--task", "segmentation", cwd=tmp_path)


@pytest.mark.parametrize("cut", [100, 5000, 20000, 29000])
def test_truncated_bare_model(whole: Path, tmp_path: Path, cut: int) -> None:
    (tmp_path / "half.tflite").write_bytes((whole / MODEL).read_bytes()[:cut])
    assert "half.tflite is damaged or truncated" in bare("-m", "half.tflite", cwd=tmp_path, code=2)


def test_vela_file_on_the_cpu(whole: Path, tmp_path: Path) -> None:
    change(whole / MODEL, tmp_path / "m_vela.tflite", compile_last)
    for choice in ("cpu", "auto"):
        said = bare("-m", "m_vela.tflite", "-d", choice, cwd=tmp_path, code=3)
        assert "m_vela.tflite is compiled for Ethos-U (by Vela): no CPU can run it\n  -> run it on an i.MX 93" in said


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (b"2.15.0", "it needs TFLite 2.15.0: BSP LF6.6.23_2.0.0 and later have it"),
        (b"2.12.0", "it needs TFLite 2.12.0: BSP LF6.1.55_2.2.0 and later have it"),
        (b"2.99.0", "it needs TFLite 2.99.0: no BSP known here has it"),
        (b"", "it needs a newer TFLite"),
    ],
)
def test_model_newer_than_the_runtime(whole: Path, tmp_path: Path, needs: bytes, said: str) -> None:
    def age(model: Any, schema: Any) -> None:
        model.operatorCodes[0].version = 99
        add_metadata(model, schema, "min_runtime_version", needs.ljust(16, b"\0"))

    change(whole / MODEL, tmp_path / "new.tflite", age)
    assert said in bare("-m", "new.tflite", cwd=tmp_path, code=3)
