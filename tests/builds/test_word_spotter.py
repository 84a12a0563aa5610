"""A second word spotter, of random weights: one folder, from the single files of a SavedModel to the bundle."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support import audio
from tests.support.checkouts import NOTHING, ROOT, Checkout, copy_project
from utils import example, files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MODEL = "tones"


def tree(folder: Path) -> dict[str, str]:
    """The sha256 of what git would see."""
    found = (file for part in ("utils", "recipes", "docker") for file in (folder / part).rglob("*") if file.is_file())
    return {
        file.relative_to(folder).as_posix(): files.sha256(file) for file in found if "__pycache__" not in file.parts
    }


@pytest.fixture(scope="module")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Checkout, dict[str, str], str]]:
    """A checkout with the model built, what it had before the model came, and what doit said."""
    home = tmp_path_factory.mktemp("spotter")
    project = copy_project(home / "zoo")
    before = tree(project.root)
    model = audio.make_saved_model(home / "model")
    audio.write_recipe(project.root / "recipes" / MODEL, model, home / "mirror")
    done = project.doit(MODEL, env=env(home), timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    yield project, before, done.stdout
    shutil.rmtree(home)


def env(home: Path) -> dict[str, str]:
    return {"ZOO_MIRROR": str(home / "mirror"), "ZOO_CACHE": str(home / "cache"), "ZOO_OFFLINE": "1"}


def bundle(spotted: tuple[Checkout, dict[str, str], str]) -> Path:
    return spotted[0].root / "artifacts" / MODEL


def test_it_is_one_folder(spotted: tuple[Checkout, dict[str, str], str]) -> None:
    project, before, _ = spotted
    now = tree(project.root)
    assert {name: now[name] for name in before} == before
    new = {name for name in now if name not in before}
    assert new == {f"recipes/{MODEL}/{name}" for name in ("recipe.toml", "calibration.csv", "evaluation.csv")}


def test_a_second_run_builds_nothing(spotted: tuple[Checkout, dict[str, str], str]) -> None:
    project, _, _ = spotted
    assert NOTHING in project.doit(MODEL, env=env(project.root.parent)).stdout


def test_the_build_and_the_board_hear_the_same(spotted: tuple[Checkout, dict[str, str], str]) -> None:
    """What the build measured without files, example.py gives for the WAV files and samples of the bundle."""
    home = bundle(spotted)
    command = [sys.executable, "example.py", "--json", "--check", "--samples", "-n", "1", "-i", "inputs"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = json.loads((home / "manifest.json").read_text())["evaluation"]
    assert (measured["metric"], measured["count"]) == ("top1", 40)
    for entry in json.loads(done.stdout)["models"]:
        found = measured["variants"][entry["variant"]]
        assert entry["check"]["verdict"] == "PASS"
        assert entry["samples"]["count"] == 40
        assert entry["samples"]["correct"] == found["correct"] == 40 - len(found["wrong"])
        with np.load(home / f"golden_{entry['variant']}.npz") as golden:
            labels = [audio.LABELS[int(output.argmax())] for output in golden["output"]]
        assert len(labels) == 8
        by_name = {Path(answer["input"]).stem: answer["top"][0]["label"] for answer in entry["predictions"]}
        assert [by_name[f"example_{number or 'input'}"] for number in range(8)] == labels
        assert len(set(labels)) > 1
    # one of each label, then the second of each: the recordings of the list, byte for byte
    for number in range(8):
        data = (home / f"inputs/example_{number or 'input'}.wav").read_bytes()
        assert data == audio.wav(audio.sound(number % 4, 100 + number).tobytes())


def test_int8_was_calibrated_on_the_features(spotted: tuple[Checkout, dict[str, str], str]) -> None:
    recordings = np.stack([audio.sound(number % 4, number) for number in range(20)])
    features = example.mfcc(recordings, audio.SPEC)
    model = example.Model(str(bundle(spotted) / f"{MODEL}_int8.tflite"), example.load_runtime(), 1)
    scale, zero_point = model.inputs[0]["quantization"]
    low, high = min(float(features.min()), 0.0), max(float(features.max()), 0.0)
    assert 0.9 * (high - low) <= 255 * scale <= 1.00001 * (high - low), "fitted: at most a little is cut"
    assert low - scale <= scale * (-128 - zero_point) <= scale * (127 - zero_point) <= high + scale


def test_the_card_shows_and_says_what_is_heard(spotted: tuple[Checkout, dict[str, str], str]) -> None:
    home = bundle(spotted)
    text = (home / "README.md").read_text()
    for name in ("result", "mistake", "confusion"):
        assert f"(figures/{name}.png)" in text
        assert (home / f"figures/{name}.png").stat().st_size > 2000
    for said in (
        "top-1 on 40 recordings",
        "The recordings are tones.",
        "`heard`, MFCC features of a recording [24, 8, 1]: 4000 samples at 8000 Hz; windows of 32 ms every 20 ms",
        "20 recordings listed in calibration.csv, MIT: used for measuring only, not in this bundle",
        "40 recordings listed in evaluation.csv, MIT",
        "your own recordings",
        "The int8 ranges come from 20 recordings",
    ):
        assert said in text
    assert "pictures" not in text
    assert "Published for whole sets" not in text
    assert "saved_model.pb, MIT" in text


def test_weights_of_a_user_take_the_place_of_all_three_files(
    spotted: tuple[Checkout, dict[str, str], str], tmp_path: Path
) -> None:
    project, _, _ = spotted
    own = audio.make_saved_model(tmp_path / "mine", seed=2)
    before = project.hashes(f"artifacts/{MODEL}/*.tflite")
    done = project.doit(MODEL, f"weights={own}", "weights_licence=MIT", env=env(project.root.parent), timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.hashes(f"artifacts/{MODEL}/*.tflite").keys() == before.keys()
    assert not set(project.hashes(f"artifacts/{MODEL}/*.tflite").values()) & set(before.values())
    text = (bundle(spotted) / "README.md").read_text()
    assert text.count("> **User-supplied weights.**") == 1
    assert "saved_model.pb" not in text
    sources = json.loads((bundle(spotted) / "manifest.json").read_text())["sources"]
    assert [key for key, source in sources.items() if source.get("own")] == ["graph"]


def test_the_zoo_has_this_kind_of_recipe() -> None:
    text = (ROOT / "recipes/keyword_spotting/recipe.toml").read_text()
    assert 'task = "audio"' in text
    assert "[load.files]" in text
