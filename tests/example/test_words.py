"""What example.py says to a person: help, misplaced words, and the last line."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.examples import MODEL, refused, run

HERE = f"this {platform.machine()} machine"


def examples_of_help(folder: Path) -> list[str]:
    """The commands that -h shows."""
    done = run(folder, "-h", env={"COLUMNS": "80"})
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    shown = done.stdout.partition("Examples:\n")[2].partition("Exit codes")[0]
    return [line.split("  ")[0] for line in map(str.strip, shown.splitlines()) if line.startswith("python3 example.py")]


def test_every_example_of_help_runs(whole: Path, segmentation: Path, tmp_path: Path) -> None:
    commands = examples_of_help(whole)
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command)[2:]
        folder, model, image = whole, MODEL, "inputs/example_input.png"
        if "-o" in words:
            folder, model, image = segmentation, "seg_float32.tflite", "wide.png"
        names = {"MODEL.tflite": model, "IMAGE": image, "DIR": str(tmp_path / "out")}
        done = run(folder, *(names.get(word, word) for word in words))
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if "--json" in words:
            assert json.loads(done.stdout)["models"]
    assert (tmp_path / "out/wide_overlay.png").is_file()


def test_the_inputs_of_a_bundle_are_inputs_alone(whole: Path) -> None:
    report = json.loads(run(whole, "-m", MODEL, "-i", "inputs", "--json").stdout)
    names = [prediction["input"] for prediction in report["models"][0]["predictions"]]
    assert names == sorted(f"inputs/{file.name}" for file in (whole / "inputs").iterdir())
    assert len(names) == 10
    assert {file.name for file in (whole / "figures").iterdir()} >= {"result.png", "fixed_output.png"}


def test_paths_of_older_instructions(whole: Path, tmp_path: Path) -> None:
    """``python3 utils/example.py -i example_input.png -q`` of NXP's cards, from the bundle and from anywhere."""
    done = run(whole, "-m", MODEL, "-i", "example_input.png", "-q")
    assert "\n  inputs/example_input.png\n" in done.stdout
    shutil.copy(whole / "inputs/example_1.png", tmp_path / "example_input.png")
    shutil.copy(whole / "example.py", tmp_path)
    done = run(tmp_path, "-m", str(whole / MODEL), "-i", "example_input.png", "example_2.png", "inputs")
    assert "\n  example_input.png\n" in done.stdout  # a file of the user's own comes first
    relative = os.path.relpath(whole, tmp_path)
    assert f"\n  {relative}/inputs/example_2.png\n" in done.stdout
    assert f"\n  {relative}/inputs/example_9.png\n" in done.stdout
    assert "there is no file nothing.png" in refused(whole, "-m", MODEL, "-i", "nothing.png")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cat.jpg"], "no option stands before cat.jpg\n  -> use -i: python3 example.py -i cat.jpg\n"),
        (["-q", "a.jpg", "b.jpg"], "before a.jpg, b.jpg\n  -> use -i: python3 example.py -i a.jpg b.jpg\n"),
        ([MODEL], f"before {MODEL}\n  -> use -m: python3 example.py -m {MODEL}\n"),
        (["--comapre"], "there is no option --comapre\n  -> did you mean --compare?\n"),
        (["--sampels=3"], "there is no option --sampels=3\n  -> did you mean --samples?\n"),
        (["--zzz", "x.jpg"], "there is no option --zzz\n  -> -h lists them\n"),
        (["\x1b[2J.jpg"], "no option stands before \\x1b[2J.jpg"),
    ],
)
def test_words_without_an_option(whole: Path, words: list[str], said: str) -> None:
    assert said in refused(whole, *words)


def last(text: str) -> str:
    return text.rstrip("\n").split("\n")[-1]


def test_the_last_line_says_how_many_passed_and_where(whole: Path) -> None:
    assert last(run(whole).stdout) == f"2 of 2 models PASS on the CPU of {HERE}"
    assert last(run(whole, "--check", "-m", MODEL).stdout) == f"1 of 1 models PASS on the CPU of {HERE}"


def test_the_last_line_says_what_was_not_checked(whole: Path, tmp_path: Path) -> None:
    done = run(whole, "-m", MODEL, "-i", "inputs")
    hint = "1 not checked: --check compares with the golden tensors"
    assert last(done.stdout) == f"1 of 1 models ran on the CPU of {HERE}; {hint}"
    for name in (MODEL, "example.py"):
        shutil.copy(whole / name, tmp_path)
    done = run(tmp_path, "-m", MODEL)
    assert last(done.stdout).endswith("; 1 not checked: there are no golden tensors for it")


def test_the_last_line_names_what_failed(bundle: Path) -> None:
    with np.load(bundle / "golden_int8.npz") as golden:
        arrays = {"input": golden["input"], "output": golden["output"][::-1]}
    np.savez(bundle / "golden_int8.npz", **arrays)
    done = run(bundle)
    assert done.returncode == 4
    verdict = json.loads(run(bundle, "--json", "-m", MODEL).stdout)["models"][0]["check"]["verdict"]
    assert verdict != "PASS"
    assert last(done.stdout) == f"1 of 2 models PASS on the CPU of {HERE}; not PASS: {MODEL} ({verdict})"


def test_compare_without_an_npu_says_that_nothing_was_compared(whole: Path) -> None:
    done = run(whole, "--compare")
    assert done.returncode == 0
    assert done.stdout.count("  note      nothing was compared, because no NPU ran this model\n") == 2
    line = f"2 of 2 models PASS on the CPU of {HERE}; nothing was compared: no NPU delegate is installed here"
    assert last(done.stdout) == line
    assert last(run(whole, "--compare", "-d", "cpu").stdout).endswith("; nothing was compared: no NPU ran a model")
    for entry in json.loads(run(whole, "--compare", "--json").stdout)["models"]:
        assert entry["notes"] == ["nothing was compared, because no NPU ran this model"]
        assert "compare" not in entry
    assert "compared" not in run(whole).stdout
