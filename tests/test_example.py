"""example.py as a user on the board runs it: in a finished bundle, in a process of its own, right and wrong."""

from __future__ import annotations

import ast
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.checkouts import Checkout, clean_env
from utils import example, paths

MODEL = "demo_nearest_int8.tflite"


@pytest.fixture(scope="module")
def whole(built_once: Checkout) -> Path:
    """A finished bundle: look, do not touch."""
    return built_once.root / "artifacts/demo_nearest"


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    shutil.copytree(whole, tmp_path / "bundle")
    return tmp_path / "bundle"


def run(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run it there, without the project on the path."""
    alone = {key: value for key, value in clean_env().items() if key != "PYTHONPATH"}
    command = [*before, sys.executable, "-W", "error", "example.py", "-n", "1", "-t", "1", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**alone, **(env or {})}, capture_output=True, text=True, timeout=60, check=False
    )


def refused(folder: Path, *arguments: str, code: int = 2, env: dict[str, str] | None = None) -> str:
    """What it says when it ends with this code: one sentence, one remedy, no traceback."""
    done = run(folder, *arguments, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    first, *rest = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]  # the runtime's own
    assert first.startswith("example.py: ")
    assert rest[-1].startswith("  -> ")
    assert "Traceback" not in done.stderr
    return done.stderr


# --- all is well


def test_no_arguments_checks_everything(whole: Path) -> None:
    done = run(whole)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("golden    PASS: 10 inputs, top-1 agrees on 100 %") == 2
    assert "demo_nearest_float32.tflite on cpu (ai_edge_litert " in done.stdout
    assert "(steps, 20 allowed)" in done.stdout
    assert "->" not in done.stdout
    assert done.stderr.count("Traceback") == 0


def test_the_demo_s_own_command_line(whole: Path) -> None:
    done = run(whole, "-m", MODEL, "-i", "example_input.png", "-q")
    assert done.returncode == 0, done.stderr
    assert "example_input.png\n" in done.stdout
    assert "golden" not in done.stdout


def test_the_seeds_own_command_line(bundle: Path) -> None:
    """``python3 utils/example.py``, with another name that users know the file by."""
    facts = json.loads((bundle / "model.json").read_text())
    facts["variants"]["int8"]["aliases"] = ["demo_quant_int8.tflite"]
    (bundle / "model.json").write_text(json.dumps(facts))
    command = [sys.executable, "utils/example.py", "-i", "example_3.png", "-m", "demo_quant_int8.tflite", "-q"]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\ndemo_nearest_int8.tflite on cpu" in done.stdout
    del command[2:]
    assert subprocess.run(command, cwd=bundle, capture_output=True, check=False).returncode == 0
    command[1] = str(bundle / "utils/example.py")
    assert subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0


def test_a_folder_of_images(bundle: Path) -> None:
    (bundle / "in").mkdir()
    for name in ("b.png", "a.PNG", ".c.png", "d_overlay.png", "e.txt"):
        shutil.copy(bundle / "example_input.png", bundle / "in" / name)
    entry = json.loads(run(bundle, "--json", "-m", MODEL, "-i", "in", "example_1.png").stdout)["models"][0]
    assert [prediction["input"] for prediction in entry["predictions"]] == ["in/a.PNG", "in/b.png", "example_1.png"]
    assert len(entry["predictions"][0]["top"]) == 5


def test_a_bundle_without_samples(bundle: Path) -> None:
    facts = json.loads((bundle / "model.json").read_text())
    facts["samples"] = None
    (bundle / "model.json").write_text(json.dumps(facts))
    (bundle / "samples.npz").unlink()
    assert run(bundle).returncode == 0
    assert "this bundle carries no samples: their licence does not allow it" in refused(bundle, "--samples")


def test_a_variant_s_own_tolerance(bundle: Path) -> None:
    facts = json.loads((bundle / "model.json").read_text())
    facts["variants"]["int8"]["tolerance"] = 33
    (bundle / "model.json").write_text(json.dumps(facts))
    checks = {entry["variant"]: entry["check"] for entry in json.loads(run(bundle, "--json").stdout)["models"]}
    assert {name: check["tolerance"] for name, check in checks.items()} == {"float32": 0.001, "int8": 33}


def test_from_another_folder(whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(whole / "example.py"), "-m", str(whole / MODEL), "-n", "1"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    shutil.copy(whole / MODEL, tmp_path)
    command[3] = MODEL
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


NUMBER = (int, float)
STATS = {"min": NUMBER, "median": NUMBER, "p90": NUMBER, "runs": int}
CHECK = {
    "verdict": str, "inputs": int, "top1_agreement": float, "max_error": float, "mean_error": float,
    "tolerance": float, "unit": str,
}  # fmt: skip
ENTRY = {
    "file": str, "variant": str, "delegate": str, "first_ms": float, "steady_ms": STATS, "check": CHECK,
    "samples": {"count": int, "correct": int, "accuracy": float},
    "predictions": [{"input": str, "top": [{"label": str, "score": float}]}],
}  # fmt: skip
CHOSEN = {"name": str, "library": (str, type(None)), "sha256": (str, type(None)), "options": {}, "note": str}
SCHEMA = {"format": int, "runtime": {"name": str, "version": str}, "delegate": CHOSEN, "models": [ENTRY]}


def conforms(value: Any, schema: Any, where: str = "") -> None:
    if isinstance(schema, dict):
        assert set(value) == set(schema), where
        for key, inner in schema.items():
            conforms(value[key], inner, f"{where}.{key}")
    elif isinstance(schema, list):
        assert value, where
        for item in value:
            conforms(item, schema[0], f"{where}[]")
    else:
        assert isinstance(value, schema), f"{where} is {value!r}"


def test_json_is_what_the_docstring_says(whole: Path) -> None:
    images = ["example_input.png", "example_1.png"]
    done = run(whole, "--json", "--check", "--samples", "--top", "4", "-n", "3", "-i", *images)
    report = json.loads(done.stdout)
    conforms(report, SCHEMA)
    assert report["delegate"]["name"] == "cpu"
    for key in (
        "remedy",
        *SCHEMA,
        *CHOSEN,
        *ENTRY,
        *CHECK,
        *STATS,
        "count",
        "correct",
        "accuracy",
        "input",
        "label",
        "score",
    ):
        assert f'"{key}"' in str(example.__doc__), key
    assert [entry["variant"] for entry in report["models"]] == ["float32", "int8"]
    for entry, unit, tolerance in zip(report["models"], ("absolute", "steps"), (0.001, 20), strict=True):
        assert (entry["check"]["unit"], entry["check"]["tolerance"]) == (unit, tolerance)
        assert entry["steady_ms"]["runs"] == 3
        assert entry["steady_ms"]["min"] <= entry["steady_ms"]["median"] <= entry["steady_ms"]["p90"]
        assert entry["samples"]["count"] == 100
        assert entry["samples"]["accuracy"] == entry["samples"]["correct"] / 100
        assert [prediction["input"] for prediction in entry["predictions"]] == images
        scores = [line["score"] for line in entry["predictions"][0]["top"]]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)


def test_json_leaves_out_what_was_not_asked_for(whole: Path) -> None:
    entry = json.loads(run(whole, "--json", "-m", MODEL, "--samples").stdout)["models"][0]
    assert set(entry) == {"file", "variant", "delegate", "first_ms", "steady_ms", "samples"}


def test_predictions_are_those_of_the_golden_tensors(whole: Path) -> None:
    """The whole way, from the picture's file to the answer's label."""
    report = json.loads(run(whole, "--json", "-m", MODEL, "--top", "1", "-i", "example_3.png").stdout)
    with np.load(whole / "golden_int8.npz") as golden:
        answer = int(golden["output"][3].argmax())
    assert report["models"][0]["predictions"][0]["top"][0]["label"] == str(answer)


def test_other_sizes_modes_and_arrays(whole: Path, tmp_path: Path) -> None:
    """Converted, not crashed: the same picture larger and in colour is the same answer."""
    with Image.open(whole / "example_2.png") as image:
        image.resize((280, 280), Image.Resampling.NEAREST).convert("RGBA").save(tmp_path / "large.png")
        np.save(tmp_path / "pixels.npy", np.asarray(image))
    files = ["example_2.png", str(tmp_path / "large.png"), str(tmp_path / "pixels.npy")]
    done = run(whole, "--json", "-m", MODEL, "-i", *files)
    first, large, pixels = json.loads(done.stdout)["models"][0]["predictions"]
    assert pixels["top"] == first["top"]
    for ours, theirs in zip(large["top"], first["top"], strict=True):
        assert abs(ours["score"] - theirs["score"]) < 0.05


def test_reads_only_and_opens_no_socket(bundle: Path, tmp_path: Path) -> None:
    """In a read-only copy, as one who may not write there, with an audit of files opened to write and of sockets."""
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/sitecustomize.py").write_text(
        "import os, sys\n"
        "def audit(event, given):\n"
        "    flags = given[2] if event == 'open' else 0\n"
        "    writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)\n"
        "    if event in ('socket.connect', 'socket.bind', 'subprocess.Popen', 'os.mkdir', 'os.rename') or writes:\n"
        "        sys.stderr.write('FORBIDDEN %s %r\\n' % (event, given))\n"
        "sys.addaudithook(audit)\n"
    )
    before = ("setpriv", "--inh-caps=-all", "--bounding-set=-all") if os.getuid() == 0 else ()
    bundle.chmod(0o555)
    names = sorted(file.name for file in bundle.iterdir())
    try:
        touch = [*before, sys.executable, "-c", "open('x', 'w')"]
        assert subprocess.run(touch, cwd=bundle, capture_output=True, check=False).returncode != 0
        env = {"PYTHONPATH": str(tmp_path / "audit")}
        done = run(bundle, "--check", "--samples", "-i", "example_input.png", env=env, before=before)
        assert done.returncode == 0, done.stderr
        assert "FORBIDDEN" not in done.stderr
        assert names == sorted(file.name for file in bundle.iterdir())
    finally:
        bundle.chmod(0o755)


# --- models and bundles that are wrong


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


def test_model_that_is_none(bundle: Path) -> None:
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
    assert "-> this runtime computes something else than the reference kernels" in done.stdout
    assert "golden    PASS" in done.stdout  # the other variant is still looked at
    check = json.loads(run(bundle, "--json", "-m", "demo_nearest_float32.tflite").stdout)["models"][0]["check"]
    conforms(check, {**CHECK, "remedy": str})
    shutil.copy(bundle / "golden_int8.npz", bundle / "golden_float32.npz")
    assert "golden_float32.npz belongs to another model" in refused(bundle)


# --- inputs that are wrong


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


@pytest.mark.parametrize("arguments", [["--top", "0"], ["-n", "x"], ["-t", "-1"], ["--nothing"], ["-i"], ["stray"]])
def test_wrong_use(whole: Path, arguments: list[str]) -> None:
    done = run(whole, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


# --- runtimes


@pytest.fixture
def no_runtime(tmp_path: Path) -> dict[str, str]:
    """An environment in which no runtime can be imported."""
    for name in ("ai_edge_litert", "tflite_runtime", "tensorflow"):
        (tmp_path / "stubs" / name).mkdir(parents=True)
        (tmp_path / "stubs" / name / "__init__.py").write_text(
            f"raise ImportError('not on this board', name={name!r})\n"
        )
    return {"PYTHONPATH": str(tmp_path / "stubs")}


def test_no_runtime(whole: Path, no_runtime: dict[str, str]) -> None:
    said = refused(whole, code=3, env=no_runtime)
    assert "no TFLite runtime is installed\n  -> NXP's BSPs ship tflite_runtime; elsewhere: pip install" in said
    stub = Path(no_runtime["PYTHONPATH"]) / "tflite_runtime/__init__.py"
    stub.write_text("raise ImportError('libc.so.7: no such file')\n")
    said = refused(whole, code=3, env=no_runtime)
    assert "installed; tflite_runtime is here, but: libc.so.7: no such file\n" in said


def test_second_runtime(whole: Path, no_runtime: dict[str, str]) -> None:
    """Without ai_edge_litert, tflite_runtime is taken: here a shell around the one that is installed."""
    stub = Path(no_runtime["PYTHONPATH"])
    shutil.rmtree(stub / "ai_edge_litert")
    (stub / "tflite_runtime/__init__.py").write_text("__version__ = '2.5.0'\n")
    (stub / "tflite_runtime/interpreter.py").write_text(
        "from ai_edge_litert.interpreter import *\nimport sys\nsys.modules['ai_edge_litert.interpreter'] = None\n"
    )
    (stub / "sitecustomize.py").write_text("import tflite_runtime.interpreter\n")
    report = json.loads(run(whole, "--json", "-m", MODEL, env=no_runtime).stdout)
    assert report["runtime"] == {"name": "tflite_runtime", "version": "2.5.0"}


def test_model_that_the_runtime_refuses(bundle: Path) -> None:
    """Whole by its hash, and yet no runtime takes it."""
    data = (bundle / MODEL).read_bytes()
    facts = json.loads((bundle / "model.json").read_text())
    (bundle / MODEL).write_bytes(data[:4] + b"TFL3" + b"\xff" * (len(data) - 8))
    entry = facts["variants"]["int8"]
    entry["sha256"] = example.hashlib.sha256((bundle / MODEL).read_bytes()).hexdigest()
    (bundle / "model.json").write_text(json.dumps(facts))
    said = refused(bundle, "-m", MODEL, code=3)
    assert "cannot run demo_nearest_int8.tflite" in said


# --- the verdict

GOLDEN = np.asarray([[10, -20, 100], [-90, 50, 0], [7, 8, 9]], np.int8)
REAL = GOLDEN.astype(np.float32) / 128


def test_pass_and_its_numbers() -> None:
    outputs = GOLDEN + np.asarray([[0, 3, 0], [0, 0, 0], [0, 0, -6]], np.int8)
    check = example.judge(outputs, GOLDEN, 6)
    assert check == {
        "verdict": "PASS", "inputs": 3, "top1_agreement": pytest.approx(2 / 3), "max_error": 6,
        "mean_error": 1, "tolerance": 6, "unit": "steps",
    }  # fmt: skip
    assert example.judge(outputs, GOLDEN, 5)["verdict"] == "MISMATCH"


FIXED = np.repeat(GOLDEN[:1], 3, axis=0)


@pytest.mark.parametrize(
    ("outputs", "golden", "tolerance", "verdict"),
    [
        (GOLDEN, GOLDEN, 0, "PASS"),
        (REAL, REAL, 0, "PASS"),
        (REAL + 0.5e-3, REAL, 1e-3, "PASS"),
        (REAL + 2e-3, REAL, 1e-3, "MISMATCH"),
        (GOLDEN[::-1], GOLDEN, 10, "MISMATCH"),
        (FIXED, GOLDEN, 10, "FIXED_OUTPUT"),
        (REAL[[1, 1, 1]], REAL, 1e-3, "FIXED_OUTPUT"),
        (np.full((3, 3), -128, np.int8), GOLDEN, 10, "FIXED_OUTPUT"),  # fixed says more than saturated
        (FIXED, FIXED, 10, "PASS"),  # the model itself answers all these inputs alike
        (FIXED + 20, FIXED, 10, "MISMATCH"),
        (GOLDEN[1:2], GOLDEN[:1], 10, "MISMATCH"),  # one input: nobody can tell that it is fixed
        (GOLDEN[:1], GOLDEN[:1], 0, "PASS"),
        (np.where(GOLDEN > 8, 127, -128).astype(np.int8), GOLDEN, 10, "SATURATED"),
        (np.where(REAL > 0.06, 1, 0).astype(np.float32), REAL, 1e-3, "SATURATED"),
        (np.where(REAL > 0.7, np.nan, REAL), REAL, 1e-3, "NAN"),
        (np.where(REAL > 0.7, -np.inf, REAL), REAL, 1e-3, "NAN"),
        (np.full_like(REAL, np.nan), REAL, 1e-3, "NAN"),
        (np.where(REAL > 0.06, 5, -3).astype(np.float32), 9 * REAL, 1e-3, "SATURATED"),  # logits
    ],
)
def test_verdicts(outputs: np.ndarray, golden: np.ndarray, tolerance: float, verdict: str) -> None:
    check = example.judge(outputs, golden, tolerance)
    assert check["verdict"] == verdict
    assert ("remedy" in check) is (verdict != "PASS")
    assert (check["max_error"] is None) is (verdict == "NAN")
    json.dumps(check, allow_nan=False)


def test_errors_do_not_wrap() -> None:
    low, high = np.full((2, 2), -128, np.int8), np.asarray([[127, 126], [125, 127]], np.int8)
    assert example.judge(low, high, 10)["max_error"] == 255


@pytest.mark.parametrize(
    ("body", "delegate", "said"),
    [
        ({"upsampling": "nearest"}, "vx", "bilinear model"),
        ({}, "vx", "on the CPU"),
        (None, "vx", "on the CPU"),
        ({"upsampling": "nearest"}, "cpu", "this runtime"),
    ],
)
def test_the_remedy_for_fixed_outputs(body: dict[str, str] | None, delegate: str, said: str) -> None:
    remedy = example.judge(FIXED, GOLDEN, 10, body, delegate)["remedy"]
    assert said in remedy
    assert ("RESIZE_NEAREST_NEIGHBOR" in remedy) is (said == "bilinear model")


def test_the_answers_count_and_not_only_the_distance() -> None:
    turned = np.asarray([[-10, 10], [10, -10]], np.int8)
    assert example.judge(turned, -turned, 20)["verdict"] == "MISMATCH"
    close = np.asarray([[10, 9], [9, 10]], np.int8)  # a step of rounding may turn these: no verdict hangs on them
    assert example.judge(close[:, ::-1], close, 20)["verdict"] == "PASS"


def test_outputs_that_hardly_change_are_fixed_and_right_ones_are_not() -> None:
    trembling = (FIXED.astype(np.float32) / 128) + np.float32([[0], [1e-7], [2e-7]])
    assert example.judge(trembling, REAL, 0.001)["verdict"] == "FIXED_OUTPUT"
    steady = np.asarray([[10, 0], [10, 0]], np.int8)
    assert example.judge(steady, steady + np.asarray([[0, 0], [1, 0]], np.int8), 20)["verdict"] == "PASS"


def test_without_numpy(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('not on this board', name='numpy')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    assert "numpy is not installed" in refused(whole, code=3, env=env)
    assert "--check" in run(whole, "--help", env=env).stdout


def test_without_pillow(whole: Path, segmentation: Path, tmp_path: Path) -> None:
    """A PNG of the graph's own size, as the bundles of MNIST carry, is read all the same, and to the same pixels."""
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL/__init__.py").write_text("raise ImportError('not on this board', name='PIL')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    arguments = ("--json", "--check", "--samples", "-m", MODEL, "-i", "example_input.png", "example_4.png")
    without, with_it = (json.loads(run(whole, *arguments, env=given).stdout)["models"][0] for given in (env, None))
    assert without["predictions"] == with_it["predictions"]
    assert "Pillow is not installed, so wide.png cannot be read" in refused(segmentation, "-i", "wide.png", env=env)
    assert "cannot be read" in refused(whole, "-i", "labels.txt", env=env)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_without_pillow_is_to_the_pixel(tmp_path: Path, channels: int) -> None:
    """Noise, ramps and photographs make the writer choose each of PNG's five filters."""
    chance, seen = np.random.default_rng(1), set()
    smooth = np.add.outer(np.arange(24) * 3, np.arange(30) * 5)
    for number, image in enumerate((smooth, smooth * smooth // 40, chance.integers(0, 256, (24, 30)), smooth % 97)):
        pixels = (image[..., None] + 7 * np.arange(channels) + chance.integers(0, 1 + number, (24, 30, 1))) % 256
        pixels = pixels.astype(np.uint8)
        for kind in range(5):
            file = tmp_path / "image.png"
            _write_png(file, pixels, kind)
            with Image.open(file) as opened:
                assert (np.asarray(opened).reshape(pixels.shape) == pixels).all()
            read = example._read_png(str(file), {"shape": [1, 24, 30, channels]})
            assert read is not None
            assert (read == pixels).all()
            seen.add(kind)
    assert seen == set(range(5))
    assert example._read_png(str(file), {"shape": [1, 30, 24, channels]}) is None
    file.write_bytes(file.read_bytes()[:-40])
    assert example._read_png(str(file), {"shape": [1, 24, 30, channels]}) is None


def _write_png(file: Path, pixels: np.ndarray, kind: int) -> None:
    """A PNG all of whose rows have the filter ``kind``."""
    height, width, channels = pixels.shape
    flat = np.zeros((height + 1, (width + 1) * channels), np.int64)
    flat[1:, channels:] = pixels.reshape(height, -1)
    line, up = flat[1:, channels:], flat[:-1, channels:]
    left, corner = flat[1:, :-channels], flat[:-1, :-channels]
    guess = left + up - corner
    near = np.stack([left, up, corner])
    paeth = np.take_along_axis(near, np.abs(guess - near).argmin(0)[None], 0)[0]
    told = (line - (0 * line, left, up, (left + up) // 2, paeth)[kind]) % 256
    rows = np.concatenate([np.full((height, 1), kind), told], 1).astype(np.uint8)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    file.write_bytes(data)


def test_scaled_floats_are_refused(bundle: Path) -> None:
    np.save(bundle / "scaled.npy", np.full((28, 28, 1), 0.5, np.float32))
    assert "values up to 1" in refused(bundle, "-m", MODEL, "-i", "scaled.npy")


def test_tensorflow_is_the_last_resort(whole: Path, no_runtime: dict[str, str]) -> None:
    shutil.rmtree(Path(no_runtime["PYTHONPATH"]) / "tensorflow")
    command = [sys.executable, "example.py", "-m", MODEL, "--json"]  # TensorFlow warns that it is not the first choice
    done = subprocess.run(command, cwd=whole, env=clean_env() | no_runtime, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runtime"]["name"] == "tensorflow"


def test_a_score_that_is_no_number_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    top = [{"label": "7", "score": 0.5}, {"label": "8", "score": None}]
    steady = {"min": 1.0, "median": 1.0, "p90": 1.0, "runs": 1}
    report = {"file": "m", "delegate": "cpu", "first_ms": 1.0, "steady_ms": steady}
    shown = {**report, "predictions": [{"input": "i", "top": top}]}
    example.show(shown, example.Runtime("r", "1", None), example.Delegate("cpu"))
    assert "8                    not a number" in capsys.readouterr().out


# --- segmentation

GRID = (np.arange(2 * 20 * 20 * 3).reshape(2, 1, 20, 20, 3) * 7919 % 251 - 125).astype(np.int8)


def test_pixels_are_judged_one_by_one() -> None:
    clear = np.eye(3, dtype=np.int8)[np.arange(2 * 20 * 20) % 3].reshape(2, 1, 20, 20, 3) * np.int8(100)
    turned = clear.copy()
    turned[0, 0, 0, :8] = np.roll(clear[0, 0, 0, :8], 1, -1)  # 8 of 800 pixels answer otherwise
    check = example.judge(turned, clear, 100)
    assert check["verdict"] == "PASS"
    assert 0.99 <= check["top1_agreement"] < 1
    turned[0, 0, 1] = np.roll(clear[0, 0, 1], 1, -1)
    assert example.judge(turned, clear, 100)["verdict"] == "MISMATCH"
    tie = np.where(clear, 100, 51).astype(np.int8)  # within half the tolerance: a tie, as far as rounding goes
    assert example.judge(np.roll(tie, 1, -1), tie, 100)["verdict"] == "PASS"
    assert example.judge(np.repeat(GRID[:1], 2, axis=0), GRID, 3)["verdict"] == "FIXED_OUTPUT"
    real = GRID.astype(np.float32)
    assert example.judge(np.where(real == real.max(), np.nan, real), real, 300)["verdict"] == "NAN"
    assert example.judge(np.where(real > 0, 9, -9).astype(np.float32), real, 3)["verdict"] == "SATURATED"


def test_judge_needs_little_memory() -> None:
    """DeepLabV3's output, whole, is 22 MB; the board has 512 MB."""
    code = (
        "import resource, sys; import numpy as np; from utils import example\n"
        "one = np.random.default_rng(1).random((1, 513, 513, 21), np.float32)\n"
        "outputs = np.stack([one, one]); golden = outputs + np.float32(1e-6)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert example.judge(outputs, golden, 1e-3)['verdict'] == 'PASS'\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200  # MB


def test_the_palette_of_pascal() -> None:
    colours = [tuple(colour) for colour in example.palette(21).tolist()]
    assert colours[0] == (0, 0, 0)
    assert colours[8] == (64, 0, 0)  # cat
    assert colours[15] == (192, 128, 128)  # person
    assert colours[20] == (0, 64, 128)  # tv/monitor
    assert len({tuple(colour) for colour in example.palette(256).tolist()}) == 256


def test_class_map_and_shares() -> None:
    scores = np.zeros((1, 4, 5, 3), np.int8)
    scores[0, :2, :, 2] = 1
    classes = example.class_map(scores)
    assert classes.tolist() == [[2] * 5] * 2 + [[0] * 5] * 2
    assert (example.class_map(scores[0]) == classes).all()
    classes[3] = -1
    assert example.shares(classes, ["none", "left", "up"]) == [("up", 50.0), ("none", 25.0)]


def test_overlay() -> None:
    pixels = np.full((40, 60, 3), 200, np.uint8)
    classes = np.zeros((40, 60), np.int64)
    classes[:, 30:] = 2
    classes[:5] = 255
    image = example.overlay(pixels, classes, ["background", "plane", "bicycle"])
    drawn = np.asarray(image)
    assert image.mode == "RGB"
    assert image.width > 60
    assert image.height >= 40
    assert drawn[0, 0].tolist() == [200, 200, 200]  # no class: bare
    assert drawn[20, 10].tolist() == [100, 100, 100]
    assert drawn[20, 40].tolist() == [100, 164, 100]
    legend = {tuple(colour) for colour in drawn[:, 60:].reshape(-1, 3).tolist()}
    assert {(0, 0, 0), (0, 128, 0), (255, 255, 255)} <= legend
    assert (128, 0, 0) not in legend  # no plane is there


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
chance = np.random.default_rng(1)
quantised.representative_dataset = lambda: ([chance.random((1, 20, 20, 3), np.float32)] for _ in range(20))
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


def test_segmentation(segmentation: Path, tmp_path: Path) -> None:
    report = json.loads(run(segmentation, "--json", "--check", "-i", "wide.png").stdout)
    for entry, tolerance in zip(report["models"], (0.001, 0.2), strict=True):
        check = entry["check"]
        assert (check["verdict"], check["inputs"], check["tolerance"]) == ("PASS", 3, tolerance)
        assert check["top1_agreement"] > 0.9
        (prediction,) = entry["predictions"]
        assert prediction == {"input": "wide.png", "overlay": None, "classes": [
            {"label": "red", "share": 50.0}, {"label": "none", "share": 25.0}, {"label": "blue", "share": 25.0}
        ]}  # fmt: skip
    out = tmp_path / "out"
    done = run(segmentation, "-m", "seg_float32.tflite", "--top", "1", "-i", "wide.png", "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert "    red                   50.0 % of the pixels\n    -> " in done.stdout
    drawn = np.asarray(Image.open(out / "wide_overlay.png"))
    assert drawn[5, 5].tolist() == [0, 0, 0]  # left of what the graph sees
    assert drawn[50, 20].tolist() == [0, 0, 0]
    assert drawn[10, 45].tolist() == [127 + 64, 0, 0]
    assert drawn[50, 75].tolist() == [64, 64, 127]  # palette(4)[3] is olive
    assert drawn[50, 100].tolist() == [0, 0, 0]


def test_segmentation_of_an_array(segmentation: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "green.npy", np.tile(np.uint8([0, 255, 0]), (20, 20, 1)))
    arguments = ["-m", "seg_float32.tflite", "-i", str(tmp_path / "green.npy"), "-o", str(tmp_path), "--json"]
    (prediction,) = json.loads(run(segmentation, *arguments).stdout)["models"][0]["predictions"]
    assert prediction["classes"] == [{"label": "green", "share": 100.0}]
    assert Image.open(prediction["overlay"]).getpixel((3, 3)) == (0, 127 + 64, 0)


def test_overlays_that_cannot_be_written(segmentation: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = ("-m", "seg_float32.tflite", "-i", "wide.png")
    assert "wide_overlay.png cannot be written: " in refused(segmentation, *one, "-o", str(tmp_path / "file"))
    assert "written over another" in refused(segmentation, *one, "wide.png", "-o", str(tmp_path))
    assert "written over another" in refused(segmentation, "-i", "wide.png", "-o", str(tmp_path))
    assert "-o/--output is for segmentation" in refused(whole, "-i", "example_input.png", "-o", str(tmp_path))
    assert not list(tmp_path.glob("*.png"))


# --- models without model.json


def change(file: Path, to: Path, edit: Any) -> Path:
    """Write a TFLite file again with something changed in it."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file.read_bytes(), 0))
    edit(model, schema)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    to.write_bytes(builder.Output())
    return to


def add_metadata(model: Any, schema: Any, name: str, content: bytes) -> None:
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer, buffer.data = name, len(model.buffers), np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    model.metadata = [found for found in model.metadata or [] if found.name != name.encode()] + [entry]


def bare(*arguments: str, cwd: Path, code: int = 0) -> str:
    """Run it outside of any bundle; its stdout, or where it has to fail, its stderr."""
    command = [sys.executable, "-W", "error", paths.EXAMPLE, "-n", "1", *arguments]
    done = subprocess.run(command, cwd=cwd, env=clean_env(), capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


@pytest.mark.parametrize(
    ("variant", "why"), [("int8", "(pixel - 0) / 255 (by its quantisation)"), ("float32", "(pixel - 0) / 255 (as is")]
)
def test_bare_model(whole: Path, tmp_path: Path, variant: str, why: str) -> None:
    shutil.copy(whole / f"demo_nearest_{variant}.tflite", tmp_path / "lone.tflite")
    said = bare("-m", "lone.tflite", "-i", str(whole / "example_3.png"), cwd=tmp_path)
    assert "note      no model.json names this file: what follows is assumed" in said
    assert f"note      input: gray, stretched to 28 x 28, {why}" in said
    assert "note      output: classification, 10 classes, without labels: give --labels" in said
    assert "\n    class " in said
    labels = str(whole / "labels.txt")
    report = json.loads(
        bare("-m", "lone.tflite", "-i", str(whole / "example_3.png"), "--labels", labels, "--json", cwd=tmp_path)
    )
    (entry,) = report["models"]
    assert entry["variant"] is None
    assert "check" not in entry
    assert len(entry["notes"]) == 3
    known = ("-m", f"demo_nearest_{variant}.tflite", "-i", "example_3.png", "--json")
    assert entry["predictions"][0]["top"] == json.loads(run(whole, *known).stdout)["models"][0]["predictions"][0]["top"]
    assert "there are no samples without a bundle" in bare("-m", "lone.tflite", "--samples", cwd=tmp_path, code=2)
    (tmp_path / "two.txt").write_text("a\nb\n")
    assert "two.txt has 2 labels, the model 10 outputs" in bare(
        "-m", "lone.tflite", "-i", str(whole / "example_3.png"), "--labels", "two.txt", cwd=tmp_path, code=2
    )


def test_bare_segmentation(segmentation: Path, tmp_path: Path) -> None:
    shutil.copy(segmentation / "seg_float32.tflite", tmp_path)
    arguments = ("-m", "seg_float32.tflite", "-i", str(segmentation / "wide.png"), "-o", "out", "--json")
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
    (entry,) = json.loads(bare("-m", "packed.tflite", "-i", "green.npy", "--json", cwd=tmp_path))["models"]
    assert entry["predictions"][0]["classes"] == [{"label": "green", "share": 100.0}]
    assert "(pixel - 0) / 255 (by its metadata)" in entry["notes"][1]
    assert entry["notes"][2].endswith("labels packed into the file")


@pytest.mark.parametrize("facts", [b"", b"\0", b"\xff" * 40, _normalisation([], [1.0]), _normalisation([0.0], [0.0])])
def test_metadata_of_no_use(segmentation: Path, tmp_path: Path, facts: bytes) -> None:
    file = change(
        segmentation / "seg_float32.tflite", tmp_path / "odd.tflite",
        lambda model, schema: add_metadata(model, schema, "TFLITE_METADATA", facts),
    )  # fmt: skip
    with file.open("ab") as stream:
        stream.write(b"PK\5\6 no archive")
    content = example.read_content(str(file))
    assert content.whole
    assert content.labels == []
    assert "(as is usual)" in bare("-m", "odd.tflite", cwd=tmp_path)


@pytest.mark.parametrize("cut", [100, 5000, 20000, 33000])
def test_truncated_bare_model(whole: Path, tmp_path: Path, cut: int) -> None:
    (tmp_path / "half.tflite").write_bytes((whole / MODEL).read_bytes()[:cut])
    assert "half.tflite is damaged or truncated" in bare("-m", "half.tflite", cwd=tmp_path, code=2)


def compile_last(model: Any, schema: Any) -> None:
    """Make the last operator what Vela makes of operators."""
    code = model.operatorCodes[model.subgraphs[0].operators[-1].opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "ethos-u"


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


# --- the file


def test_valid_python_3_8_that_imports_nothing_of_ours() -> None:
    tree = ast.parse(paths.EXAMPLE.read_text(), feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"numpy", "PIL"}
    assert not imported & {"socket", "urllib", "http", "subprocess", "tempfile", "shutil"}


def _python_3_8() -> str | None:
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob("3.8.*/bin/python"))
    return str(pyenv[-1]) if pyenv else shutil.which("python3.8")


@pytest.mark.skipif(_python_3_8() is None, reason="no Python 3.8 here")
def test_python_3_8_runs_it(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("")  # the wheel is not needed to read the command line
    env = {**clean_env(), "PYTHONPATH": str(tmp_path)}
    command = [str(_python_3_8()), str(paths.EXAMPLE), "--help"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: example.py")
    assert "Run a model of this bundle on the board" in done.stdout
