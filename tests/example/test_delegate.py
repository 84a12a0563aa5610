"""example.py on a real delegate: a library of C that TFLite loads, and that is right, wrong or broken as it is told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.checkouts import Checkout, clean_env
from tests.support.delegates import CC, SOURCE
from tests.support.examples import CHECK, ENTRY, STATS, change, compile_last, conforms, refused, run
from tests.support.runtimes import OLD_RUNTIMES, install_runtime
from utils import example, paths

pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler here to build the delegate with")

NODES = {"total": int, "delegated": int, "partitions": int}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The delegate."""
    file = tmp_path_factory.mktemp("delegate") / "libtest_delegate.so"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"]
    subprocess.run([str(CC), *flags, "-o", str(file), str(SOURCE), "-lm"], check=True)
    return file


@pytest.fixture(scope="module")
def nearest(built_once: Checkout) -> Path:
    """A bundle: look, do not touch."""
    return built_once.root / "artifacts/demo_nearest"


@pytest.fixture(scope="module")
def bilinear(built_once: Checkout) -> Path:
    """A bundle: look, do not touch."""
    return built_once.root / "artifacts/demo_bilinear"


def options(**given: str) -> list[str]:
    return [word for key, value in given.items() for word in ("--delegate-option", f"{key}={value}")]


