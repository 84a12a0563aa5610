"""What example.py does in a finished bundle: its reports, its JSON, its images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.examples import (
    CHECK,
    ENTRY,
    MODEL,
    STATS,
    conforms,
    refused,
    run,
)
from utils import example


def test_no_arguments_checks_everything(whole: Path) -> None:
    done = run(whole)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("golden    PASS: 10 inputs, top-1 agrees on 100 %") == 2
    assert "demo_nearest_float32.tflite on cpu (ai_edge_litert " in done.stdout
    assert "(steps, 20 allowed)" in done.stdout
    assert "->" not in done.stdout
    assert done.stderr.count("Traceback") == 0


def test_one_model_and_one_image(whole: Path) -> None:
    done = run(whole, "-m", MODEL, "-i", "example_input.png", "-q")
    assert done.returncode == 0, done.stderr
    assert "example_input.png\n" in done.stdout
    assert "golden    " not in done.stdout


def test_the_command_line_of_the_demo_notebook(bundle: Path) -> None:
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
        shutil.copy(bundle / "inputs/example_input.png", bundle / "in" / name)
    entry = json.loads(run(bundle, "--json", "-m", MODEL, "-i", "in", "example_1.png").stdout)["models"][0]
    assert [prediction["input"] for prediction in entry["predictions"]] == [
        "in/a.PNG",
        "in/b.png",
        "inputs/example_1.png",
    ]
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


def test_it_runs_from_any_working_folder(whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(whole / "example.py"), "-m", str(whole / MODEL), "-n", "1"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    shutil.copy(whole / MODEL, tmp_path)
    command[3] = MODEL
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


CHOSEN = {"name": str, "library": (str, type(None)), "sha256": (str, type(None)), "options": {}, "note": str}
SCHEMA = {"format": int, "runtime": {"name": str, "version": str}, "delegate": CHOSEN, "models": [ENTRY]}


def test_json_conforms_to_the_documented_schema(whole: Path) -> None:
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
        documented = f"{example.__doc__}{example.Classification.__doc__}"  # of the answers, each kind's class does it
        assert f'"{key}"' in documented, key
    assert [entry["variant"] for entry in report["models"]] == ["float32", "int8"]
    for entry, unit, tolerance in zip(report["models"], ("absolute", "steps"), (0.001, 20), strict=True):
        assert (entry["check"]["unit"], entry["check"]["tolerance"]) == (unit, tolerance)
        assert entry["steady_ms"]["runs"] == 3
        assert entry["steady_ms"]["min"] <= entry["steady_ms"]["median"] <= entry["steady_ms"]["p90"]
        assert entry["samples"]["count"] == 100
        assert entry["samples"]["accuracy"] == entry["samples"]["correct"] / 100
        assert [prediction["input"] for prediction in entry["predictions"]] == [f"inputs/{name}" for name in images]
        scores = [line["score"] for line in entry["predictions"][0]["top"]]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)


def test_json_leaves_out_what_was_not_asked_for(whole: Path) -> None:
    entry = json.loads(run(whole, "--json", "-m", MODEL, "--samples").stdout)["models"][0]
    assert set(entry) == {"file", "sha256", "variant", "task", "delegate", "first_ms", "steady_ms", "samples"}


def test_predictions_are_those_of_the_golden_tensors(whole: Path) -> None:
    """The whole way, from the picture's file to the answer's label."""
    report = json.loads(run(whole, "--json", "-m", MODEL, "--top", "1", "-i", "example_3.png").stdout)
    with np.load(whole / "golden_int8.npz") as golden:
        answer = int(golden["output"][3].argmax())
    assert report["models"][0]["predictions"][0]["top"][0]["label"] == str(answer)


def test_other_sizes_modes_and_arrays(whole: Path, tmp_path: Path) -> None:
    """Converted, not crashed: the same picture larger and in colour is the same answer."""
    with Image.open(whole / "inputs/example_2.png") as image:
        image.resize((280, 280), Image.Resampling.NEAREST).convert("RGBA").save(tmp_path / "large.png")
        np.save(tmp_path / "pixels.npy", np.asarray(image))
    files = ["inputs/example_2.png", str(tmp_path / "large.png"), str(tmp_path / "pixels.npy")]
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


@pytest.mark.parametrize("arguments", [["--top", "0"], ["-n", "x"], ["-t", "-1"], ["-i"]])
def test_wrong_use(whole: Path, arguments: list[str]) -> None:
    done = run(whole, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


def test_a_score_that_is_nan_or_infinity_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    top = [{"label": "7", "score": 0.5}, {"label": "8", "score": None}]
    steady = {"min": 1.0, "median": 1.0, "p90": 1.0, "runs": 1}
    report = {"file": "m", "task": "classification", "delegate": "cpu", "first_ms": 1.0, "steady_ms": steady}
    shown = {**report, "predictions": [{"input": "i", "top": top}]}
    example.show(shown, example.Runtime("r", "1", None), example.Delegate("cpu"))
    assert "8                    not a number" in capsys.readouterr().out
