"""example.py on a board without a runtime, numpy, Pillow or a new Python."""

from __future__ import annotations

import ast
import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.checkouts import clean_env
from tests.support.examples import (
    MODEL,
    change,
    refused,
    run,
)
from utils import example, paths


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


def test_tensorflow_is_the_last_resort(whole: Path, no_runtime: dict[str, str]) -> None:
    shutil.rmtree(Path(no_runtime["PYTHONPATH"]) / "tensorflow")
    command = [sys.executable, "example.py", "-m", MODEL, "--json"]  # TensorFlow warns that it is not the first choice
    done = subprocess.run(command, cwd=whole, env=clean_env() | no_runtime, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runtime"]["name"] == "tensorflow"


def test_model_that_the_runtime_refuses(bundle: Path) -> None:
    """Whole by its hash and in its structure, and yet no runtime takes it."""
    facts = json.loads((bundle / "model.json").read_text())
    change(bundle / MODEL, bundle / MODEL, lambda model, _: setattr(model.operatorCodes[0], "version", 99))
    entry = facts["variants"]["int8"]
    entry["sha256"] = example.hashlib.sha256((bundle / MODEL).read_bytes()).hexdigest()
    (bundle / "model.json").write_text(json.dumps(facts))
    said = refused(bundle, "-m", MODEL, code=3)
    assert "cannot run demo_nearest_int8.tflite" in said


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
    assert done.stdout.startswith("usage: python3 example.py")
    assert "Run the models of this bundle on a board" in done.stdout
