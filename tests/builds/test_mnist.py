"""The main job on the real MNIST, where a mirror has it, and the result on the runtimes of old BSPs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkouts import MIRROR, Checkout
from tests.support.real import build_real
from tests.support.runtimes import OLD_RUNTIMES, install_runtime
from utils import tflite
from utils.model.datasets import read_idx
from utils.npu.bsp import parse_version
from utils.recipe.load import find_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

MODELS = ("mnist_nearest", "mnist_bilinear")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Both models, built from the real files."""
    return build_real(tmp_path_factory, *MODELS).checkout


@pytest.mark.parametrize(("model", "least"), [("mnist_nearest", 98.9), ("mnist_bilinear", 98.7)])
def test_accuracy_and_size(zoo: Checkout, model: str, least: float) -> None:
    manifest = json.loads((zoo.root / "artifacts" / model / "manifest.json").read_text())
    results = manifest["evaluation"]["variants"]
    assert manifest["evaluation"]["count"] == 10_000
    assert min(result["accuracy"] for result in results.values()) >= least
    assert results["float32"]["accuracy"] - results["int8"]["accuracy"] <= 0.1
    assert results["int8"]["size"] <= 33_000


#: Counts right answers with nothing of ours: gzip, NumPy and LiteRT.
COUNT_ALONE = """
import gzip, sys, numpy as np
from ai_edge_litert.interpreter import Interpreter
graph = Interpreter(sys.argv[1]); graph.allocate_tensors()
(x,), (y,) = graph.get_input_details(), graph.get_output_details()
images = np.frombuffer(gzip.open(sys.argv[2]).read()[16:], np.uint8).reshape(-1, 1, 28, 28, 1) / np.float32(255)
if x["dtype"] == np.int8: images = np.clip(np.round(images / x["quantization"][0]) + x["quantization"][1], -128, 127)
def answer(image): graph.set_tensor(x["index"], image); graph.invoke(); return graph.get_tensor(y["index"]).argmax()
answers = [answer(image) for image in images.astype(x["dtype"])]
print(sum(answers == np.frombuffer(gzip.open(sys.argv[3]).read()[8:], np.uint8)))
"""


@pytest.mark.parametrize("model", MODELS)
def test_ten_lines_of_numpy_count_the_same(zoo: Checkout, model: str) -> None:
    sources = find_recipe(model).sources
    idx = [str(MIRROR / str(sources[key].sha256)) for key in ("test_images", "test_labels")]
    bundle = zoo.root / "artifacts" / model
    results = json.loads((bundle / "manifest.json").read_text())["evaluation"]["variants"]
    for variant, result in results.items():
        command = [sys.executable, "-c", COUNT_ALONE, str(bundle / f"{model}_{variant}.tflite"), *idx]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) == result["correct"], variant


@pytest.mark.parametrize(
    ("model", "resize"), [("mnist_nearest", "RESIZE_NEAREST_NEIGHBOR"), ("mnist_bilinear", "RESIZE_BILINEAR")]
)
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_operators(zoo: Checkout, model: str, resize: str, variant: str) -> None:
    graph = tflite.read(zoo.root / "artifacts" / model / f"{model}_{variant}.tflite")
    count = graph.count()
    assert count[resize] == 3
    assert count["CONV_2D"] == 7
    assert sum(count.values()) == 16
    assert parse_version(graph.min_runtime) <= (2, 3, 0)


#: Images that each runtime answers, one after the other.
COUNTED = 2000

#: Runs on the old Python with nothing but numpy and the runtime.
COUNT = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
import example
runtime = example.load_runtime()
data = np.load(sys.argv[2])
model = example.Model(sys.argv[3], runtime, threads=1)
model.bind("image", "probabilities")
spec = {"mean": [0.0], "std": [255.0]}
tensors = model.quantise(example.normalise(data["images"], spec))
right = sum(int(model.run(t[None]).argmax()) == l for t, l in zip(tensors, data["labels"]))
print(runtime.name, runtime.version, right)
"""


@pytest.mark.runtimes
@pytest.mark.parametrize("runtime", OLD_RUNTIMES)
def test_old_runtimes_answer_the_same(zoo: Checkout, runtime: str, tmp_path: Path) -> None:
    """An old runtime is validated by its answers, not by loading."""
    venv = install_runtime(runtime, tmp_path)
    mnist = find_recipe("mnist_nearest")
    cache = zoo.root / "build" / "cache"
    images = read_idx(cache / str(mnist.sources["test_images"].sha256))
    labels = read_idx(cache / str(mnist.sources["test_labels"].sha256))
    np.savez(tmp_path / "test.npz", images=images[:COUNTED, ..., None], labels=labels[:COUNTED])
    for model in MODELS:
        bundle = zoo.root / "artifacts" / model
        counts = []
        for python in (venv / "bin/python", Path(sys.executable)):
            done = subprocess.run(
                [python, "-c", COUNT, bundle, tmp_path / "test.npz", bundle / f"{model}_int8.tflite"],
                capture_output=True, text=True, timeout=600,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            *version, right = done.stdout.split()
            print(f"{model} int8 on {' '.join(version)}: {int(right)} of {COUNTED} right")
            counts.append((version, int(right)))
        (name, old), (_, new) = counts
        assert name == ["tflite_runtime", runtime]
        assert abs(old - new) <= 0.002 * COUNTED
        check = subprocess.run(
            [str(venv / "bin/python"), "example.py"], cwd=bundle, capture_output=True, text=True, timeout=600
        )
        assert check.returncode == 0, check.stdout + check.stderr
        assert "\n2 of 2 models PASS on the CPU" in check.stdout
