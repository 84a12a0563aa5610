"""artifacts.lock and verify: what has to be the same, and how a difference reads."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.support.checkouts import Checkout, read_until
from tests.support.releases import commit, flip
from utils.release import lock, parts


def locked(checkout: Checkout) -> dict:
    return json.loads((checkout.root / "artifacts.lock").read_text())


def test_the_lock_says_what_every_artifact_is(ready_once: Checkout) -> None:
    found = locked(ready_once)
    assert sorted(found["models"]) == ["demo_bilinear", "demo_nearest"]
    hashes = ready_once.hashes()
    for name, model in found["models"].items():
        assert model["image"] == os.environ.get("NXP_MODEL_ZOO_BASE")  # none in a venv
        assert {"tensorflow", "numpy"} <= model["tools"].keys()
        evaluation = json.loads((ready_once.root / f"artifacts/{name}/manifest.json").read_text())["evaluation"]
        for variant in ("float32", "int8"):
            entry = model["artifacts"][f"{name}_{variant}.tflite"]
            assert entry["sha256"] == hashes[f"artifacts/{name}/{name}_{variant}.tflite"]
            assert entry["accuracy"] == evaluation["variants"][variant]["accuracy"]


def test_lock_twice_changes_nothing(ready: Checkout) -> None:
    before = (ready.root / "artifacts.lock").read_bytes()
    done = ready.doit("lock")
    assert "demo_nearest_int8.tflite: unchanged" in done.stdout
    assert "mnist_nearest: not built here, unchanged" in done.stdout
    assert (ready.root / "artifacts.lock").read_bytes() == before


def test_lock_records_what_an_unpinned_source_was(ready: Checkout, tmp_path: Path) -> None:
    """The same command: both are hashes that this project saw, and nobody else vouches for."""
    digest = "ab" * 32
    ready.change("recipes/mnist/recipe.toml", 'sha256 = "3552534a', '# "3552534a')
    address = "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz"
    key = hashlib.sha256(address.encode()).hexdigest()[:32]
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / digest).write_bytes(bytes(28881))
    record = {f"url-{key}": {"name": "train-labels-idx1-ubyte.gz", "sha256": digest, "size": 28881}}
    (cache / "unpinned.json").write_text(json.dumps(record))
    done = ready.doit("lock", env={"ZOO_CACHE": str(cache)})
    assert done.returncode == 0, done.stderr
    assert list(locked(ready)["sources"]) == [address]
    assert locked(ready)["sources"][address]["name"] == "train-labels-idx1-ubyte.gz"
    assert locked(ready)["sources"][address]["size"] == 28881


def test_lock_records_two_unpinned_sources_of_one_name(ready: Checkout, tmp_path: Path) -> None:
    """Another recipe, another address, the same file name: neither takes the other's place."""
    recipe = "recipes/mnist/recipe.toml"
    ready.change(recipe, 'sha256 = "3552534a', '# "3552534a')
    address = "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz"
    other = "https://example.org/other/train-labels-idx1-ubyte.gz"
    text = (ready.root / recipe).read_text().replace(address, other)
    (ready.root / "recipes/other").mkdir()
    shutil.copy(ready.root / "recipes/mnist/model.py", ready.root / "recipes/other")
    (ready.root / "recipes/other/recipe.toml").write_text(text.replace("mnist_", "other_"))
    cache = tmp_path / "cache"
    cache.mkdir()
    records = {}
    for url, letter in ((address, "a"), (other, "b")):
        (cache / (letter * 64)).write_bytes(bytes(28881))
        key = f"url-{hashlib.sha256(url.encode()).hexdigest()[:32]}"
        records[key] = {"name": url.rpartition("/")[2], "sha256": letter * 64, "size": 28881}
    (cache / "unpinned.json").write_text(json.dumps(records))
    done = ready.doit("lock", env={"ZOO_CACHE": str(cache)})
    assert done.returncode == 0, done.stderr
    assert sorted(locked(ready)["sources"]) == [other, address]
    # a lock of before, whose keys were file names, is read as well
    found = locked(ready)
    found["sources"] = {"train-labels-idx1-ubyte.gz": {**found["sources"][other], "sha256": "c" * 64}}
    (ready.root / "artifacts.lock").write_text(json.dumps(found))
    done = ready.doit("lock")
    assert done.returncode == 0, done.stderr
    assert {key: fact["sha256"] for key, fact in locked(ready)["sources"].items()} == {other: "c" * 64}


def test_another_image_around_the_same_bytes_changes_nothing(ready: Checkout) -> None:
    before = (ready.root / "artifacts.lock").read_bytes()
    env = {"NXP_MODEL_ZOO_IMAGE": "1", "NXP_MODEL_ZOO_BASE": "local-base:1"}
    assert ready.doit("lock", env=env).returncode == 0
    assert (ready.root / "artifacts.lock").read_bytes() == before
    (ready.root / "artifacts.lock").unlink()
    assert ready.doit("lock", env=env).returncode == 0
    assert {model["image"] for model in locked(ready)["models"].values()} == {"local-base:1"}


