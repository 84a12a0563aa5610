"""The settings of pytest itself, in a run of its own."""

from __future__ import annotations

import getpass
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, clean_env


def run(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    """A run of one test with the project's settings; its old folders are in ``folder``."""
    (folder / "tests").mkdir()
    (folder / "tests/test_one.py").write_text(test)
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0"],
        cwd=folder, env=clean_env() | {"PYTEST_DEBUG_TEMPROOT": str(folder)}, capture_output=True, text=True,
    )  # fmt: skip


def test_a_warning_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path, "import warnings\n\n\ndef test_one():\n    warnings.warn('x')\n")
    assert done.returncode == 1, done.stdout
    assert "UserWarning: x" in done.stdout


def test_an_old_folder_that_cannot_be_removed_fails_no_run(tmp_path: Path) -> None:
    held = tmp_path / f"pytest-of-{getpass.getuser()}" / "garbage-1" / "held"
    held.mkdir(parents=True, mode=0o700)
    held.parent.parent.chmod(0o700)
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(held)], capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs")
    try:
        done = run(tmp_path, "def test_one(tmp_path):\n    pass\n")
    finally:
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        (place,) = [name for name in mounts if name.startswith(str(tmp_path))]  # pytest renames what it removes
        subprocess.run(["umount", place], check=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
