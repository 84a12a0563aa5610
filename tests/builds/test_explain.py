"""doit explain: the layers that lose in int8, of the demo and of a user's own weights, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest
from PIL import Image

from tests.support.checkouts import FAILED, Checkout
from tests.support.pretrained import ENV, Loaded


def read(checkout: Checkout, model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((checkout.root / f"build/{model}/explain/explain.json").read_text())
    return found


def run(checkout: Checkout, model: str) -> subprocess.CompletedProcess[str]:
    """The program alone: it builds nothing before it."""
    return checkout.run(sys.executable, "-m", "utils.steps.explain", model, env=ENV)


def refused(done: subprocess.CompletedProcess[str], what: str) -> None:
    assert what in done.stderr
    assert "\n  -> " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode not in (0, 1)


def test_the_demo(built: Checkout) -> None:
    bundle = built.root / "artifacts/demo_bilinear"
    before = {file: file.read_bytes() for file in bundle.rglob("*") if file.is_file()}
    done = built.doit("explain:demo_bilinear")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo_bilinear: how far int8 is from float32 on 32 calibration inputs, layer by layer" in done.stdout
    assert "build/demo_bilinear/explain/: explain.json, layers.png" in done.stdout
    report = read(built, "demo_bilinear")
    assert (report["format"], report["model"], report["own_weights"]) == (1, "demo_bilinear", None)
    assert report["inputs"] == {"calibration": 32, "new": 32}
    kinds = [entry["operator"] for entry in sorted(report["layers"], key=lambda entry: entry["number"])]
    assert kinds[0] == "INPUT"
    assert (kinds.count("CONV_2D"), kinds.count("RESIZE_BILINEAR"), kinds[-1]) == (7, 3, "SOFTMAX")
    assert report["only_int8"] == report["only_float32"] == []
    added = [entry["added"] for entry in report["layers"]]
    assert added == sorted(added, reverse=True)
    for entry in report["layers"]:
        assert entry["added"] == pytest.approx(entry["error"] - entry["inherited"], abs=1e-4)
        if entry["operator"] in ("INPUT", "CONV_2D"):  # LOGISTIC has a fixed scale, which ends below 1
            assert entry["clipped"] < 0.01, "it was calibrated on these, and fitted to them"
        assert {cost["accelerator"] for cost in entry["in_float"]} == ({"vx", "ethos_u"} if entry["number"] else set())
    for variant in ("float32", "int8"):
        manifest = json.loads((bundle / "model.json").read_text())["variants"][variant]
        assert report[variant]["sha256"] == manifest["sha256"]
    with Image.open(built.root / "build/demo_bilinear/explain/layers.png") as picture:
        assert picture.width > 600
    assert {file: file.read_bytes() for file in bundle.rglob("*") if file.is_file()} == before
    assert "nothing to do" in built.doit("demo").stdout
    done = built.doit("clean", "explain:demo_bilinear")
    assert done.returncode == 0, done.stderr
    assert not (built.root / "build/demo_bilinear/explain").exists()
    assert "nothing to do" in built.doit("demo").stdout


def with_outlier(weights: bytes, file: Path) -> Path:
    """One channel of the convolution is far larger; the dense layer scales it back."""
    file.write_bytes(weights)
    with h5py.File(file, "r+") as h5:
        for layer in ("conv", "dense"):
            for name in h5[layer].attrs["weight_names"]:
                values = h5[layer][name][...]
                if layer == "conv":
                    values[..., 6] *= 2000
                elif values.ndim == 2:
                    values[6] /= 2000
                h5[layer][name][...] = values
    return file


def test_an_outlier_channel_in_own_weights_fails_the_gate_and_is_found(
    loaded: Checkout, loaded_once: Loaded, tmp_path: Path
) -> None:
    loaded.change("recipes/colours/recipe.toml", "loss = 100.0", "loss = 1.0")
    given = f"weights={with_outlier(loaded_once.files['/colours.h5'], tmp_path / 'mine.h5')}"
    done = loaded.doit("colours", given, env=ENV)
    assert done.returncode in FAILED
    assert "int8 loses" in done.stderr
    assert "doit explain:colours says in which layers int8 loses" in done.stderr
    done = loaded.doit("explain:colours", given, env=ENV)
    assert done.returncode == 0, done.stdout + done.stderr
    report = read(loaded, "colours")
    assert report["own_weights"]["name"] == "mine.h5"
    first, second = report["layers"][:2]
    assert (first["operator"], first["channel"]) == ("CONV_2D", 6)
    assert first["added"] > 2 * second["added"]
    assert first["outlier"] > 100
    assert {"outlier", "float"} <= {tried["kind"] for tried in first["try"]}
    said = " ".join(done.stdout.split())
    assert f"1. CONV_2D {first['name']} adds" in said
    assert "channel 6 reaches" in said
    assert "it runs on the CPU" in said


# Bad input


@pytest.mark.parametrize(("model", "has"), [("deeplabv3", "int8_float_io, int8"), ("ssd_mobilenet_v1", "uint8")])
def test_a_model_without_a_float32_file_is_refused_and_nothing_is_built(
    project: Checkout, model: str, has: str
) -> None:
    done = project.doit(f"explain:{model}")
    assert f"{model} has no float32 file to hold int8 against: it has {has}" in done.stderr
    assert "-> explain one of demo_bilinear" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode in FAILED
    assert not (project.root / "build" / model).exists()


def test_a_model_that_is_not_built_is_refused_by_the_program(project: Checkout) -> None:
    refused(run(project, "demo_nearest"), "there is no build/demo_nearest/demo_nearest_float32.tflite")
    refused(run(project, "demo_neerest"), "did you mean 'demo_nearest'?")


def test_files_of_two_models_are_refused(built: Checkout) -> None:
    build = built.root / "build"
    shutil.copy(build / "demo_bilinear/demo_bilinear_int8.tflite", build / "demo_nearest/demo_nearest_int8.tflite")
    refused(run(built, "demo_nearest"), "the files are of two different models")
    (build / "demo_nearest/demo_nearest_int8.tflite").write_bytes(b"TFL3" * 4)
    refused(run(built, "demo_nearest"), "TFLite file")
    assert not (build / "demo_nearest/explain").exists()


def test_a_missing_list_is_named(loaded: Checkout) -> None:
    (loaded.root / "recipes/lists/colours_calibration.csv").unlink()
    done = loaded.doit("explain:colours", env=ENV)
    assert "colours_calibration.csv" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode


def test_a_missing_source_is_named(loaded: Checkout) -> None:
    shutil.rmtree(loaded.root / "build/cache")
    done = run(Checkout(loaded.root), "colours")
    assert done.returncode == 0, "it is fetched again"
    shutil.rmtree(loaded.root / "build/cache")
    done = loaded.run(
        sys.executable, "-m", "utils.steps.explain", "colours", env={**ENV, "ZOO_OFFLINE": "1"}
    )  # fmt: skip
    refused(done, "photo_")