def test_locking_what_is_not_built_is_refused(ready: Checkout) -> None:
    done = ready.doit("lock", "models=mnist_nearest")
    assert done.returncode != 0
    assert "mnist_nearest: is not built, or not from this checkout" in done.stderr
    assert "-> doit mnist_nearest" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 9}'])
def test_a_damaged_lock_is_no_lock(ready: Checkout, text: str) -> None:
    (ready.root / "artifacts.lock").write_text(text)
    for command in (["verify"], ["lock"], ["release", "version=1.0.0"]):
        done = ready.doit(*command)
        assert "error: " in done.stderr
        assert "artifacts.lock: " in done.stderr
        assert "Traceback" not in done.stderr


def model_of(file: Path):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file.read_bytes(), 0))


def save(model, file: Path) -> None:
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    file.write_bytes(bytes(builder.Output()))


def change_weights(model) -> None:
    buffer = max((b for b in model.buffers if b.data is not None), key=lambda b: len(b.data))
    data = bytearray(bytes(buffer.data))
    data[0] ^= 1
    buffer.data = bytes(data)


def change_graph(model) -> None:
    model.subgraphs[0].tensors[0].name = b"another"


def change_metadata(model) -> None:
    model.description = b"another"


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (None, []),
        (change_weights, ["weights"]),
        (change_graph, ["graph"]),
        (change_metadata, ["metadata"]),
    ],
)
def test_the_parts_of_a_file_are_told_apart(ready_once: Checkout, tmp_path: Path, change, changed: list[str]) -> None:
    file = ready_once.root / "artifacts/demo_nearest/demo_nearest_float32.tflite"
    model = model_of(file)
    if change:
        change(model)
    save(model, tmp_path / "new.tflite")
    assert (tmp_path / "new.tflite").read_bytes() != file.read_bytes()  # another writer lays files out otherwise
    old, new = parts.parts(file), parts.parts(tmp_path / "new.tflite")
    assert [part for part in old if old[part] != new[part]] == changed
    facts = {"size": 10, "metric": "top1", "accuracy": 98.5}
    lines = lock.differences(
        {**facts, "sha256": "a" * 64, "parts": old}, {**facts, "sha256": "b" * 64, "accuracy": 98.25, "parts": new}
    )
    assert lines[0] == f"{changed[0] if changed else 'only the layout of the file'} differs"
    assert lines[2] == "top1 98.50 % -> 98.25 % (-0.25 points)"


def test_verify_needs_a_lock(ready: Checkout) -> None:
    done = ready.doit("verify", "models=mnist_nearest")
    assert "artifacts.lock: not locked: mnist_nearest" in done.stderr
    (ready.root / "artifacts.lock").unlink()
    assert "artifacts.lock: not locked: no model" in ready.doit("verify").stderr


@pytest.mark.slow
def test_verify_builds_from_what_git_keeps_and_nothing_else(ready: Checkout) -> None:
    """Files that git does not track cannot help; the checkout's own bundles are left alone."""
    (ready.root / "recipes/demo/more.py").write_text("import nothing_that_is_there\n")
    shutil.rmtree(ready.root / "build/demo_nearest")
    before = ready.hashes("artifacts/*/*")
    done = ready.doit("verify", "models=demo_nearest", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo_nearest_int8.tflite: identical, " in done.stdout
    assert ready.hashes("artifacts/*/*") == before
    assert not list((ready.root / "build").glob("verify.*"))


@pytest.mark.slow
def test_verify_says_what_differs(ready: Checkout) -> None:
    """Another seed: other weights in the same graph."""
    ready.change("recipes/demo/recipe.toml", "label_smoothing = 0.05\nseed = 1", "label_smoothing = 0.05\nseed = 7")
    commit(ready)
    done = ready.doit("verify", "models=demo_nearest", timeout=600)
    assert done.returncode != 0
    assert "the artifacts differ from the lock" in done.stderr
    assert "demo_nearest_float32.tflite: weights differs" in done.stderr
    assert "points)" in done.stderr
    assert " bytes\n" in done.stderr  # which tensors, for artifacts/ still has the old file
    kept = [folder for folder in (ready.root / "build").glob("verify.*") if folder.is_dir()]
    assert len(kept) == 1
    assert kept[0].name in done.stderr
    before = (ready.root / "artifacts.lock").read_bytes()
    flip(ready.root / "artifacts/demo_nearest/demo_nearest_int8.tflite", -1)
    assert "is not built, or not from this checkout" in ready.doit("lock", "models=demo_nearest").stderr
    assert (ready.root / "artifacts.lock").read_bytes() == before


@pytest.mark.slow
def test_two_that_verify_at_once_leave_each_other_alone(ready: Checkout) -> None:
    with ready.start("verify", "models=demo_nearest") as first:
        read_until(first, "building demo_nearest in")
        second = ready.doit("verify", "models=demo_nearest", timeout=600)
        said = first.communicate(timeout=600)[0]
    assert second.returncode == 0, second.stdout + second.stderr
    assert first.returncode == 0, said
    assert not list((ready.root / "build").glob("verify.*"))


def test_verify_restored_needs_a_cache(ready: Checkout) -> None:
    done = ready.doit("verify", "restored=1")
    assert done.returncode != 0
    assert "restored=1: no step cache is named" in done.stderr
