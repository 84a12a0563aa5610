"""Recordings, and a word spotter of random weights: its SavedModel, its list and its recipe, as one folder.

python -m tests.support.audio FOLDER SEED   a SavedModel of the network in FOLDER
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from utils import environment

ROOT = Path(__file__).resolve().parents[2]

#: The input of the small word spotter, as model.json has it.
SPEC = {
    "kind": "audio", "name": "heard", "shape": [1, 24, 8, 1], "rate": 8000, "samples": 4000, "window_ms": 32.0,
    "hop_ms": 20.0, "bands": 20, "low_hz": 100.0, "high_hz": 3500.0, "coefficients": 8,
}  # fmt: skip

#: That of MLPerf Tiny's.
TINY = {
    "kind": "audio", "name": "features", "shape": [1, 49, 10, 1], "rate": 16000, "samples": 16000, "window_ms": 30.0,
    "hop_ms": 20.0, "bands": 40, "low_hz": 20.0, "high_hz": 4000.0, "coefficients": 10,
}  # fmt: skip

LABELS = ("low", "high", "rising", "noise")
FILES = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")


def wav(
    content: bytes, rate: int = 8000, bits: int = 16, channels: int = 1, kind: int = 1, before: bytes = b""
) -> bytes:
    """A WAV file, written by hand; ``before`` stands between its header and its samples."""
    width = bits // 8 * channels
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * width, width, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + before + b"data" + struct.pack("<I", len(content))
    return b"RIFF" + struct.pack("<I", len(body) + len(content)) + body + content


def sound(label: int, seed: int) -> npt.NDArray[np.int16]:
    """A recording of the small word spotter's length: a low or a high tone, a rising one, or noise."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(SPEC["samples"]) / SPEC["rate"]  # type: ignore[operator]  # numbers
    pitch = [rng.uniform(200, 400), rng.uniform(1500, 3000), rng.uniform(300, 3000) * seconds, 0.0][label]
    tone = np.sin(2 * np.pi * pitch * seconds) * np.hanning(len(seconds)) if label < 3 else 0.0
    heard = tone + rng.normal(0, 0.02 if label < 3 else 0.3, len(seconds))
    return np.asarray(np.clip(heard * rng.uniform(3000, 9000), -32768, 32767), np.int16)


def make_saved_model(folder: Path, seed: int = 1) -> Path:
    """Write a SavedModel of random weights, in a process of its own; the folder."""
    command = [sys.executable, "-m", "tests.support.audio", str(folder), str(seed)]
    done = subprocess.run(command, cwd=ROOT, env=environment.pinned(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def write_recipe(folder: Path, model: Path, mirror: Path, *, count: int = 40) -> None:
    """Write ``recipe.toml`` and its lists into ``folder``, and all that it needs into ``mirror``."""

    def put(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        mirror.mkdir(exist_ok=True)
        (mirror / digest).write_bytes(data)
        return digest

    folder.mkdir()
    for name, first, many in (("calibration", 0, 20), ("evaluation", 100, count)):
        lines = ["file,label,sha256,size"]
        for number in range(first, first + many):
            data = wav(sound(number % 4, number).tobytes())
            lines.append(f"{LABELS[number % 4]}/{number}.wav,{number % 4},{put(data)},{len(data)}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    sources = []
    for key, name in zip(("graph", "index", "weights"), FILES, strict=True):
        data = (model / name).read_bytes()
        sources.append(
            f'[sources.{key}]\nfile = "{Path(name).name}"\nurls = ["https://example.com/{name}"]\nsize = {len(data)}\n'
            f'sha256 = "{put(data)}"\nlicence = "MIT"\nwhat = "made by a test"\n'
        )
    facts = "\n".join(f"{key} = {value!r}" for key, value in SPEC.items()).replace("'", '"')
    labels = str(list(LABELS)).replace("'", '"')
    (folder / "recipe.toml").write_text(RECIPE.format(facts=facts, labels=labels, sources="\n".join(sources)))


RECIPE = """\
format = 1
title = "Tones"
summary = "tells tones apart, for a test"
task = "audio"
licence = "MIT"
labels = {labels}
variants = ["float32", "int8"]
examples = 8

[input]
{facts}

[output]
name = "probabilities"
shape = [1, 4]
kind = "probabilities"

[load]
kind = "saved_model"
signature = "serving_default"
[load.files]
"saved_model.pb" = "graph"
"variables/variables.index" = "index"
"variables/variables.data-00000-of-00001" = "weights"

{sources}
[datasets.calibration]
kind = "recordings"
file = "calibration.csv"
urls = ["https://example.com/{{file}}"]
licence = "MIT"
what = "made by a test"

[datasets.evaluation]
kind = "recordings"
file = "evaluation.csv"
urls = ["https://example.com/{{file}}"]
licence = "MIT"
redistribute = true
what = "made by a test"

[calibration]
dataset = "calibration"
count = 20

[evaluation]
dataset = "evaluation"
metric = "top1"
[evaluation.gate]
float32 = 0
int8 = 0
loss = 100

[expected]
parameters = 2152
macs = 6864
int8_bytes = 20000
min_runtime = "2.17.0"

[tolerance]
int8_steps = 4
float32 = 0.001
source = "a test"

[card]
introduction = "A test."
data = "The recordings are tones."
limitations = "For a test."
"""


def _write(folder: str, seed: int) -> None:
    tf = environment.pin_tensorflow(seed=0)
    rng = np.random.default_rng(seed)
    module = tf.Module()
    module.kernel = tf.Variable(rng.normal(0, 0.3, (3, 3, 1, 4)).astype(np.float32))
    module.dense = tf.Variable(rng.normal(0, 0.02, (528, 4)).astype(np.float32))
    module.bias = tf.Variable(np.zeros(4, np.float32))

    def call(heard: object) -> dict[str, object]:
        maps = tf.nn.relu(tf.nn.conv2d(heard, module.kernel, (1, 1), "VALID"))
        return {"probabilities": tf.nn.softmax(tf.reshape(maps, (-1, 528)) @ module.dense + module.bias)}

    signature = [tf.TensorSpec([None, *SPEC["shape"][1:]], tf.float32, "heard")]  # type: ignore[index]  # a list
    module.call = tf.function(call, input_signature=signature)
    tf.saved_model.save(module, folder, signatures={"serving_default": module.call})


if __name__ == "__main__":
    _write(sys.argv[1], int(sys.argv[2]))
