"""Bundles that example.py runs in: the small demo's, and one of a segmentation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.checkouts import Checkout, clean_env
from utils import example, paths


@pytest.fixture(scope="module")
def whole(built_once: Checkout) -> Path:
    """A finished bundle: look, do not touch."""
    return built_once.root / "artifacts/demo_nearest"


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    shutil.copytree(whole, tmp_path / "bundle")
    return tmp_path / "bundle"


#: A segmentation model of one convolution: the class is the strongest colour. Float and with int8 inside.
SEGMENT = """
import sys, numpy as np, tensorflow as tf
kernel = np.zeros((1, 1, 3, 4), np.float32)
kernel[0, 0] = [[0, 9, -3, -3], [0, -3, 9, -3], [0, -3, -3, 9]]
@tf.function(input_signature=[tf.TensorSpec([1, 20, 20, 3], tf.float32, name="image")])
def graph(image):
    return {"logits": tf.nn.conv2d(image, kernel, 1, "SAME") + [1.0, 0.0, 0.0, 0.0]}
module = tf.Module()
module.graph = graph
def converter():
    return tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()], module)
open(sys.argv[1] + "/seg_float32.tflite", "wb").write(converter().convert())
quantised = converter()
quantised.optimizations = [tf.lite.Optimize.DEFAULT]
rng = np.random.default_rng(1)
quantised.representative_dataset = lambda: ([rng.random((1, 20, 20, 3), np.float32)] for _ in range(20))
open(sys.argv[1] + "/seg_int8_float_io.tflite", "wb").write(quantised.convert())
"""


@pytest.fixture(scope="module")
def segmentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a segmentation, with its golden outputs at a stride, without samples: look, do not touch."""
    folder = tmp_path_factory.mktemp("seg")
    done = subprocess.run([sys.executable, "-c", SEGMENT, folder], env=clean_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.copy(paths.EXAMPLE, folder / "example.py")
    (folder / "labels.txt").write_text("none\nred\ngreen\nblue\n")
    picture = np.zeros((60, 120, 3), np.uint8)
    picture[:, 30:60, 0] = picture[30:, 60:90, 2] = 255  # of the centre: half red, a quarter blue
    Image.fromarray(picture).save(folder / "wide.png")
    inputs = np.random.default_rng(2).random((3, 1, 20, 20, 3), np.float32)
    variants = {}
    runtime = example.load_runtime()
    for variant, tolerance in (("float32", {}), ("int8_float_io", {"tolerance": 0.2})):
        file = folder / f"seg_{variant}.tflite"
        model = example.Model(str(file), runtime, reference=True)
        outputs = np.stack([model.run(tensor)[:, ::8, ::8] for tensor in inputs])
        np.savez(folder / f"golden_{variant}.npz", input=inputs, output=outputs)
        sha256 = example.hashlib.sha256(file.read_bytes()).hexdigest()
        facts = {"file": file.name, "size": file.stat().st_size, "sha256": sha256, **tolerance}
        variants[variant] = {**facts, "golden": f"golden_{variant}.npz"}
        names = {"input": model.input["name"], "output": model.output["name"]}
    channels = {"mean": [0.0] * 3, "std": [255.0] * 3, "colour": "rgb", "resize": "nearest", "fit": "crop"}
    facts = {
        "format": 1, "task": "segmentation", "labels": "labels.txt", "samples": None,
        "input": {"name": names["input"], "shape": [1, 20, 20, 3], **channels},
        "output": {"name": names["output"], "shape": [1, 20, 20, 4], "kind": "logits", "golden_stride": 8},
        "tolerance": {"int8_steps": 2, "float32": 0.001}, "variants": variants,
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def no_runtime(tmp_path: Path) -> dict[str, str]:
    """An environment in which no runtime can be imported."""
    for name in ("ai_edge_litert", "tflite_runtime", "tensorflow"):
        (tmp_path / "stubs" / name).mkdir(parents=True)
        (tmp_path / "stubs" / name / "__init__.py").write_text(
            f"raise ImportError('not on this board', name={name!r})\n"
        )
    return {"PYTHONPATH": str(tmp_path / "stubs")}