def report(folder: Path, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> dict[str, Any]:
    """What --json says, when it ends with this code."""
    done = run(folder, "--json", *arguments, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- right


def test_nodes_times_and_verdicts_side_by_side(nearest: Path, library: Path) -> None:
    found = report(nearest, "--compare", "-d", str(library), "-i", "example_input.png", "example_1.png")
    assert found["delegate"]["name"] == "libtest_delegate.so"
    assert found["delegate"]["library"] == str(library)
    assert found["delegate"]["sha256"] == example.hashlib.sha256(library.read_bytes()).hexdigest()
    predictions = ENTRY["predictions"]
    beside = {"first_ms": float, "steady_ms": STATS, "check": CHECK, "predictions": predictions}
    for entry in found["models"]:
        whole = {key: value for key, value in ENTRY.items() if key != "samples"}
        conforms(entry, {**whole, "nodes": NODES, "cpu": beside, "compare": CHECK})
        assert entry["delegate"] == "libtest_delegate.so"
        assert entry["nodes"] == {"total": 16, "delegated": 3, "partitions": 3}
        assert entry["check"]["verdict"] == entry["cpu"]["check"]["verdict"] == entry["compare"]["verdict"] == "PASS"
        assert (entry["check"]["inputs"], entry["compare"]["inputs"]) == (10, 12)
        assert entry["predictions"] == entry["cpu"]["predictions"]
    for key in (*NODES, "library", "sha256", "options", "note", "cpu", "compare", "notes", "failure", "code", "what"):
        assert f'"{key}"' in str(example.__doc__), key


def test_the_text_report_shows_both_sides(nearest: Path, library: Path) -> None:
    arguments = ["-d", str(library), "--compare", "-m", "demo_nearest_int8.tflite", "-i", "example_1.png"]
    said = run(nearest, *arguments).stdout
    assert f"delegate  {library} took 3 of 16 nodes, in 3 parts\n" in said
    for title in ("time      first run ", "time cpu  first run ", "golden    PASS", "cpu       PASS", "npu:cpu   PASS"):
        assert f"\n  {title}" in said
    assert "\n  inputs/example_1.png: libtest_delegate.so, and beside it cpu\n" in said


def test_golden_tensors_are_checked_by_default_on_an_npu(nearest: Path, library: Path) -> None:
    """Nobody ships a wrong one unknowingly: also ``-i`` alone looks at the golden tensors."""
    arguments = ["-d", str(library), "-m", "demo_nearest_int8.tflite", "-i", "example_1.png"]
    (entry,) = report(nearest, *arguments)["models"]
    assert entry["check"]["verdict"] == "PASS"
    assert "cpu" not in entry
    (entry,) = report(nearest, *arguments, *options(mode="fixed"), code=4)["models"]
    assert entry["check"]["verdict"] == "FIXED_OUTPUT"


def test_both_resizes_are_computed_right(bilinear: Path, library: Path) -> None:
    for entry in report(bilinear, "--compare", "-d", str(library), *options(take="resize"))["models"]:
        assert entry["nodes"]["delegated"] == 3
        assert entry["compare"]["verdict"] == "PASS"


# --- wrong: what started this project


@pytest.mark.parametrize("variant", ["int8", "float32"])
def test_fixed_output_is_detected_with_its_remedy(nearest: Path, bilinear: Path, library: Path, variant: str) -> None:
    arguments = ["--compare", "-d", str(library), *options(take="resize", mode="fixed")]
    (entry,) = report(nearest, *arguments, "-m", f"demo_nearest_{variant}.tflite", code=4)["models"]
    for check in (entry["check"], entry["compare"]):
        assert check["verdict"] == "FIXED_OUTPUT"
        assert "RESIZE_NEAREST_NEIGHBOR" in check["remedy"]
        assert "use the bilinear model" in check["remedy"]
    assert entry["cpu"]["check"]["verdict"] == "PASS"
    (entry,) = report(bilinear, *arguments, "-m", f"demo_bilinear_{variant}.tflite")["models"]
    assert entry["nodes"]["delegated"] == 3
    assert entry["check"]["verdict"] == entry["compare"]["verdict"] == "PASS"


@pytest.mark.parametrize(
    ("mode", "variant", "verdict", "said"),
    [
        ("wrong", "int8", "MISMATCH", "the accelerator computes wrong values"),
        ("wrong", "float32", "MISMATCH", "the accelerator computes wrong values"),
        ("nan", "float32", "NAN", "the accelerator computes NaN or infinity"),
    ],
)
def test_other_wrong_results(nearest: Path, library: Path, mode: str, variant: str, verdict: str, said: str) -> None:
    arguments = ["--compare", "-d", str(library), "-m", f"demo_nearest_{variant}.tflite", *options(mode=mode, off="30")]
    (entry,) = report(nearest, *arguments, code=4)["models"]
    for check in (entry["check"], entry["compare"]):
        assert check["verdict"] == verdict
        assert said in check["remedy"]
    assert entry["cpu"]["check"]["verdict"] == "PASS"


# --- broken


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("refuse", "the delegate refuses demo_nearest_int8.tflite: the test delegate does not understand this graph\n"),
        ("prepare", "the delegate refuses demo_nearest_int8.tflite: the test delegate has no memory for this graph"),
        ("invoke", "the delegate fails in demo_nearest_int8.tflite: the test delegate lost its device"),
    ],
)
def test_a_delegate_that_fails(nearest: Path, library: Path, mode: str, said: str) -> None:
    arguments = ["-d", str(library), "-m", "demo_nearest_int8.tflite", *options(mode=mode)]
    done = run(nearest, "--json", *arguments)
    assert done.returncode == 5, done.stderr
    assert said in done.stderr
    assert "\n  -> run it with -d cpu" in done.stderr
    assert "Traceback" not in done.stderr
    (entry,) = json.loads(done.stdout)["models"]
    conforms(entry["failure"], {"code": int, "what": str, "remedy": str})
    assert entry["failure"]["code"] == 5
    assert "check" not in entry
    assert run(nearest, *arguments).returncode == 5


def test_a_failure_does_not_hide_the_other_models(nearest: Path, library: Path) -> None:
    found = report(nearest, "-d", str(library), *options(mode="refuse"), code=5)
    assert [entry["failure"]["code"] for entry in found["models"]] == [5, 5]


