"""The guide for a new model, followed word for word: every command of the page, in its order, in a fresh checkout."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import NOTHING, ROOT, Checkout
from utils import tflite

PAGE = ROOT / "docs/how-to/add-a-model.md"
MODEL = "my_digits"


def commands() -> list[str]:
    """The lines of the page's blocks of shell commands."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def follow(project: Checkout, bin_folder: Path, line: str) -> str:
    """Type a line as a reader does; docker/run runs the command in this test's own environment."""
    typed = line.replace("docker/run ", "", 1) if line.startswith("docker/run ") else line
    search = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    done = project.run("bash", "-ec", typed, env={"PATH": search})
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_guide_makes_a_model(small: Checkout, tmp_path: Path) -> None:
    """It is made like the demo, which trains on few digits here."""
    doit = tmp_path / "bin/doit"
    doit.parent.mkdir()
    doit.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m doit "$@"\n')
    doit.chmod(0o755)
    said = {line: follow(small, doit.parent, line) for line in commands()}
    assert [line.split()[2] for line in said if line.startswith("docker/run doit ")] == ["new", "list", MODEL, "lock"]
    listed = said["docker/run doit list"]
    assert re.search(rf"{MODEL}\s.*drawn digits, bilinear upsampling", listed)
    assert "broken:" not in listed

    bundle = small.root / "artifacts" / MODEL
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert {entry["check"]["verdict"] for entry in manifest["validation"]["models"]} == {"PASS"}
    for variant in ("float32", "int8"):
        counted = tflite.read(bundle / f"{MODEL}_{variant}.tflite").count()
        assert counted["RESIZE_BILINEAR"] == 3
        assert "RESIZE_NEAREST_NEIGHBOR" not in counted
    assert (bundle / "README.md").read_text().count("# My digits") == 1
    assert MODEL in json.loads((small.root / "artifacts.lock").read_text())["models"]
    assert NOTHING in small.doit(MODEL).stdout
    changed = {file.name for file in (small.root / "recipes").iterdir()} - {
        file.name for file in (ROOT / "recipes").iterdir()
    }
    assert changed == {MODEL}

    file = f"recipes/{MODEL}/recipe.toml"
    small.change(
        file, "RESIZE_BILINEAR = 3", "RESIZE_NEAREST_NEIGHBOR = 3"
    )  # what the page says of a wrong expectation
    done = small.doit(f"{MODEL}:float32")
    assert done.returncode
    assert "operators: {" in done.stderr + done.stdout
    assert "'RESIZE_BILINEAR': 3" in done.stderr + done.stdout
