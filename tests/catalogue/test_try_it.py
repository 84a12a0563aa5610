"""What of a bundle the browser gets, without a browser: the files run here, and give what the bundle's own do."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import handmade
from tests.support.checkouts import ROOT
from utils import example, tflite
from utils.catalogue import try_it
from utils.errors import DataError

PAGE = ROOT / "docs/reference/try.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small classifier of pictures as float32 and int8."""
    bundle = handmade.make_bundle(tmp_path_factory.mktemp("made") / "bundle")
    (bundle / "inputs").mkdir()
    shutil.copy(bundle / "image.png", bundle / "inputs/example_input.png")
    (bundle / "inputs/notes.txt").write_text("no picture")
    return bundle


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def change(bundle: Path, **facts: Any) -> Path:
    """Change model.json; a value None removes its key."""
    found = json.loads((bundle / "model.json").read_text()) | facts
    (bundle / "model.json").write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
    return bundle


def opened(trial: try_it.Trial, path: str, folder: Path) -> example.Model:
    file = folder / Path(path).name  # each its own: the interpreter reads it while it runs
    file.write_bytes(trial.files[path])
    return example.Model(str(file), example.load_runtime(), 1, reference=True)


def test_the_files_give_what_the_bundle_s_own_give(made: Path, tmp_path: Path) -> None:
    trial = try_it.make("hand", made)
    assert trial.entry
    assert not trial.why
    by_name = {entry["variant"]: entry for entry in trial.entry["variants"]}
    assert list(by_name) == ["float32", "int8"]
    assert [entry["ends"] for entry in by_name.values()] == ["as built", "put back"]
    assert trial.files[by_name["float32"]["file"]] == (made / "hand_float32.tflite").read_bytes()
    for variant, entry in by_name.items():
        data = trial.files[entry["file"]]
        assert (entry["size"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        ours, theirs = opened(trial, entry["file"], tmp_path), example.Model(
            str(made / f"hand_{variant}.tflite"), example.load_runtime(), 1, reference=True
        )  # fmt: skip
        assert np.dtype(ours.input["dtype"]) == np.float32
        for seed in range(5):
            values = np.random.default_rng(seed).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
            np.testing.assert_array_equal(ours.run(values), theirs.dequantise(theirs.run(theirs.quantise(values))))


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_golden_tensors_are_raw_arrays_of_the_bundle_s(made: Path, variant: str, tmp_path: Path) -> None:
    """As the browser reads them: scaled inputs, answers in the file's own numbers."""
    trial = try_it.make("hand", made)
    assert trial.entry
    (entry,) = (found for found in trial.entry["variants"] if found["variant"] == variant)
    golden, kept = entry["golden"], np.load(made / f"golden_{variant}.npz")
    inputs = np.frombuffer(trial.files[golden["inputs"]], np.dtype(golden["dtype"]).newbyteorder("<"))
    outputs = np.frombuffer(trial.files[golden["outputs"]], np.dtype(golden["output_dtype"]).newbyteorder("<"))
    np.testing.assert_array_equal(inputs, kept["input"].ravel())
    np.testing.assert_array_equal(outputs, kept["output"].ravel())
    assert (golden["count"], golden["unit"]) == (6, {"float32": "absolute", "int8": "steps"}[variant])
    assert golden["tolerance"] == {"float32": 0.001, "int8": 4.0}[variant]
    real = (inputs.astype(np.float32) - np.float32(golden["input_zero_point"])) * np.float32(golden["input_scale"])
    model = opened(trial, entry["file"], tmp_path)
    for given, wanted in zip(real.reshape(6, 1, 8, 8, 3), outputs.reshape(6, 5), strict=True):
        answer = model.run(given).ravel() / golden["output_scale"] + golden["output_zero_point"]
        np.testing.assert_allclose(answer, wanted, atol=1e-4)


def test_every_path_is_in_the_model_s_folder_and_every_file_is_named(made: Path) -> None:
    trial = try_it.make("hand", made)
    text = json.dumps(trial.entry)
    assert len(trial.files) == 2 * 3 + 2
    for path in trial.files:
        assert path.startswith("models/hand/try/")
        assert f'"{path}"' in text
    assert trial.entry
    assert trial.entry["examples"] == ["models/hand/try/example_0.png"]
    assert trial.files[trial.entry["labels"]] == (made / "labels.txt").read_bytes()


def test_made_twice_it_is_the_same(made: Path) -> None:
    assert try_it.make("hand", made) == try_it.make("hand", made)


def test_the_page_of_the_reference_names_every_key(made: Path) -> None:
    trial, text = try_it.make("hand", made), PAGE.read_text()
    assert trial.entry
    variant = trial.entry["variants"][0]
    for key in (*trial.entry, *variant, *variant["golden"]):
        assert f"`{key}`" in text, key


@pytest.mark.parametrize(("task", "said"), [("audio", "for audio"), ("detection", "for detection")])
def test_other_tasks_are_not_for_the_page(bundle: Path, task: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example.TASKS[task], "check", classmethod(lambda *_: None))
    trial = try_it.make("hand", change(bundle, task=task))
    assert trial.entry is None
    assert said in trial.why
    assert not trial.files


def test_what_is_too_large_for_a_page_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (bundle / "hand_float32.tflite").stat().st_size
    assert size > (bundle / "hand_int8.tflite").stat().st_size
    monkeypatch.setattr(try_it, "BROWSER_BYTES", size - 1)
    trial = try_it.make("hand", bundle)
    assert trial.entry
    assert [entry["variant"] for entry in trial.entry["variants"]] == ["int8"]
    assert trial.entry["left_out"] == [
        {"variant": "float32", "why": f"has {size:,} bytes, and a page loads at most {size - 1:,}"}
    ]
    monkeypatch.setattr(try_it, "BROWSER_BYTES", 100)
    trial = try_it.make("hand", bundle)
    assert trial.entry is None
    assert "float32: has" in trial.why
    assert "int8: has" in trial.why


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.json", b"{"),
        ("model.json", b"[]"),
        ("hand_float32.tflite", b"no model"),
        ("hand_int8.tflite", b""),
        ("golden_int8.npz", b"PK\3\4"),
        ("model.json", None),
        ("labels.txt", None),
        ("hand_int8.tflite", None),
    ],
)
def test_a_damaged_bundle_is_an_error_for_people(bundle: Path, name: str, content: bytes | None) -> None:
    (bundle / name).unlink()
    if content is not None:
        (bundle / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        try_it.make("hand", bundle)
    assert "\n  -> " in str(caught.value)


@pytest.mark.parametrize(
    "facts",
    [
        {"output": {"name": "other", "shape": [1, 5]}},
        {"input": {"name": "image", "shape": [1, 8, 8, 3]}},
        {"input": {"name": "image", "shape": [8]}},
        {"labels": "../labels.txt"},
        {"variants": {"float32": {"file": "../../secret", "golden": "golden_float32.npz"}}},
        {"tolerance": {}},
    ],
)
def test_hostile_facts_are_an_error_for_people(bundle: Path, facts: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        try_it.make("hand", change(bundle, **facts))


def test_golden_tensors_of_another_type_are_damage(bundle: Path) -> None:
    shutil.copy(bundle / "golden_float32.npz", bundle / "golden_int8.npz")
    with pytest.raises(DataError, match="golden tensors hold float32"):
        try_it.make("hand", bundle)


def trial_of(name: str, kind: str = "draw", size: int = 28) -> try_it.Trial:
    return try_it.Trial({"kind": kind, "name": name, "input": {"shape": [1, size, size, 1]}, "beside": []})


def test_the_models_of_a_pair_are_beside_each_other() -> None:
    names = ("demo_bilinear", "demo_nearest", "mnist_nearest", "alone", "demo_large", "demo_photo")
    trials = {name: trial_of(name) for name in names}
    trials["demo_large"], trials["demo_photo"] = trial_of("demo_large", size=32), trial_of("demo_photo", "picture")
    trials["demo_none"] = try_it.Trial(why="audio")
    try_it.beside(trials)
    found = {name: [other["name"] for other in trial.entry["beside"]] for name, trial in trials.items() if trial.entry}
    assert found == {
        "demo_bilinear": ["demo_nearest"], "demo_nearest": ["demo_bilinear"], "mnist_nearest": [], "alone": [],
        "demo_large": [], "demo_photo": [],
    }  # fmt: skip
    assert all("beside" not in other for trial in trials.values() if trial.entry for other in trial.entry["beside"])


def test_feature_maps_are_what_upsampling_makes(built_once: Any, tmp_path: Path) -> None:
    """The small demo, in both variants: the maps' names are the outputs', their values the interpreter's."""
    home = built_once.root / "artifacts/demo_nearest"
    trial = try_it.make("demo_nearest", home)
    assert trial.entry
    assert trial.entry["kind"] == "draw"
    for entry in trial.entry["variants"]:
        outputs = entry["maps"]["outputs"]
        assert [output["operator"] for output in outputs] == ["RESIZE_NEAREST_NEIGHBOR"] * 3
        graph = tflite.parse(trial.files[entry["maps"]["file"]], "maps")
        assert {output["name"] for output in outputs} < set(graph.signature)
        for output in outputs:
            tensor = graph.tensor(output["name"])
            assert (tensor.dtype, list(tensor.shape[1:])) == ("FLOAT32", output["shape"])
        model = opened(trial, entry["maps"]["file"], tmp_path)
        plain = opened(trial, entry["file"], tmp_path)
        values = np.random.default_rng(1).uniform(0, 1, (1, 28, 28, 1)).astype(np.float32)
        np.testing.assert_array_equal(model.run(values), plain.run(values))