def test_a_delegate_that_takes_nothing(nearest: Path, library: Path) -> None:
    """An NPU was asked for, and the CPU did the work: that is no success."""
    found = report(nearest, "--compare", "-d", str(library), *options(take="none"), code=6)
    for entry in found["models"]:
        assert entry["delegate"] == "cpu"
        assert entry["nodes"] == {"total": 16, "delegated": 0, "partitions": 0}
        assert entry["check"]["verdict"] == "PASS"
        assert entry["failure"]["code"] == 6
        assert "took none of the nodes" in entry["failure"]["what"]


def test_a_vela_file_on_another_npu(nearest: Path, library: Path, tmp_path: Path) -> None:
    vela = change(nearest / "demo_nearest_int8.tflite", tmp_path / "m_vela.tflite", compile_last)
    for given in (["-d", str(library)], ["-d", str(library), *options(take="none")]):
        assert "m_vela.tflite is compiled for Ethos-U (by Vela)" in refused(nearest, "-m", str(vela), *given, code=3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "absent"}, "does not start: the device /dev/none is not there"),
        ({"colour": "red"}, "does not start: there is no option colour"),
    ],
)
def test_a_delegate_that_does_not_start(nearest: Path, library: Path, given: dict[str, str], said: str) -> None:
    assert said in refused(nearest, "-d", str(library), *options(**given), code=5)


def test_a_library_that_is_not_a_delegate(nearest: Path, library: Path, tmp_path: Path) -> None:
    assert "there is no delegate library libvx_delegate.so (nor in" in refused(nearest, "-d", "vx", code=5)
    assert "there is no delegate library ./none.so" in refused(nearest, "-d", "./none.so", code=5)
    (tmp_path / "text.so").write_text("no library")
    assert "text.so cannot be loaded: " in refused(nearest, "-d", str(tmp_path / "text.so"), code=5)
    for size in (50, 700, 9000):
        (tmp_path / "half.so").write_bytes(library.read_bytes()[:size])
        assert "half.so is truncated\n" in refused(nearest, "-d", str(tmp_path / "half.so"), code=5)
    subprocess.run([str(CC), "-shared", "-o", tmp_path / "other.so", "-x", "c", "/dev/null"], check=True)
    assert "other.so is a library, but not a TFLite delegate" in refused(
        nearest, "-d", str(tmp_path / "other.so"), code=5
    )
    assert "-d cpu has none" in refused(nearest, "-d", "cpu", *options(mode="fixed"))
    assert run(nearest, "-d", "cpu", "--delegate-option", "mode").returncode == 2


# --- by name


@pytest.fixture
def board(library: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a board that has this delegate under the name of i.MX 8M Plus's."""
    shutil.copy(library, tmp_path / "libvx_delegate.so")
    return {"LD_LIBRARY_PATH": str(tmp_path)}


def test_auto_takes_the_npu_that_is_there(nearest: Path, board: dict[str, str]) -> None:
    for choice in ([], ["-d", "auto"], ["-d", "vx"], ["-d", "libvx_delegate.so"]):
        found = report(nearest, *choice, env=board)
        assert found["delegate"]["name"] == "vx"
        assert [entry["delegate"] for entry in found["models"]] == ["vx", "vx"]
    assert report(nearest, "-d", "cpu", env=board)["models"][0]["delegate"] == "cpu"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "refuse"}, "the delegate refuses demo_nearest_int8.tflite: the test delegate does not understand"),
        ({"take": "none"}, "took none of the nodes of demo_nearest_int8.tflite: the CPU ran it"),
    ],
)
def test_auto_falls_back_and_says_so(nearest: Path, board: dict[str, str], given: dict[str, str], said: str) -> None:
    found = report(nearest, "--compare", "-m", "demo_nearest_int8.tflite", *options(**given), env=board)
    (entry,) = found["models"]
    assert (entry["delegate"], entry["check"]["verdict"]) == ("cpu", "PASS")
    assert said in entry["notes"][0]
    assert "failure" not in entry


