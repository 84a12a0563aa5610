"""artifacts/ in git: its page stays, whatever is built and cleaned beside it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs import pages
from tests.support.checkouts import ROOT, Checkout

PAGE = ROOT / "artifacts/README.md"


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_git_keeps_the_page_and_no_bundle(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    for name in ("README.md", "demo_nearest/README.md", "demo_nearest/model.json", ".staging/x"):
        (tmp_path / "artifacts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "artifacts" / name).write_text("x")
    found = git(tmp_path, "ls-files", "--others", "--exclude-standard").split()
    assert sorted(found) == [".gitignore", "artifacts/README.md"]


@pytest.mark.slow
def test_building_and_cleaning_leave_the_page(built: Checkout) -> None:
    page = built.root / "artifacts/README.md"
    shutil.copy(PAGE, page)
    assert "nothing to do" in built.doit("demo").stdout
    done = built.doit("clean", "demo_nearest")
    assert done.returncode == 0, done.stderr
    assert sorted(entry.name for entry in page.parent.iterdir()) == ["README.md", "demo_bilinear"]
    done = built.doit("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(entry.name for entry in page.parent.iterdir()) == ["README.md", "demo_bilinear", "demo_nearest"]
    assert page.read_bytes() == PAGE.read_bytes()


def test_the_page_names_what_a_bundle_has(built_once: Checkout) -> None:
    shown = [line.split()[0] for block in pages.blocks(PAGE) for line in block.text.splitlines()[1:]]
    bundle = built_once.root / "artifacts/demo_nearest"
    names = {name.replace("mobilenet_v2", bundle.name).rstrip("/") for name in shown} - {"imx93", "board"}
    assert names
    assert names <= {entry.name for entry in bundle.iterdir()}