def test_auto_does_without_a_broken_npu(nearest: Path, board: dict[str, str], tmp_path: Path) -> None:
    found = report(nearest, *options(mode="absent"), env=board)
    assert found["delegate"]["name"] == "cpu"
    assert "the device /dev/none is not there" in found["delegate"]["note"]
    (tmp_path / "libvx_delegate.so").write_text("no library")
    done = run(nearest, "--compare", env=board)
    assert done.returncode == 0, done.stderr
    assert "delegate: cpu (" in done.stdout
    assert "libvx_delegate.so cannot be loaded" in done.stdout


#: Every node of it is a resize: what runs it is the delegate alone.
RESIZE = """
import sys, numpy as np, tensorflow as tf
@tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.float32, name="image")])
def graph(image):
    larger = tf.compat.v1.image.resize_nearest_neighbor(image, (12, 12), half_pixel_centers=True)
    return {"scores": tf.compat.v1.image.resize_nearest_neighbor(larger, (16, 16), half_pixel_centers=True)}
module = tf.Module()
module.graph = graph
converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()], module)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.inference_input_type = converter.inference_output_type = tf.int8
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
rng = np.random.default_rng(1)
converter.representative_dataset = lambda: ([rng.random((1, 8, 8, 3), np.float32)] for _ in range(20))
open(sys.argv[1] + "/resize_int8.tflite", "wb").write(converter.convert())
"""


@pytest.fixture(scope="module")
def whole_on_npu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, a segmentation by the strongest colour, of which a delegate can take every node."""
    folder = tmp_path_factory.mktemp("resize")
    done = subprocess.run([sys.executable, "-c", RESIZE, folder], env=clean_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.copy(paths.EXAMPLE, folder / "example.py")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    rng = np.random.default_rng(2)
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / "noise.png")
    file = folder / "resize_int8.tflite"
    model = example.Model(str(file), example.load_runtime(), reference=True)
    inputs = rng.integers(-100, 100, (3, 1, 8, 8, 3)).astype(np.int8)
    np.savez(folder / "golden.npz", input=inputs, output=np.stack([model.run(tensor) for tensor in inputs]))
    sha256 = example.hashlib.sha256(file.read_bytes()).hexdigest()
    variant = {"file": file.name, "size": file.stat().st_size, "sha256": sha256, "golden": "golden.npz"}
    channels = {"mean": [0.0] * 3, "std": [255.0] * 3, "colour": "rgb", "resize": "nearest", "fit": "stretch"}
    facts = {
        "format": 1, "task": "segmentation", "labels": "labels.txt", "samples": None,
        "input": {"name": model.input["name"], "shape": [1, 8, 8, 3], **channels},
        "output": {"name": model.output["name"], "shape": [1, 16, 16, 3], "kind": "logits"},
        "tolerance": {"int8_steps": 2, "float32": 0.001}, "variants": {"int8": variant},
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(facts))
    return folder


def test_ethos_u_is_right_to_the_bit_or_wrong(whole_on_npu: Path, library: Path, tmp_path: Path) -> None:
    for name in ("libvx_delegate.so", "libethosu_delegate.so"):
        shutil.copy(library, tmp_path / name)
    board = {"LD_LIBRARY_PATH": str(tmp_path)}
    right = {name: report(whole_on_npu, "-d", name, env=board)["models"][0] for name in ("vx", "ethosu")}
    assert right["ethosu"]["nodes"] == {"total": 2, "delegated": 2, "partitions": 1}
    assert {name: entry["check"]["tolerance"] for name, entry in right.items()} == {"vx": 2, "ethosu": 0}
    off = options(mode="wrong", off="1")  # of each of two
    assert report(whole_on_npu, "-d", "vx", *off, env=board)["models"][0]["check"]["verdict"] == "PASS"
    (entry,) = report(whole_on_npu, "-d", "ethosu", *off, env=board, code=4)["models"]
    assert (entry["check"]["verdict"], entry["check"]["max_error"]) == ("MISMATCH", 2)


def test_overlays_of_npu_and_cpu(whole_on_npu: Path, library: Path, tmp_path: Path) -> None:
    arguments = ["-d", str(library), "--compare", "-i", "noise.png", "-o", str(tmp_path)]
    (entry,) = report(whole_on_npu, *arguments)["models"]
    assert entry["predictions"][0]["overlay"] == str(tmp_path / "noise_overlay.png")
    assert entry["cpu"]["predictions"][0]["overlay"] == str(tmp_path / "noise_cpu_overlay.png")
    assert entry["predictions"][0]["classes"] == entry["cpu"]["predictions"][0]["classes"]
    said = run(whole_on_npu, *arguments).stdout
    assert said.count("% of the pixels\n") == 3
    assert said.count("_overlay.png\n") == 2


# --- without a bundle, and on other runtimes


def test_a_bare_model_is_compared_with_the_cpu(nearest: Path, library: Path, tmp_path: Path) -> None:
    """No golden tensors: the CPU's answers for noise and the given images are what there is."""
    for variant in ("int8", "float32"):
        shutil.copy(nearest / f"demo_nearest_{variant}.tflite", tmp_path / f"{variant}.tflite")
    shutil.copy(paths.EXAMPLE, tmp_path)
    image = str(nearest / "inputs/example_3.png")
    for variant in ("int8", "float32"):
        (entry,) = report(tmp_path, "-d", str(library), "-m", f"{variant}.tflite", "-i", image)["models"]
        assert "check" not in entry
        assert (entry["compare"]["verdict"], entry["compare"]["inputs"]) == ("PASS", 5)
        (entry,) = report(
            tmp_path, "-d", str(library), "-m", f"{variant}.tflite", "-i", image, *options(mode="fixed"), code=4
        )["models"]
        assert entry["compare"]["verdict"] == "FIXED_OUTPUT"
        assert "use the bilinear model" in entry["compare"]["remedy"]  # its nodes say that it upsamples so


def test_a_runtime_that_cannot_tell_nodes(nearest: Path, library: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import ai_edge_litert.interpreter as module\ndel module.Interpreter._get_ops_details\n"
    )
    arguments = ["-d", str(library), "-m", "demo_nearest_int8.tflite"]
    env = {"PYTHONPATH": str(tmp_path)}
    (entry,) = report(nearest, *arguments, env=env)["models"]
    assert entry["nodes"] == {"total": None, "delegated": None, "partitions": None}
    assert "took an unknown number of nodes (this runtime does not tell)" in run(nearest, *arguments, env=env).stdout


@pytest.mark.runtimes
@pytest.mark.parametrize("runtime", OLD_RUNTIMES)
def test_old_runtimes_load_it(nearest: Path, bilinear: Path, library: Path, runtime: str, tmp_path: Path) -> None:
    """The same library, counts and verdicts on the TFLite of old BSPs."""
    python = install_runtime(runtime, tmp_path) / "bin/python"

    def verdicts(folder: Path, code: int, **given: str) -> list[tuple[int, str, str]]:
        command = [
            python,
            "example.py",
            "--json",
            "--compare",
            "-n",
            "1",
            "-d",
            library,
            *options(take="resize", **given),
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        assert done.returncode == code, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert found["runtime"] == {"name": "tflite_runtime", "version": runtime}
        return [
            (entry["nodes"]["delegated"], entry["check"]["verdict"], entry["compare"]["verdict"])
            for entry in found["models"]
        ]

    assert verdicts(nearest, 0) == [(3, "PASS", "PASS")] * 2
    assert verdicts(nearest, 4, mode="fixed") == [(3, "FIXED_OUTPUT", "FIXED_OUTPUT")] * 2
    assert verdicts(bilinear, 0, mode="fixed") == [(3, "PASS", "PASS")] * 2
    for mode in ("refuse", "prepare", "invoke"):
        command = [python, "example.py", "-d", library, *options(mode=mode)]
        done = subprocess.run(command, cwd=nearest, capture_output=True, text=True, timeout=600)
        assert done.returncode == 5, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
